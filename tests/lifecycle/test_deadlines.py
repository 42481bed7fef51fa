"""Whatever a session waits for has a deadline: when no answer comes, it recovers, and a late answer is ignored."""

from __future__ import annotations

import ast
import inspect
from typing import get_args

import pytest

from dacc_core.errors import HostLost, HostUnreachable, Unavailable
from dacc_core.keystore.base import TxnResult
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle import policy, reconciler, states
from dacc_core.lifecycle.plan import Step
from dacc_core.lifecycle.states import (
    Backoff,
    Committing,
    Considered,
    Fencing,
    Idle,
    Rest,
    RunningStep,
    State,
    Tenure,
    awaited_by,
    deadline_of,
)
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.values import Progress

from .alone import Alone

LOST = StepOutcome(error=HostLost(host="s1", why="the connection ended"), unsure=True)
DONE = StepOutcome(state={})
RULES = fx.Rules()
FENCE = RULES.fence_deadline(1)


@pytest.fixture
def alone() -> Alone:
    alone = Alone()
    alone.set_up()
    return alone


@pytest.fixture
def fencing(alone: Alone) -> Alone:
    """A session whose first step may have left a command behind."""
    alone.end_step(LOST)
    assert len(alone.all(fx.FenceHosts)) == 1
    return alone


def state(alone: Alone) -> State:
    (reconciler,) = alone.engine.reconcilers
    return reconciler.state


# --- a fence ---


def test_a_fence_that_is_never_answered_is_made_anew_and_does_not_hang_its_session(fencing: Alone) -> None:
    first = fencing.last(fx.FenceHosts)
    fencing.advance(FENCE + 5.0)
    second = fencing.last(fx.FenceHosts)
    assert second.generation > first.generation
    fencing.give(fx.Fenced(second.ref, {}))
    fencing.end_step(DONE)
    assert [type(reply).__name__ for reply in fencing.replies] == ["Answer"]


def test_a_fence_is_waited_for_as_long_as_its_commands_may_take(fencing: Alone) -> None:
    fencing.advance(FENCE - 1.0)
    assert len(fencing.all(fx.FenceHosts)) == 1
    fencing.give(fx.Fenced(fencing.last(fx.FenceHosts).ref, {}))
    fencing.end_step(DONE)
    assert len(fencing.replies) == 1


def test_a_fence_of_many_hosts_has_more_time() -> None:
    assert RULES.fence_deadline(2_400) > 10 * RULES.fence_deadline(1) > 10 * RULES.fence_seconds


def test_an_answer_to_a_fence_that_was_abandoned_is_ignored(fencing: Alone) -> None:
    first = fencing.last(fx.FenceHosts)
    fencing.advance(FENCE + 5.0)
    fencing.give(fx.Fenced(first.ref, {}))
    assert isinstance(state(fencing), Fencing)
    assert len(fencing.all(fx.RunStep)) == 1


def test_a_goal_whose_fences_are_never_answered_fails(fencing: Alone) -> None:
    fencing.advance(RULES.attempts * (FENCE + 15.0))
    assert [str(reply) for reply in fencing.replies] == [f"fencing s1 of session 1 failed: no answer within {FENCE:g} s"]


def test_a_fence_that_fails_each_time_is_tried_in_pauses_also_when_the_goal_has_failed(fencing: Alone) -> None:
    """It was tried again at once, each time with two transactions."""
    refused = {"s1": HostUnreachable(host="s1", why="no route")}
    fences: list[float] = []
    while fencing.mono < 100.0:
        if len(fences) < len(fencing.all(fx.FenceHosts)):
            fences.append(fencing.mono)
            fencing.give(fx.Fenced(fencing.last(fx.FenceHosts).ref, refused))
        fencing.advance(0.1)
    assert len(fencing.replies) == 1
    assert 6 < len(fences) < 15
    assert fences[-1] - fences[-2] > policy.MAX_WAIT - 1.0


def test_a_step_that_ran_under_a_fenced_generation_is_fenced_too_although_another_transaction_came_first(fencing: Alone) -> None:
    fencing.give(fx.Fenced(fencing.last(fx.FenceHosts).ref, {}))
    fencing.holding = True
    fencing.end_step(LOST)
    refused = fencing.last(fx.Transact)
    fencing.holding = False
    fencing.give(fx.Transacted(refused.ref, TxnResult(ok=False, revision=fencing.engine.view.revision)))
    fencing.advance(0.5)
    assert isinstance(state(fencing), Fencing)
    assert len(fencing.all(fx.FenceHosts)) == len(fencing.all(fx.RunStep)) == 2


# --- a transaction ---


