"""How full volumes are, as daemons measure it for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from dacc_core import sdk
from dacc_core.daemon.usage import UsageMonitor, measurable
from dacc_core.errors import KeystoreUnavailable, Unavailable
from dacc_core.hosts import RecorderRunner
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.lifecycle.step_runner import StepEnvironment
from dacc_core.registry.records import Goal, Running, VolumeUsage
from dacc_core.registry.view import View
from dacc_core.verbs.operators import overview
from tests.support.stores import OPERATOR, add_session, put, store_of, view_of

FULL = {"capacity": 1000, "used": 400}


@dataclass
class Engine:
    """What the monitor asks the engine for."""

    store: MemoryKeystore
    host: str = "s1"
    incarnation: str = "s1.1"
    acting: bool = True

    @property
    def view(self) -> View:
        return view_of(self.store)

    def may_act(self) -> bool:
        return self.acting


@dataclass
class Provider:
    """Answers what it is told to, and remembers what it was asked."""

    answer: Callable[[], Mapping[str, int]] = lambda: FULL
    asked: list[sdk.VolumeRequest] = field(default_factory=list)

    def usage(self, request: sdk.VolumeRequest) -> Mapping[str, int]:
        self.asked.append(request)
        return self.answer()


class Monitored:
    """A session that is ready on host ``s1``, and the monitor of that host's daemon."""

    def __init__(self, **status: Any) -> None:
        self.store = store_of("s1")
        add_session(self.store, "42", "s1:/b0")
        self.change(status={"filesystem": "ready", "coordinator": "s1", "incarnation": "s1.1", "generation": 3, **status})
        self.engine, self.provider = Engine(self.store), Provider()
        environment = StepEnvironment(lambda _: self.provider, RecorderRunner(), None, "/mnt/dac", "/movers")  # type: ignore[arg-type, return-value]
        self.monitor = UsageMonitor(lambda read, _: read(self.engine), self.store, environment, interval=300.0)

    def change(self, session: Mapping[str, Any] = {}, status: Mapping[str, Any] = {}) -> None:
        view = view_of(self.store)
        put(self.store, msgspec.structs.replace(view.sessions["42"].record, **session), "sessions", "42")
        put(self.store, msgspec.structs.replace(view.status("42"), **status), "status", "42")

    @property
    def usage(self) -> VolumeUsage | None:
        entry = view_of(self.store).usages.get("42")
        return entry.record if entry else None

    @property
    def revision(self) -> int:
        return view_of(self.store).revision_of("usage", "42")


@pytest.fixture
def monitored() -> Monitored:
    return Monitored()


def test_what_the_provider_reports_is_recorded_with_its_time(monitored: Monitored) -> None:
    before = time.time()
    monitored.monitor.measure_all()
    assert monitored.usage is not None
    assert (monitored.usage.capacity, monitored.usage.used) == (1000, 400)
    assert before <= monitored.usage.at <= time.time()


def test_the_provider_is_asked_under_the_sessions_generation(monitored: Monitored) -> None:
    monitored.monitor.measure_all()
    (request,) = monitored.provider.asked
    assert (request.context.generation, request.context.token, request.volume.name) == (3, "42", "a0000042")


@pytest.mark.parametrize(
    ("session", "status"),
    [
        ({"goal": Goal(verb="teardown", filesystem="absent")}, {}),
        ({"lost": ("s1",)}, {}),
        ({}, {"filesystem": "creating"}),
        ({}, {"running": Running(step="mount")}),
        ({}, {"coordinator": "s2"}),
        ({}, {"incarnation": "s1.0"}),
    ],
    ids=["ending", "lost", "not built", "a step under way", "another coordinator", "a former incarnation"],
)
def test_a_volume_is_left_alone_while_it_may_not_be_measured(monitored: Monitored, session: dict[str, Any], status: dict[str, Any]) -> None:
    monitored.change(session, status)
    monitored.monitor.measure_all()
    monitored.monitor.measure("42")
    assert monitored.provider.asked == []


def test_a_daemon_that_may_not_act_measures_nothing(monitored: Monitored) -> None:
    monitored.engine.acting = False
    assert list(measurable(monitored.engine)) == []  # type: ignore[arg-type]


def test_what_was_measured_while_a_step_began_is_not_recorded(monitored: Monitored) -> None:
    def meanwhile() -> Mapping[str, int]:
        monitored.change(status={"running": Running(step="delete")})
        return FULL

    monitored.provider.answer = meanwhile
    monitored.monitor.measure_all()
    assert monitored.usage is None


def test_a_small_change_is_not_written(monitored: Monitored) -> None:
    monitored.monitor.measure_all()
    written = monitored.revision
    monitored.provider.answer = lambda: {"capacity": 1000, "used": 409}
    monitored.monitor.measure_all()
    assert monitored.revision == written
    monitored.provider.answer = lambda: {"capacity": 1000, "used": 410}
    monitored.monitor.measure_all()
    assert monitored.revision > written


@pytest.mark.parametrize(
    "answer",
    [{}, {"capacity": 1}, {"capacity": -1, "used": 0}, {"capacity": 1, "used": "1"}, {"capacity": 1 << 63, "used": 0}, None, 7],
    ids=repr,
)
def test_a_malformed_answer_leaves_the_usage_unknown(monitored: Monitored, answer: Any) -> None:
    monitored.provider.answer = lambda: answer
    monitored.monitor.measure_all()
    assert monitored.usage is None


@pytest.mark.parametrize("error", [Unavailable(why="no"), RuntimeError("a defect")], ids=repr)
def test_a_provider_that_fails_leaves_the_usage_unknown(monitored: Monitored, error: Exception) -> None:
    def fail() -> Mapping[str, int]:
        raise error

    monitored.provider.answer = fail
    monitored.monitor.measure_all()
    assert monitored.usage is None


def test_a_provider_that_cannot_tell_is_not_asked(monitored: Monitored) -> None:
    monitored.provider = object()  # type: ignore[assignment]
    monitored.monitor.measure_all()
    assert monitored.usage is None


def test_status_shows_the_usage_and_what_is_unknown_as_such(monitored: Monitored) -> None:
    def shown() -> Any:
        return overview(view_of(monitored.store), OPERATOR)["sessions"][0]["usage"]

    assert shown() is None
    monitored.monitor.measure_all()
    assert (shown()["used"], shown()["capacity"]) == (400, 1000)


def test_a_store_that_fails_costs_the_measurement_only(monitored: Monitored, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise KeystoreUnavailable(where="here", why="no answer")

    monkeypatch.setattr(monitored.store, "txn", refuse)
    monitored.monitor.measure_all()


def test_a_monitor_that_is_stopped_asks_nobody(monitored: Monitored) -> None:
    monitored.monitor.stop()
    monitored.monitor.measure_all()
    assert monitored.provider.asked == []
