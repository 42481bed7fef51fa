"""The daemon's metrics in Prometheus' form. Imported only when they are served."""

from __future__ import annotations

import collections
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ...errors import DaccError
from ...lifecycle import effects as fx
from ...lifecycle.engine import Engine
from ...lifecycle.transitions import StepOutcome
from ...registry.view import View
from ...verbs import goals
from ...verbs.hosts import brick_state, state_of
from ..usage import EngineReader
from . import definitions as names
from .events import Former, TelemetryListener

_CLASSES: dict[str, Any] = {"gauge": Gauge, "counter": Counter, "histogram": Histogram}
_KINDS = ("job", "persistent", "kept")


class PrometheusMetrics(TelemetryListener):
    """Counts events. ``registry`` is what a scrape reads."""

    watching = True

    def __init__(self, host: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        counted = (metric for metric in names.METRICS if metric.of == "daemon" and metric not in (names.VIEW_AGE, names.LEASE_HELD))
        self._of = {metric.name: self._make(metric) for metric in counted}
        labels = {"version": version("dacc"), "python": platform.python_version(), "host": host}
        self._of[names.BUILD.name].labels(**labels).set(1)
        for former in get_args(Former):  # from 0 on, or the first takeover is no increase
            self._of[names.TAKEOVERS.name].labels(former)

    def _make(self, metric: names.Metric) -> Any:
        options = {"buckets": metric.buckets} if metric.buckets else {}
        return _CLASSES[metric.kind](metric.name, metric.text, metric.labels, registry=self.registry, **options)

    def add_cluster(self, silence: Callable[[], float], read_engine: EngineReader, seconds: float) -> None:
        """Have each scrape read the view as well: its age, the numbers in it, and whether the daemon may act."""
        self.registry.register(_ClusterCollector(silence, lambda: read_engine(_read, seconds)))

    # --- events ---

    def step(self, order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> None:
        """A step has ended."""
        step, volume = order.step.kind, order.session.volume
        self._of[names.STEP_SECONDS.name].labels(step, volume.provider if volume else "none").observe(seconds)
        if outcome.error is not None:
            self._of[names.STEP_FAILURES.name].labels(step, outcome.error.kind).inc()
        elif step in ("stage_in", "stage_out"):
            direction = step.removeprefix("stage_")
            self._of[names.STAGED_BYTES.name].labels(direction).inc(outcome.progress.bytes)
            self._of[names.STAGED_FILES.name].labels(direction).inc(outcome.progress.files)

    def fenced(self, hosts: int, failures: Mapping[str, DaccError]) -> None:
        """So many hosts were to be fenced, and these could not be."""
        self._of[names.FENCES.name].inc(hosts)
        self._of[names.FENCE_FAILURES.name].inc(len(failures))

    def took_over(self, former: Sequence[Former]) -> None:
        """Sessions were taken over, each from somebody."""
        for coordinator in former:
            self._of[names.TAKEOVERS.name].labels(coordinator).inc()

    def dropped(self, hook: str) -> None:
        """An event for a hook of provider packages was dropped."""
        self._of[names.EVENTS_DROPPED.name].labels(hook).inc()

    def stored(self, operation: str, seconds: float, error: DaccError | None) -> None:
        """The keystore answered, or failed to."""
        self._of[names.STORE_SECONDS.name].labels(operation).observe(seconds)
        if error is not None:
            self._of[names.STORE_ERRORS.name].labels(operation, error.kind).inc()

    def called(self, program: str, function: str, rc: int, seconds: float) -> None:
        """A call was answered."""
        self._of[names.CALLS.name].labels(program, function, str(rc)).inc()
        self._of[names.CALL_SECONDS.name].labels(program, function).observe(seconds)


class _ClusterCollector(Collector):
    """Gauges that are read off the view at each scrape; none of the cluster when the engine does not answer."""

    def __init__(self, silence: Callable[[], float], read: Callable[[], tuple[ClusterSnapshot, bool] | None]) -> None:
        self._silence, self._read = silence, read

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: registering must not ask the engine, which does not run yet."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        age, answer = self._silence(), self._read()
        if age != float("inf"):
            yield _gauge(names.VIEW_AGE, {(): age})
        if answer is not None:
            cluster, acts = answer
            yield _gauge(names.LEASE_HELD, {(): acts})
            yield _gauge(names.BRICKS, _complete(cluster.bricks, cluster.pools, names.BRICKS))
            yield _gauge(names.HOSTS, {(state,): cluster.hosts[state] for state in names.STATES[names.HOSTS.name]})
            yield _gauge(names.SESSIONS, _complete(cluster.sessions, _KINDS, names.SESSIONS))
            yield _gauge(names.VOLUME_USED, {(pool,): cluster.used[pool] for pool in cluster.pools})
            yield _gauge(names.VOLUME_CAPACITY, {(pool,): cluster.capacity[pool] for pool in cluster.pools})


def _read(engine: Engine) -> tuple[ClusterSnapshot, bool]:
    """On the engine's thread."""
    return take_snapshot(engine.view), engine.may_act()


def _complete(numbers: Mapping[tuple[str, str], int], firsts: Iterable[str], metric: names.Metric) -> dict[tuple[str, ...], float]:
    """Every combination of labels, those that are not there as 0: an alert on what is absent would be none."""
    return {(first, state): numbers.get((first, state), 0) for first in firsts for state in names.STATES[metric.name]}


def _gauge(metric: names.Metric, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


# --- the cluster in numbers ---


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """Numbers of bricks by (pool, state), of hosts by state, of sessions by (kind, state).

    ``used``, ``capacity``: bytes by pool, of the volumes whose usage is known.
    """

    pools: tuple[str, ...]
    bricks: collections.Counter[tuple[str, str]]
    hosts: collections.Counter[str]
    sessions: collections.Counter[tuple[str, str]]
    used: collections.Counter[str]
    capacity: collections.Counter[str]


def take_snapshot(view: View) -> ClusterSnapshot:
    """Count everything."""
    return ClusterSnapshot(tuple(view.pools), _bricks(view), _hosts(view), _sessions(view), *_usage(view))


def _usage(view: View) -> tuple[collections.Counter[str], collections.Counter[str]]:
    used, capacity = collections.Counter[str](), collections.Counter[str]()
    for token, entry in view.usages.items():
        session = view.session(token)
        if session is not None and session.volume is not None:
            used[session.volume.pool] += entry.record.used
            capacity[session.volume.pool] += entry.record.capacity
    return used, capacity


def _bricks(view: View) -> collections.Counter[tuple[str, str]]:
    bricks = ((host, brick) for host, entry in view.hosts.items() for brick in entry.record.bricks)
    return collections.Counter((brick.pool, brick_state(view, host, brick)) for host, brick in bricks)


def _hosts(view: View) -> collections.Counter[str]:
    gone = (host for host, held in view.allocations.items() if held.record.forgotten and host not in view.hosts)
    # "dead, draining" counts as dead: nobody waits for such a host to be empty.
    return collections.Counter(state_of(view, host).partition(",")[0] for host in (*view.hosts, *gone))


def _sessions(view: View) -> collections.Counter[tuple[str, str]]:
    sessions = (entry.record for entry in view.sessions.values())
    return collections.Counter((session.kind, goals.state(session, view.status(session.token))) for session in sessions)
