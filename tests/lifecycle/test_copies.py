"""What the next try of a copy must know: that what had been at its destinations before is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dacc_core.errors import Cancelled, Denied, HostLost, StepFailed, Unavailable
from dacc_core.lifecycle import transitions
from dacc_core.lifecycle.plan import Step
from dacc_core.lifecycle.reactor import Reactor
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.movers.base import CopyOrder, CopyReport
from dacc_core.registry.records import Status
from dacc_core.simulation.cluster import answered
from dacc_core.simulation.world import SimMover
from dacc_core.values import Progress, StageRequest
from dacc_core.verbs import goals
from dacc_core.verbs.sessions import submit_goal

from .quiet import Job

CLEARED = Progress(files=1, bytes=10, total_files=3, total_bytes=30, cleared="mark")


def begun(kind: Any, **known: Any) -> Status:
    return transitions.begin(Step(kind, mover="h1"), Status(progress=CLEARED, **known), at=1.0)


def ended(kind: Any, outcome: StepOutcome, progress: Progress = CLEARED) -> Progress:
    return transitions.finish(Step(kind), Status(progress=progress), outcome, at=1.0).progress


@pytest.mark.parametrize("kind", ["stage_in", "stage_out"])
@pytest.mark.parametrize("before", ["none", "pending"])
def test_a_first_try_knows_nothing(kind: str, before: str) -> None:
    """Also when the other direction was copied before, or this one, and the data was wished anew since."""
    assert begun(kind, **{kind: before}).progress == Progress()


@pytest.mark.parametrize("kind", ["stage_in", "stage_out"])
@pytest.mark.parametrize("before", ["running", "failed"])
def test_a_further_try_knows_what_was_cleared(kind: str, before: str) -> None:
    """``running``: a daemon died, or another one takes over."""
    assert begun(kind, **{kind: before}).progress == CLEARED


def test_a_mount_on_nodes_ends_what_a_copy_may_go_on_with() -> None:
    assert begun("mount", stage_out="failed").progress == Progress()


@pytest.mark.parametrize("kind", ["create", "restore", "unmount", "unmount_mover"])
def test_other_steps_change_nothing_of_it(kind: str) -> None:
    assert begun(kind, stage_in="failed").progress == CLEARED


def test_a_failure_keeps_what_was_told_last() -> None:
    told = Progress(files=2, cleared="mark")
    assert ended("stage_out", StepOutcome(error=StepFailed(step="stage_out", token="1", why="x"), progress=told), Progress()) == told


def test_a_failure_before_anything_was_told_keeps_what_is_known() -> None:
    for error in (HostLost(host="h1", why="x"), Unavailable(why="x"), Cancelled(what="x")):
        assert ended("stage_out", StepOutcome(error=error)) == CLEARED


def test_a_copy_that_was_found_wrong_is_begun_anew() -> None:
    wrong = Progress(files=3, total_files=3)
    assert ended("stage_out", StepOutcome(error=StepFailed(step="stage_out", token="1", why="differs"), progress=wrong)).cleared == ""


# --- with a mover ---


@pytest.fixture
def orders(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[CopyOrder]:
    """What the mover was asked, first to last; a copy fails after it has told what it cleared, as long as ``failing`` says."""
    seen: list[CopyOrder] = []

    def copy(self: SimMover, order: CopyOrder) -> CopyReport:
        seen.append(order)
        order.context.progress(Progress(total_files=1, cleared=f"{order.direction} mark"))
        if len(seen) < 3:
            raise Denied(who="user 1", what="write", why="it is closed")
        return CopyReport(1, 1, 0.0)

    monkeypatch.setattr(SimMover, "copy", copy)
    return seen


def wish_copies(job: Job) -> None:
    """As if the job had been submitted with staging."""
    copies = (StageRequest(source="/a", destination="$DW_JOB_STRIPED/a"),)
    request = msgspec.structs.replace(job.claim.request, stage_in=copies, stage_out=copies, digest="e")
    job.tear_down()
    job.claim = replace(job.claim, request=request)
    job.set_up()


def data_in(job: Job) -> object:
    return job.call(lambda context: answered(submit_goal(context, "1", goals.DATA_IN, goals.staged_in)))


def test_a_copy_that_is_tried_again_is_told_what_the_last_try_cleared(job: Job, orders: list[CopyOrder]) -> None:
    wish_copies(job)
    for _ in range(3):
        data_in(job)
    assert [order.resumed for order in orders] == ["", "in mark", "in mark"]
    assert job.status.stage_in == "done"


def test_a_failure_is_not_in_need_of_that_write(job: Job, orders: list[CopyOrder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reactor, "progressed", lambda *_: None)  # the record never heard of it
    wish_copies(job)
    for _ in range(2):
        data_in(job)
    assert [order.resumed for order in orders] == ["", "in mark"]


def test_that_it_is_cleared_is_written_down_at_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    wish_copies(job)
    written: list[str] = []

    def copy(self: SimMover, order: CopyOrder) -> CopyReport:
        order.context.progress(Progress(total_files=1))
        order.context.progress(Progress(total_files=1, cleared="mark"))
        end = job.sim.now.mono + 1.0
        while not job.status.progress.cleared and job.sim.now.mono < end:
            job.sim.step()
        written.append(job.status.progress.cleared)
        return CopyReport(1, 1, 0.0)

    monkeypatch.setattr(SimMover, "copy", copy)
    data_in(job)
    assert written == ["mark"]


def test_what_another_direction_cleared_is_nothing_to_this_one(job: Job, orders: list[CopyOrder]) -> None:
    wish_copies(job)
    data_in(job)
    job.call(lambda context: answered(submit_goal(context, "1", goals.DATA_OUT, goals.staged_out)))
    assert [(order.direction, order.resumed) for order in orders] == [("in", ""), ("out", "")]
