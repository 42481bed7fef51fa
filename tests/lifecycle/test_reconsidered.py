"""A step that runs is cancelled when the goal no longer calls for it, and only then."""

from __future__ import annotations

import msgspec
import pytest

from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.registry.records import Session
from dacc_core.verbs import goals

from .alone import Alone


@pytest.fixture
def running() -> Alone:
    """A session whose filesystem is being created."""
    alone = Alone()
    alone.set_up()
    assert [effect.order.step.kind for effect in alone.all(fx.RunStep)] == ["create"]
    return alone


def session(alone: Alone) -> Session:
    assert alone.session is not None
    return alone.session


def test_a_new_goal_cancels_it(running: Alone) -> None:
    running.tear_down()
    assert [cancel.ref for cancel in running.all(fx.CancelStep)] == [running.last(fx.RunStep).ref]


def test_a_goal_that_changed_while_the_beginning_was_recorded_cancels_it() -> None:
    alone = Alone()
    alone.set_up()
    alone.end_step(StepOutcome(state={}))
    alone.holding = True
    alone.write(msgspec.structs.replace(session(alone), goal=goals.pre_run("c1"), goal_revision=2))
    beginning = alone.last(fx.Transact)
    alone.write(msgspec.structs.replace(session(alone), goal=goals.POST_RUN, goal_revision=3))
    alone.commit(beginning)
    alone.follow()
    step, cancel = alone.asked[-2:]
    assert isinstance(step, fx.RunStep)
    assert cancel == fx.CancelStep(step.ref)


def test_a_host_that_is_forgotten_cancels_it(running: Alone) -> None:
    running.write(msgspec.structs.replace(session(running), lost=("s1",)))
    assert len(running.all(fx.CancelStep)) == 1


def test_a_goal_that_calls_for_the_same_step_leaves_it_alone(running: Alone) -> None:
    running.write(msgspec.structs.replace(session(running), goal=goals.pre_run("c1"), goal_revision=2))
    running.advance(1.0)
    assert not running.all(fx.CancelStep)
    assert len(running.all(fx.RunStep)) == 1


def test_it_is_cancelled_once(running: Alone) -> None:
    running.tear_down()
    running.write(msgspec.structs.replace(session(running), goal_revision=9))
    assert len(running.all(fx.CancelStep)) == 1