def test_a_commit_that_is_never_answered_is_abandoned_and_made_anew(alone: Alone) -> None:
    alone.holding = True
    alone.end_step(DONE)
    first = alone.last(fx.Transact)
    alone.holding = False
    alone.advance(RULES.commit_seconds + 1.0)
    assert alone.last(fx.Transact).ref > first.ref
    assert not isinstance(state(alone), Committing)


def test_an_answer_to_a_commit_that_was_abandoned_is_ignored(alone: Alone) -> None:
    alone.end_step(StepOutcome(error=Unavailable(why="not now")))
    alone.holding = True
    alone.advance(RULES.first_wait + 0.5)
    beginning = alone.last(fx.Transact)
    alone.advance(RULES.commit_seconds)
    assert alone.last(fx.Transact).ref > beginning.ref
    alone.give(fx.Transacted(beginning.ref, TxnResult(ok=True, revision=alone.engine.view.revision)))
    assert len(alone.all(fx.RunStep)) == 1, "the beginning that counts is not recorded yet"


def test_a_commit_that_is_done_after_it_was_abandoned_starts_no_step_twice(alone: Alone) -> None:
    alone.end_step(StepOutcome(error=Unavailable(why="not now")))
    alone.holding = True
    alone.advance(RULES.first_wait + 0.5)
    beginning = alone.last(fx.Transact)
    alone.advance(RULES.commit_seconds)
    alone.holding = False
    alone.commit(beginning)
    alone.follow()
    alone.commit(alone.last(fx.Transact))
    alone.advance(1.0)
    assert isinstance(state(alone), Fencing), "a step that may have begun is fenced before anything else is done"
    assert len(alone.all(fx.RunStep)) == 1


# --- a step ---


def test_a_step_that_never_ends_is_cancelled_and_then_abandoned_and_fenced(alone: Alone) -> None:
    seconds = alone.last(fx.RunStep).order.step.seconds
    alone.advance(seconds + RULES.cancel_grace + 1.0)
    assert [cancel.ref for cancel in alone.all(fx.CancelStep)] == [alone.last(fx.RunStep).ref]
    assert not alone.all(fx.FenceHosts)
    alone.advance(RULES.cancel_grace)
    assert [fence.hosts for fence in alone.all(fx.FenceHosts)] == [("s1",)]


def test_the_outcome_of_a_step_that_was_abandoned_is_ignored(alone: Alone) -> None:
    alone.advance(alone.last(fx.RunStep).order.step.seconds + 2 * RULES.cancel_grace + 1.0)
    alone.end_step(DONE)
    assert isinstance(state(alone), Fencing)
    assert alone.status.filesystem == "creating"


def test_a_step_whose_progress_cannot_be_saved_ends_all_the_same(alone: Alone) -> None:
    alone.holding = True
    alone.give(fx.Progressed(alone.last(fx.RunStep).ref, Progress(files=1, cleared="mark")))
    alone.end_step(DONE)
    assert isinstance(state(alone), RunningStep)
    alone.holding = False
    alone.advance(RULES.commit_seconds + 1.0)
    assert not isinstance(state(alone), RunningStep)


def test_a_step_that_failed_is_tried_again_after_a_wait(alone: Alone) -> None:
    alone.end_step(StepOutcome(error=Unavailable(why="not now")))
    assert isinstance(state(alone), Backoff)
    alone.advance(RULES.first_wait + 0.2)
    assert len(alone.all(fx.RunStep)) == 2


# --- states ---

TENURE = Tenure(1.0, 1)
STATES: list[State] = [
    Idle(),
    Backoff(7.0),
    Committing(1, Rest(), TENURE, 7.0),
    RunningStep(Step("create"), 1, TENURE, 7.0, Considered(1, 0, "", detached=False), (), saved_at=1.0),
    Fencing(1, TENURE, ("s1",), 7.0),
]


def test_every_state_but_idle_has_a_deadline() -> None:
    assert {type(each) for each in STATES} == set(get_args(State))
    assert {type(each): deadline_of(each) for each in STATES} == {kind: None if kind is Idle else 7.0 for kind in get_args(State)}


def test_a_state_that_waits_for_an_answer_names_its_effect() -> None:
    assert [bool(awaited_by(each)) for each in STATES] == [False, False, True, True, True]


@pytest.mark.parametrize("module", [reconciler, states, policy], ids=["reconciler", "states", "policy"])
def test_every_match_is_exhaustive(module: object) -> None:
    """mypy proves that what is left over is nothing, if a match says so."""
    matches = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Match)]  # type: ignore[arg-type]
    assert matches
    for match in matches:
        assert "assert_never(" in ast.unparse(match.cases[-1]), ast.unparse(match)
