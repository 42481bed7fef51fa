"""Observers may raise, hang or call sys.exit: the others are called all the same, and who tells them never waits."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from dacc_core.plugins import Observers, new_manager
from dacc_core.sdk import hookimpl

HOOK = "dacc_step_finished"
Observer = Callable[[Mapping[str, Any]], None]


class Scene:
    """Observers, who was told what, and what was dropped."""

    def __init__(self) -> None:
        self.manager = new_manager()
        self.seen: list[Any] = []
        self.dropped: list[str] = []
        self.release = threading.Event()
        self.came = threading.Condition()

    def add(self, name: str, observe: Observer, hook: str = HOOK) -> None:
        def function(event: Mapping[str, Any]) -> None:
            observe(event)

        function.__name__ = hook
        self.manager.register(SimpleNamespace(**{hook: hookimpl(function)}), name=name)

    def see(self, event: Mapping[str, Any]) -> None:
        with self.came:
            self.seen.append(event["n"])
            self.came.notify_all()

    def observers(self, **options: Any) -> Observers:
        return Observers(self.manager, self.dropped.append, **options)

    def expect(self, *numbers: int) -> None:
        with self.came:
            self.came.wait_for(lambda: len(self.seen) >= len(numbers), 30.0)
        assert self.seen == list(numbers)

    def hang(self, event: Mapping[str, Any]) -> None:
        self.release.wait(60.0)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr("dacc_core.plugins.observers.CLOSE_SECONDS", 30.0)  # however slow the machine
    made = Scene()
    yield made
    made.release.set()


def tell(observers: Observers, *numbers: int, hook: str = HOOK) -> None:
    for number in numbers:
        observers.tell(hook, {"n": number})


def test_each_is_called_in_the_order_of_events(scene: Scene) -> None:
    scene.add("good", scene.see)
    tell(scene.observers(), 1, 2, 3)
    scene.expect(1, 2, 3)


def fail(event: Mapping[str, Any]) -> None:
    raise RuntimeError("boom")


def leave(event: Mapping[str, Any]) -> None:
    sys.exit(3)


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError


def be_unspeakable(event: Mapping[str, Any]) -> None:
    raise Unspeakable


@pytest.mark.parametrize(("bad", "why"), [(fail, "RuntimeError: boom"), (leave, "SystemExit: 3"), (be_unspeakable, "Unspeakable")])
def test_one_that_raises_is_logged_and_costs_the_others_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture, bad: Observer, why: str
) -> None:
    scene.add("good", scene.see)
    scene.add("bad", bad)
    observers = scene.observers()
    tell(observers, 1, 2)
    scene.expect(1, 2)
    observers.close()
    found = [(record.message, record.__dict__["plugin"], record.__dict__["why"]) for record in caplog.records]
    assert found == [("an observer failed", "bad", why)] * 2


def test_one_that_hangs_is_called_no_more_and_the_others_go_on(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def hang(event: Mapping[str, Any]) -> None:
        calls.append(event["n"])
        scene.hang(event)

    scene.add("good", scene.see)
    scene.add("bad", hang)  # pluggy calls what was registered last first
    tell(scene.observers(patience=3.0), 1, 2)  # time enough for the good one
    scene.expect(1, 2)
    assert calls == [1]
    (record,) = caplog.records
    assert (record.levelno, record.message, record.__dict__["plugin"]) == (logging.ERROR, "an observer hangs and is called no more", "bad")


def test_nothing_is_kept_for_observers_that_are_called_no_more(scene: Scene) -> None:
    scene.add("bad", scene.hang)
    observers = scene.observers(patience=0.01)
    tell(observers, 1)
    end = time.monotonic() + 30.0
    while observers.wants(HOOK) and time.monotonic() < end:
        time.sleep(0.01)
    assert not observers.wants(HOOK)


def test_what_does_not_fit_is_dropped_and_counted_and_the_teller_does_not_wait(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    entered = threading.Event()

    def slow(event: Mapping[str, Any]) -> None:
        entered.set()
        scene.hang(event)
        scene.see(event)

    scene.add("slow", slow)
    observers = scene.observers(capacity=2)
    tell(observers, 1)
    assert entered.wait(30.0)
    tell(observers, 2, 3, 4, 5)
    assert scene.dropped == [HOOK, HOOK]
    assert [record.message for record in caplog.records] == ["observers are too slow, events are dropped"]
    scene.release.set()
    scene.expect(1, 2, 3)


def test_an_observer_cannot_change_what_the_next_one_sees(scene: Scene) -> None:
    scene.add("good", scene.see)
    scene.add("bad", lambda event: event.clear())  # type: ignore[attr-defined]
    tell(scene.observers(), 1)
    scene.expect(1)


def test_nobody_is_told_what_nobody_observes(scene: Scene) -> None:
    scene.add("good", scene.see, hook="dacc_session_changed")
    observers = scene.observers()
    assert observers.wants("dacc_session_changed")
    assert not observers.wants(HOOK)
    threads = threading.active_count()
    tell(observers, 1)
    assert threading.active_count() == threads


def test_one_that_is_loaded_later_is_told_from_then_on(scene: Scene) -> None:
    observers = scene.observers()
    tell(observers, 1)
    scene.add("good", scene.see)
    tell(observers, 2)
    scene.expect(2)


def test_what_waits_is_seen_before_the_end(scene: Scene) -> None:
    scene.add("good", scene.see)
    observers = scene.observers()
    tell(observers, *range(50))
    observers.close()
    assert scene.seen == list(range(50))


def test_the_end_does_not_wait_for_one_that_hangs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dacc_core.plugins.observers.CLOSE_SECONDS", 0.01)
    scene.add("bad", scene.hang)
    observers = scene.observers()
    tell(observers, 1)
    observers.close()
    assert not scene.release.is_set()


def test_the_end_of_what_never_began_is_nothing(scene: Scene) -> None:
    scene.observers().close()
