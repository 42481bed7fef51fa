"""Sessions in words."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from dacc_core.errors import Denied, NoSuchSession, NotFound
from dacc_core.lifecycle.explain import WORDS, desired, explain, sentence, why
from dacc_core.lifecycle.plan import StepKind
from dacc_core.registry.records import Event, Failure, Goal, History, Running, Session, Status
from dacc_core.values import Progress
from dacc_core.verbs import goals
from dacc_core.verbs.frontend import PeerCredentials
from tests.support.stores import OPERATOR, STRANGER, add_session, put, run, store_of, view_of

ALIVE = {"coordinator": "s1", "incarnation": "s1.1"}


def told(status: Status, dead: tuple[str, ...] = (), **session: Any) -> dict[str, Any]:
    store = store_of("s1", dead=dead)
    one = add_session(store, "42", "s1:/b0", status=status, **session)
    return explain(view_of(store), one, now=112.0)


def test_every_step_has_words() -> None:
    assert set(WORDS) == set(get_args(StepKind))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(at=1, what="create", host="dac[1-2]", seconds=0.52), "built the filesystem on dac[1-2] in 0.5 s"),
        (Event(at=1, what="mount", host="c1", seconds=3, error="no route"), "mounting it on c1 failed after 3.0 s: no route"),
        (Event(at=1, what="release"), "gave its bricks back"),
        (Event(at=1, what="keep", error="its stage-out failed"), "kept the data, which is still owed: its stage-out failed"),
        (Event(at=1, what="invented"), "invented in 0.0 s"),
    ],
)
def test_a_line_of_a_timeline_is_a_sentence(event: Event, text: str) -> None:
    assert sentence(event) == text


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (goals.SETUP, "a filesystem, mounted nowhere"),
        (goals.pre_run("c[1-4]"), "a filesystem, the data copied in, mounted on c[1-4]"),
        (goals.DATA_OUT, "a filesystem, mounted nowhere, the data copied out"),
        (goals.gone(hurry=False), "its end"),
        (goals.gone(hurry=True), "its end, without copying out what is owed"),
    ],
)
def test_a_goal_is_put_into_words(goal: Goal, text: str) -> None:
    assert desired(goal) == text


def test_a_goal_that_is_reached_waits_for_nothing() -> None:
    assert told(Status(filesystem="ready", observed_revision=1, **ALIVE))["waits_for"] == "nothing"


def test_a_step_that_runs_is_named_with_its_hosts_and_its_time() -> None:
    running = Running(step="create", hosts="s1", started=100.0)
    assert told(Status(running=running, **ALIVE))["waits_for"] == "building the filesystem on s1, for 12 s now"


def test_a_copy_tells_how_far_it_is() -> None:
    status = Status(
        filesystem="ready", running=Running(step="stage_in", hosts="s1", started=100.0), progress=Progress(files=3, bytes=2048), **ALIVE
    )
    assert told(status)["waits_for"] == "copying the data in on s1, for 12 s now, 3 files and 2KiB so far"


def test_a_step_that_is_tried_again_is_told_with_its_last_error() -> None:
    status = Status(events=(Event(at=1, what="create", error="no answer"),), **ALIVE)
    assert told(status)["waits_for"] == "building the filesystem, again: no answer"


def test_a_failed_goal_waits_for_the_next_call() -> None:
    status = Status(failed_revision=1, failure=Failure(kind="Busy", text="it is busy"), **ALIVE)
    assert told(status)["waits_for"] == "the next call: setup failed: it is busy"


def test_a_session_whose_daemon_is_gone_waits_for_another() -> None:
    found = told(Status(**ALIVE), dead=("s1",))
    assert found["waits_for"] == "a living daemon to take it over: the one of s1 is gone"


def test_without_any_daemon_that_is_said() -> None:
    assert told(Status(), dead=("s1",))["waits_for"] == "a daemon: none is alive"


def test_a_kept_session_waits_for_a_person() -> None:
    found = told(Status(filesystem="ready", observed_revision=1, **ALIVE), kind="kept", goal=Goal(verb="keep"))
    assert found["waits_for"] == "someone to copy out what is owed (dacc stage-out 42) or to give it up (dacc discard 42)"


def test_the_timeline_begins_with_what_the_session_got() -> None:
    found = told(Status(events=(Event(at=5, what="create", host="s1", seconds=1),)))
    assert [event["text"] for event in found["events"]] == ["got 1GiB of pool p: s1:/b0", "built the filesystem on s1 in 1.0 s"]


def test_a_session_without_bricks_says_so() -> None:
    store = store_of("s1")
    session: Session = add_session(store, "7", status=Status())
    assert explain(view_of(store), session, 1.0)["events"][0]["text"] == "asked for, without bricks of its own"


def test_what_came_before_under_the_same_token_is_told_too() -> None:
    store = store_of("s1")
    add_session(store, "42", "s1:/b0")
    put(store, History(token="42", owner=1000, outcome="released", pre_run_failures=2), "history", "42")
    before = run(store, why, "42", OPERATOR)["before"]
    assert (before["outcome"], before["pre_run_failures"]) == ("released", 2)


@pytest.mark.parametrize("caller", [OPERATOR, PeerCredentials(uid=1000)], ids=["operator", "owner"])
def test_a_session_that_has_ended_is_told_to_its_owner_and_to_operators(caller: PeerCredentials) -> None:
    store = store_of("s1")
    events = (Event(at=9, what="release"),)
    put(store, History(token="42", owner=1000, outcome="released", ended=9.0, events=events), "history", "42")
    found = run(store, why, "42", caller)
    assert (found["outcome"], found["events"][0]["text"]) == ("released", "gave its bricks back")


def test_a_stranger_does_not_learn_that_a_session_has_ended() -> None:
    store = store_of("s1")
    put(store, History(token="42", owner=1000, outcome="released"), "history", "42")
    with pytest.raises(NotFound, match="no session is called 42"):
        run(store, why, "42", STRANGER)


def test_a_stranger_may_not_look_into_a_session() -> None:
    store = store_of("s1")
    add_session(store, "42", "s1:/b0")
    with pytest.raises(Denied):
        run(store, why, "42", STRANGER)


def test_an_unknown_session_is_not_found() -> None:
    with pytest.raises((NotFound, NoSuchSession)):
        run(store_of("s1"), why, "43", OPERATOR)
