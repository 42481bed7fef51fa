"""What is published to the hooks of provider packages, and by which daemon."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dacc_core.daemon.telemetry.events import FanOut, SessionRecords, TelemetryListener
from dacc_core.daemon.telemetry.hooks import HookPublisher
from dacc_core.errors import Cancelled
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.plan import Step
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.registry.records import Failure, Running, Session, Status
from dacc_core.sdk import hookspecs
from dacc_core.values import Progress
from tests.support.stores import add_session, store_of


class Heard:
    """Notes what the observers would be told."""

    def __init__(self, *hooks: str) -> None:
        self.hooks = hooks or ("dacc_session_changed", "dacc_step_finished")
        self.events: list[tuple[str, dict[str, Any]]] = []

    def wants(self, hook: str) -> bool:
        return hook in self.hooks

    def tell(self, hook: str, event: dict[str, Any]) -> None:
        self.events.append((hook, event))


@pytest.fixture
def session() -> Session:
    return add_session(store_of("s1"), "42", "s1:/b0")


def changes(before: SessionRecords, after: SessionRecords, host: str = "s1") -> list[dict[str, Any]]:
    heard = Heard()
    HookPublisher(heard, host).changed(before, after)  # type: ignore[arg-type]
    return [event for _, event in heard.events]


def status(**facts: Any) -> Status:
    return Status(coordinator="s1", **facts)


def test_a_change_of_the_facts_is_told_with_who_and_what(session: Session) -> None:
    (event,) = changes((session, status()), (session, status(filesystem="ready", mounts="c[1-2]")))
    assert event["time"] > 0
    assert (event["session"], event["kind"], event["provider"]) == ("42", "job", "fake")
    assert (event["filesystem"], event["mounts"], event["state"]) == ("ready", "c[1-2]", "bricks_provisioned")


def test_a_new_goal_is_told(session: Session) -> None:
    ending = msgspec.structs.replace(session, goal=msgspec.structs.replace(session.goal, verb="teardown"))
    (event,) = changes((session, status()), (ending, status()))
    assert event["goal"] == "teardown"


def test_a_failed_goal_is_told_with_its_class_and_text(session: Session) -> None:
    failed = status(failure=Failure(kind="NoSpace", text="no room"), failed_revision=session.goal_revision)
    (event,) = changes((session, status()), (session, failed))
    assert (event["error"], event["reason"]) == ("NoSpace", "no room")


def test_a_change_of_nothing_that_is_told_is_not_told(session: Session) -> None:
    assert changes((session, status()), (session, status(progress=Progress(files=3)))) == []


def test_only_the_coordinator_tells(session: Session) -> None:
    assert changes((session, status()), (session, status(filesystem="ready")), host="s2") == []


def test_the_former_coordinator_does_not_tell_what_the_next_one_does(session: Session) -> None:
    after = Status(coordinator="s2", filesystem="ready")
    assert changes((session, status()), (session, after)) == []
    assert len(changes((session, status()), (session, after), host="s2")) == 1


def test_the_end_of_a_session_is_told_by_its_last_coordinator(session: Session) -> None:
    (event,) = changes((session, status(filesystem="ready")), (None, Status()))
    assert (event["session"], event["state"], event["volume"]) == ("42", "bricks_deleted", session.volume.name if session.volume else "")


def test_a_step_is_told_with_its_hosts_time_and_outcome(session: Session) -> None:
    heard = Heard()
    order = fx.StepOrder(Step("mount", targets="c[1-2]"), session, status(running=Running(step="mount", hosts="c[1-2]")))
    HookPublisher(heard, "s1").step(order, StepOutcome(error=Cancelled(what="mount")), 1.5)  # type: ignore[arg-type]
    ((hook, event),) = heard.events
    assert hook == "dacc_step_finished"
    assert (event["session"], event["step"], event["hosts"], event["seconds"]) == ("42", "mount", "c[1-2]", 1.5)
    assert (event["error"], event["reason"]) == ("Cancelled", "mount was cancelled")


def test_a_step_is_not_put_into_words_for_nobody(session: Session) -> None:
    heard = Heard("dacc_session_changed")
    HookPublisher(heard, "s1").step(fx.StepOrder(Step("create"), session, status()), StepOutcome(), 1.0)  # type: ignore[arg-type]
    assert heard.events == []


def test_a_listener_that_fails_costs_the_others_nothing(session: Session) -> None:
    class Bad(TelemetryListener):
        def changed(self, before: SessionRecords, after: SessionRecords) -> None:
            raise RuntimeError("boom")

    heard = Heard()
    FanOut(Bad(), HookPublisher(heard, "s1")).changed((session, status()), (None, Status()))  # type: ignore[arg-type]
    assert len(heard.events) == 1


def test_every_event_is_passed_on_to_all_listeners() -> None:
    events = {name for name, thing in vars(TelemetryListener).items() if callable(thing) and not name.startswith("_")}
    assert events <= set(vars(FanOut))


@pytest.mark.parametrize(("hook", "of_the_other"), [("dacc_session_changed", ()), ("dacc_step_finished", ("dacc_session_changed",))])
def test_all_that_an_event_has_is_documented(session: Session, hook: str, of_the_other: tuple[str, ...]) -> None:
    heard = Heard()
    publisher = HookPublisher(heard, "s1")  # type: ignore[arg-type]
    publisher.changed((session, status()), (session, status(filesystem="ready")))
    publisher.step(fx.StepOrder(Step("create"), session, status()), StepOutcome(), 1.0)
    text = " ".join(str(getattr(hookspecs, name).__doc__) for name in (hook, *of_the_other))
    assert [key for name, event in heard.events if name == hook for key in event if f"``{key}``" not in text] == []
