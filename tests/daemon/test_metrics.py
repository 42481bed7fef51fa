"""What a daemon counts and how it is read."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from dacc_core.daemon.telemetry import definitions as names
from dacc_core.daemon.telemetry import http as http_module
from dacc_core.daemon.telemetry.events import MeasuredStore, TelemetryListener, notify, takeovers
from dacc_core.daemon.telemetry.http import MetricsServer
from dacc_core.daemon.telemetry.prometheus import PrometheusMetrics, take_snapshot
from dacc_core.errors import BadConfig, Busy, Cancelled, HostUnreachable, KeystoreUnavailable
from dacc_core.keystore.base import PutKey
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.plan import Step, StepKind
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.registry import keys
from dacc_core.registry.records import Allocations, Running, Session, Status
from dacc_core.values import Progress
from tests.support.stores import OPERATOR, add_session, put, run, store_of, view_of


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics("s1")


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def order(step: StepKind, session: Session) -> fx.StepOrder:
    return fx.StepOrder(Step(step), session, Status())


@pytest.fixture
def session() -> Session:
    return add_session(store_of("s1"), "42", "s1:/b0")


# --- counting ---


def test_events_that_observers_missed_are_counted_by_hook(metrics: PrometheusMetrics) -> None:
    metrics.dropped("dacc_step_finished")
    assert value(metrics, "dacc_observer_events_dropped_total", hook="dacc_step_finished") == 1


def test_a_step_is_counted_with_its_time_and_provider(metrics: PrometheusMetrics, session: Session) -> None:
    metrics.step(order("create", session), StepOutcome(), 3.0)
    assert value(metrics, "dacc_step_seconds_sum", step="create", provider="fake") == 3.0
    assert value(metrics, "dacc_step_seconds_bucket", step="create", provider="fake", le="5.0") == 1
    assert value(metrics, "dacc_step_failures_total", step="create", error="Busy") is None


def test_a_step_that_failed_is_counted_by_its_error_too(metrics: PrometheusMetrics, session: Session) -> None:
    metrics.step(order("mount", session), StepOutcome(error=Cancelled(what="mount")), 1.0)
    assert value(metrics, "dacc_step_failures_total", step="mount", error="Cancelled") == 1
    assert value(metrics, "dacc_step_seconds_count", step="mount", provider="fake") == 1


def test_a_session_without_a_volume_has_no_provider(metrics: PrometheusMetrics) -> None:
    metrics.step(order("mount", add_session(store_of("s1"), "7")), StepOutcome(), 1.0)
    assert value(metrics, "dacc_step_seconds_count", step="mount", provider="none") == 1


@pytest.mark.parametrize(("step", "direction"), [("stage_in", "in"), ("stage_out", "out")])
def test_a_copy_counts_its_files_and_bytes_when_it_ended_well(
    metrics: PrometheusMetrics, session: Session, step: StepKind, direction: str
) -> None:
    metrics.step(order(step, session), StepOutcome(progress=Progress(files=3, bytes=4096)), 1.0)
    metrics.step(order(step, session), StepOutcome(error=Cancelled(what=step), progress=Progress(files=1, bytes=1)), 1.0)
    assert value(metrics, "dacc_staged_bytes_total", direction=direction) == 4096
    assert value(metrics, "dacc_staged_files_total", direction=direction) == 3


def test_hosts_that_could_not_be_fenced_are_counted(metrics: PrometheusMetrics) -> None:
    metrics.fenced(3, {"s2": HostUnreachable(host="s2", why="it is down")})
    assert value(metrics, "dacc_fences_total") == 3
    assert value(metrics, "dacc_fence_failures_total") == 1


def test_what_alerts_compare_with_before_begins_at_zero(metrics: PrometheusMetrics) -> None:
    """The increase of a counter that appears with its first event is none."""
    assert value(metrics, "dacc_fence_failures_total") == 0
    assert value(metrics, "dacc_takeovers_total", former="another host") == 0


def test_takeovers_are_counted_by_whom_they_are_from(metrics: PrometheusMetrics) -> None:
    metrics.took_over(["this host", "another host", "this host"])
    assert value(metrics, "dacc_takeovers_total", former="this host") == 2


def test_calls_are_counted_by_what_they_exit_with(metrics: PrometheusMetrics) -> None:
    metrics.called("fakewarp", "setup", 51, 0.2)
    assert value(metrics, "dacc_calls_total", program="fakewarp", function="setup", rc="51") == 1
    assert value(metrics, "dacc_call_seconds_sum", program="fakewarp", function="setup") == 0.2


def test_what_runs_is_told(metrics: PrometheusMetrics) -> None:
    (family,) = (one for one in metrics.registry.collect() if one.name == "dacc_build_info")
    assert family.samples[0].labels["host"] == "s1"
    assert set(family.samples[0].labels) == {"version", "python", "host"}


# --- the keystore ---


def test_requests_to_the_keystore_are_timed_and_their_errors_counted(metrics: PrometheusMetrics) -> None:
    inner = MemoryKeystore()
    store = MeasuredStore(inner, metrics)
    assert store.txn((), (PutKey("/a", b"1"),)).ok
    assert [item.value for item in store.range("/").items] == [b"1"]
    assert store.read("/a").items[0].value == b"1"
    lease = store.grant(5.0)
    assert store.renew(lease)
    store.revoke(lease)
    for operation in ("txn", "range", "read", "grant", "renew", "revoke"):
        assert value(metrics, "dacc_keystore_seconds_count", operation=operation) == 1
    store.close()
    with pytest.raises(KeystoreUnavailable):
        store.read("/a")
    assert value(metrics, "dacc_keystore_errors_total", operation="read", error="KeystoreUnavailable") == 1


def test_the_operations_are_those_that_are_documented() -> None:
    timed = {name for name in vars(MeasuredStore) if not name.startswith("_")} - {"watch", "close"}
    assert {f"`{name}`" for name in timed} == set(names.LABELS["operation"].split(", "))


# --- takeovers ---


def transaction(token: str, **status: Any) -> fx.Transact:
    return fx.Transact(1, (), (PutKey(keys.key("status", token), keys.encode(Status(**status))),))


@pytest.mark.parametrize(
    ("coordinator", "incarnation", "former"),
    [("s2", "s2.1", ["another host"]), ("s1", "old", ["this host"]), ("s1", "new", []), ("", "", [])],
)
def test_a_takeover_is_told_from_whom(coordinator: str, incarnation: str, former: list[str]) -> None:
    store = store_of("s1", "s2")
    add_session(store, "42", "s1:/b0", status=Status(coordinator=coordinator, incarnation=incarnation))
    assert takeovers(view_of(store), "s1", transaction("42", coordinator="s1", incarnation="new")) == former


def test_the_end_of_a_session_is_no_takeover() -> None:
    store = store_of("s1", "s2")
    add_session(store, "42", "s1:/b0", status=Status(coordinator="s1", incarnation="i"))
    kept = transaction("kept-a0000042", coordinator="s1", incarnation="i")
    assert takeovers(view_of(store), "s1", kept) == []


# --- the view ---


def test_the_cluster_is_counted_by_state() -> None:
    from dacc_core.verbs.forgetting import forget
    from dacc_core.verbs.hosts import drain

    store = store_of("s1", "s2", "s3", "s4", dead=("s3", "s4"))
    add_session(store, "42", "s1:/b0", status=Status(filesystem="ready", observed_revision=1))
    add_session(store, "work", kind="persistent", status=Status(running=Running(step="create")))
    held = view_of(store).allocations["s1"].record
    put(store, Allocations(taken=held.taken, quarantined={"/b1": "bad"}), "allocations", "s1")
    run(store, drain, "s2", OPERATOR, draining=True)
    run(store, forget, "s4", OPERATOR, ())
    found = take_snapshot(view_of(store))
    assert found.bricks == {("p", "taken"): 1, ("p", "quarantined"): 1, ("p", "draining"): 2, ("p", "dead"): 2}
    assert found.hosts == {"alive": 1, "draining": 1, "dead": 1, "forgotten": 1}
    assert found.sessions == {("job", "done"): 1, ("persistent", "running"): 1}


def test_what_is_not_there_is_told_as_zero(metrics: PrometheusMetrics) -> None:
    metrics.add_cluster(lambda: 0.5, lambda *_: (take_snapshot(view_of(store_of("s1"))), True), 1.0)
    assert value(metrics, "dacc_bricks", pool="p", state="quarantined") == 0
    assert value(metrics, "dacc_sessions", kind="kept", state="failed") == 0
    assert value(metrics, "dacc_bricks", pool="p", state="free") == 2
    assert (value(metrics, "dacc_view_age_seconds"), value(metrics, "dacc_lease_held")) == (0.5, 1)


def test_an_engine_that_does_not_answer_costs_the_clusters_numbers_only(metrics: PrometheusMetrics) -> None:
    metrics.add_cluster(lambda: float("inf"), lambda *_: None, 1.0)
    metrics.fenced(1, {})
    assert value(metrics, "dacc_bricks", pool="p", state="free") is None
    assert value(metrics, "dacc_fences_total") == 1


def test_every_metric_that_is_told_is_in_the_table_and_every_one_of_the_table_is_told(metrics: PrometheusMetrics, session: Session) -> None:
    metrics.add_cluster(lambda: 0.5, lambda *_: (take_snapshot(view_of(store_of("s1"))), True), 1.0)
    told = {family.name: family for family in metrics.registry.collect()}
    table = {metric.name.removesuffix("_total"): metric for metric in names.METRICS}
    assert set(told) == set(table)
    assert all(told[name].type == metric.kind for name, metric in table.items())
    assert {label for metric in names.METRICS for label in metric.labels} == set(names.LABELS) | {"state"}


# --- defects ---


def test_a_defect_of_a_listener_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(TelemetryListener):
        def stored(self, *_: Any) -> None:
            raise RuntimeError("a defect")

    assert MeasuredStore(MemoryKeystore(), Broken()).range("/").revision == 0
    assert "a telemetry listener failed" in caplog.text


def test_the_listener_of_a_daemon_without_metrics_does_nothing() -> None:
    notify(TelemetryListener().called, "fakewarp", "setup", 0, 0.1)
    assert not TelemetryListener.watching


def test_a_daemon_without_metrics_does_not_import_prometheus() -> None:
    code = "import sys, dacc_core.daemon.main, dacc_core.daemon.service; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# --- over HTTP ---


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    return number


@pytest.fixture
def server(metrics: PrometheusMetrics, port: int) -> Iterator[MetricsServer]:
    one = MetricsServer(f"127.0.0.1:{port}", metrics.registry)
    one.start()
    yield one
    one.stop()


def get(port: int, path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read().decode()
    finally:
        connection.close()


def test_a_scrape_is_in_prometheus_form(server: MetricsServer, port: int, metrics: PrometheusMetrics) -> None:
    metrics.fenced(2, {})
    status, kind, body = get(port)
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert families["dacc_fences"].samples[0].value == 2
    assert "_created" not in body


def test_other_paths_are_not_found(server: MetricsServer, port: int) -> None:
    assert get(port, "/etc/passwd")[0] == 404


def test_a_scrape_that_fails_is_told_and_the_next_one_works(server: MetricsServer, port: int, metrics: PrometheusMetrics) -> None:
    asked: list[int] = []

    def broken(*_: Any) -> Any:
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("a defect")

    metrics.add_cluster(lambda: 0.0, broken, 1.0)
    assert get(port)[0] == 500
    assert get(port)[0] == 200


def test_a_port_in_use_is_one_clear_error(server: MetricsServer, port: int) -> None:
    with pytest.raises(Busy, match=f"metrics.listen 127.0.0.1:{port}: somebody listens there already"):
        MetricsServer(f"127.0.0.1:{port}", CollectorRegistry())


@pytest.mark.parametrize("listen", ["192.0.2.1:9753", "no.such.host.invalid:9753"])
def test_an_impossible_address_is_one_clear_error(listen: str) -> None:
    with pytest.raises(BadConfig, match=f"metrics.listen {listen}: cannot listen there: "):
        MetricsServer(listen, CollectorRegistry())


def test_a_client_that_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch, metrics: PrometheusMetrics, port: int) -> None:
    monkeypatch.setattr(http_module._ScrapeHandler, "timeout", 0.1)
    server = MetricsServer(f"127.0.0.1:{port}", metrics.registry)
    server.start()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
        assert silent.recv(1) == b""
    server.stop()


def test_more_clients_than_places_are_turned_away_and_their_places_come_back(
    monkeypatch: pytest.MonkeyPatch, metrics: PrometheusMetrics, port: int
) -> None:
    monkeypatch.setattr(http_module, "SCRAPES", 2)
    server = MetricsServer(f"127.0.0.1:{port}", metrics.registry)
    server.start()
    idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
    assert idle[2].recv(1) == b""
    for one in idle:
        one.close()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            assert get(port)[0] == 200
            break
        except OSError:
            continue
    else:
        pytest.fail("the places did not come back")
    server.stop()


def test_nothing_is_left_when_it_stops(server: MetricsServer, port: int) -> None:
    server.stop()
    assert not any(thread.name == "metrics" for thread in threading.enumerate())
    with pytest.raises(OSError):
        get(port)
