"""The metrics that exist: plain data, from which the daemon makes them and the reference page is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STEP_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``of`` says whose it is: the cluster's, as this daemon sees it, or this daemon's own."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    of: Literal["cluster", "daemon"] = "daemon"
    buckets: tuple[float, ...] = ()


BRICKS = Metric("dacc_bricks", "gauge", "Bricks of hosts that are registered.", ("pool", "state"), "cluster")
HOSTS = Metric("dacc_hosts", "gauge", "Hosts that are registered, those without bricks included.", ("state",), "cluster")
VOLUME_USED = Metric("dacc_volume_used_bytes", "gauge", "Bytes used of the volumes whose usage is known.", ("pool",), "cluster")
VOLUME_CAPACITY = Metric("dacc_volume_capacity_bytes", "gauge", "Capacity of the volumes whose usage is known.", ("pool",), "cluster")
SESSIONS = Metric("dacc_sessions", "gauge", "Sessions that there are.", ("kind", "state"), "cluster")
STEP_SECONDS = Metric(
    "dacc_step_seconds", "histogram", "How long steps took, failed ones included.", ("step", "provider"), buckets=STEP_BUCKETS
)
STEP_FAILURES = Metric("dacc_step_failures_total", "counter", "Steps that failed, by the class of the error.", ("step", "error"))
STORE_SECONDS = Metric(
    "dacc_keystore_seconds", "histogram", "How long the keystore took to answer, also with an error.", ("operation",), buckets=STORE_BUCKETS
)
STORE_ERRORS = Metric("dacc_keystore_errors_total", "counter", "Requests to the keystore that failed.", ("operation", "error"))
TAKEOVERS = Metric("dacc_takeovers_total", "counter", "Sessions that this daemon took over.", ("former",))
FENCES = Metric("dacc_fences_total", "counter", "Hosts that this daemon fenced, or tried to.")
FENCE_FAILURES = Metric("dacc_fence_failures_total", "counter", "Hosts that could not be fenced.")
STAGED_BYTES = Metric("dacc_staged_bytes_total", "counter", "Bytes of copies that ended well.", ("direction",))
STAGED_FILES = Metric("dacc_staged_files_total", "counter", "Files of copies that ended well.", ("direction",))
CALLS = Metric("dacc_calls_total", "counter", "Calls that were answered, by exit code.", ("program", "function", "rc"))
CALL_SECONDS = Metric(
    "dacc_call_seconds", "histogram", "How long callers waited for their answer.", ("program", "function"), buckets=CALL_BUCKETS
)
EVENTS_DROPPED = Metric(
    "dacc_observer_events_dropped_total", "counter", "Events that observers of provider packages were too slow to take.", ("hook",)
)
VIEW_AGE = Metric("dacc_view_age_seconds", "gauge", "Seconds since the keystore was last heard from.")
LEASE_HELD = Metric("dacc_lease_held", "gauge", "1 while this daemon is sure of its lease and may act, else 0.")
BUILD = Metric("dacc_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "python", "host"))

METRICS = (
    BRICKS,
    HOSTS,
    SESSIONS,
    VOLUME_USED,
    VOLUME_CAPACITY,
    STEP_SECONDS,
    STEP_FAILURES,
    STORE_SECONDS,
    STORE_ERRORS,
    TAKEOVERS,
    FENCES,
    FENCE_FAILURES,
    STAGED_BYTES,
    STAGED_FILES,
    CALLS,
    CALL_SECONDS,
    EVENTS_DROPPED,
    VIEW_AGE,
    LEASE_HELD,
    BUILD,
)
"""Every metric, in the order of the page."""

LABELS = {
    "pool": "a pool",
    "kind": "`job`, `persistent` or `kept`",
    "step": "a [step](../concepts/sessions.md#steps)",
    "provider": "the provider of the session's volume, `none` for a session without one",
    "error": "the [class](errors.md) of the error",
    "operation": "`read`, `range`, `txn`, `grant`, `renew`, `revoke`",
    "former": "from whom: `another host`, or `this host` before its daemon was restarted",
    "direction": "`in` or `out`",
    "program": "`fakewarp`, `dwstat`, `dacc`; `other` for one that is not served",
    "function": "what was called; empty for a call that could not be read",
    "rc": "the [exit code](errors.md)",
    "hook": "a [hook](hooks.md#hooks) for observers",
    "version": "of dacc",
    "python": "the version of the interpreter",
    "host": "the name of the daemon's host",
}
"""The values of each label; ``state`` has others in each metric."""

STATES = {
    BRICKS.name: ("free", "taken", "quarantined", "draining", "dead"),
    HOSTS.name: ("alive", "draining", "dead", "forgotten"),
    SESSIONS.name: ("running", "waiting", "done", "failed"),
}
"""The values of the label ``state``."""
