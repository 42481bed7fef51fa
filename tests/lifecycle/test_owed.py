"""Rule 5: what a job was promised to get back is owed wherever it lies, until it was copied or somebody gave it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dacc_core.errors import BufferInUse, BufferOwed, Busy, NoSpace, NoSuchBuffer
from dacc_core.lifecycle import transitions
from dacc_core.lifecycle.plan import Step, Surroundings, look_around, plan
from dacc_core.movers.base import CopyOrder, CopyReport
from dacc_core.registry.records import Goal, Request, Session, Status
from dacc_core.registry.view import View
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.simulation.world import SimMover
from dacc_core.values import StageRequest, Volume
from dacc_core.verbs import goals, operators
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.forgetting import losses
from dacc_core.verbs.frontend import PeerCredentials
from dacc_core.verbs.sessions import submit_goal, tear_down

OUT = (StageRequest(source="$DW_PERSISTENT_STRIPED_P/r", destination="/home/u/r", kind="directory"),)
ROOT = PeerCredentials(uid=0, trusted=True)


class Site:
    """A quiet cluster with the persistent buffer P, and job 7 that uses it, has no buffer of its own, and stages out of it."""

    def __init__(self) -> None:
        self.sim = Simulation(1, faults=0.0)
        self.sim.run(1.0)
        self.buffer("P")

    def call(self, verb: Callable[..., Any]) -> object:
        answers: list[object] = []
        self.sim.nodes[0].call(verb, "", answers.append)
        end = self.sim.now.mono + 300.0
        while not answers and self.sim.now.mono < end:
            self.sim.step()
        self.sim.run(1.0)
        return answers[0]

    def well(self, verb: Callable[..., Any]) -> None:
        answer = self.call(verb)
        assert type(answer).__name__ == "Answer", answer

    def buffer(self, name: str) -> None:
        claim = Claim(name, "persistent", Request(owner=1, group=1, pool="default", capacity=100, striped=True), 100)
        self.well(lambda context: answered(set_up(context, claim)))

    def run_job(self, token: str = "7", *, capacity: int = 0, persistent: tuple[str, ...] = ("P",)) -> None:
        """The job ran on a node, and is over."""
        pool = "default" if capacity else ""
        request = Request(owner=1, group=1, pool=pool, capacity=capacity, striped=bool(capacity), persistent=persistent, stage_out=OUT)
        self.well(lambda context: answered(set_up(context, Claim(token, "job", request, capacity))))
        self.mount(token)
        self.well(lambda context: answered(submit_goal(context, token, goals.POST_RUN, goals.unmounted)))

    def mount(self, token: str = "7") -> None:
        self.well(lambda context: answered(submit_goal(context, token, goals.pre_run("c1"), goals.mounted_on("c1"))))

    def tear_down(self, token: str, *, hurry: bool = False) -> object:
        return self.call(lambda context: answered(tear_down(context, token, hurry=hurry)))

    def stage_out(self, name: str) -> object:
        return self.call(lambda context: answered(operators.stage_out(context, name, ROOT)))

    def discard(self, name: str) -> object:
        return self.call(lambda context: answered(operators.discard(context, name, ROOT)))

    @property
    def records(self) -> View:
        self.sim.rules.revision()
        return self.sim.rules.records()

    @property
    def kept(self) -> list[str]:
        return sorted(token for token, entry in self.records.sessions.items() if entry.record.kind == "kept")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """While it is not empty, the destination of every stage-out is full."""
    reasons, copy = ["the disk is full"], SimMover.copy

    def fail(self: SimMover, order: CopyOrder) -> CopyReport:
        if reasons and order.direction == "out":
            raise NoSpace(why=reasons[0])
        return copy(self, order)

    monkeypatch.setattr(SimMover, "copy", fail)
    return reasons


def test_a_stage_out_that_fails_from_a_persistent_buffer_is_kept_with_its_hold_on_the_buffer(site: Site, full: list[str]) -> None:
    site.run_job()
    assert type(site.tear_down("7")).__name__ == "Answer"
    (kept,) = site.kept
    assert site.records.users_of("P") == (kept,)
    assert site.records.histories["7"].record.outcome == "kept"


def test_a_buffer_from_which_a_stage_out_is_owed_is_not_destroyed(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    error = site.tear_down("P")
    assert isinstance(error, BufferOwed)
    assert "dacc stage-out 7" in str(error)
    assert site.records.session("P") is not None


def test_a_buffer_that_jobs_use_is_in_use_whatever_is_owed_from_it_too(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    site.run_job("8")
    error = site.tear_down("P")
    assert isinstance(error, BufferInUse)
    assert not isinstance(error, BufferOwed)
    assert "used by job 8:" in str(error)


def test_dacc_stage_out_finishes_what_is_owed_and_lets_the_buffer_go(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    full.clear()
    assert type(site.stage_out("7")).__name__ == "Answer"
    assert site.kept == []
    assert site.records.users_of("P") == ()
    assert type(site.tear_down("P")).__name__ == "Answer"


def test_dacc_stage_out_that_fails_again_leaves_it_owed(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    error = site.stage_out("7")
    assert isinstance(error, NoSpace)
    assert len(site.kept) == 1
    assert isinstance(site.tear_down("P"), BufferOwed)


def test_dacc_discard_gives_up_what_is_owed_and_leaves_the_buffer(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    assert type(site.discard("7")).__name__ == "Answer"
    assert site.kept == []
    assert site.records.users_of("P") == ()
    assert site.records.session("P") is not None


def test_destroying_the_buffer_in_a_hurry_gives_up_what_is_owed_from_it(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    (kept,) = site.kept
    assert type(site.tear_down("P", hurry=True)).__name__ == "Answer"
    assert site.kept == []
    history = site.records.histories[kept].record
    assert (history.outcome, history.status) == ("lost", "its data is lost: persistent buffer P was destroyed")


def test_a_job_whose_buffer_was_destroyed_in_a_hurry_is_not_kept_for_nothing(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("P", hurry=True)
    assert type(site.tear_down("7")).__name__ == "Answer"
    assert site.kept == []
    assert site.records.histories["7"].record.outcome == "lost"


def test_what_is_owed_from_one_buffer_is_kept_when_another_was_destroyed_in_a_hurry(site: Site, full: list[str]) -> None:
    site.buffer("Q")
    site.run_job(persistent=("P", "Q"))
    site.tear_down("7")
    site.tear_down("Q", hurry=True)
    (kept,) = site.kept
    assert site.records.users_of("P") == (kept,)


def test_a_job_with_a_buffer_of_its_own_keeps_its_hold_on_the_persistent_one_as_well(site: Site, full: list[str]) -> None:
    site.run_job(capacity=100)
    site.tear_down("7")
    (kept,) = site.kept
    assert site.records.users_of("P") == (kept,)
    assert isinstance(site.tear_down("P"), BufferOwed)


def test_a_job_that_is_requeued_may_owe_twice(site: Site, full: list[str]) -> None:
    for _ in range(2):
        site.run_job()
        site.tear_down("7")
    assert len(site.kept) == 2


def test_a_teardown_in_a_hurry_owes_nothing(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7", hurry=True)
    assert site.kept == []


def test_a_job_that_never_ran_owes_nothing_of_a_persistent_buffer(site: Site, full: list[str]) -> None:
    request = Request(owner=1, group=1, persistent=("P",), stage_out=OUT)
    site.well(lambda context: answered(set_up(context, Claim("7", "job", request, 0))))
    site.tear_down("7")
    assert site.kept == []


def test_a_teardown_without_a_data_out_before_it_copies_first(site: Site) -> None:
    site.run_job()
    key = site.records.sessions["7"].record.key
    site.tear_down("7")
    assert key in site.sim.world.copied_out
    assert site.kept == []


# --- dacc stage-out and jobs that run ---


def test_a_session_that_is_mounted_on_nodes_is_not_staged_out(site: Site) -> None:
    site.run_job(capacity=100)
    site.mount()
    error = site.stage_out("7")
    assert isinstance(error, Busy)
    assert "mounted on c1" in str(error)
    assert site.records.status("7").mounts == "c1"


def test_a_session_that_is_about_to_be_mounted_is_not_staged_out() -> None:
    session = Session(token="7", id=7, kind="job", created_at=0.0, request=Request(owner=1, group=1), goal=goals.pre_run("c[1-3]"))
    with pytest.raises(Busy, match=r"mounted on c\[1-3\]"):
        goals.check_unmounted(session, Status())


def test_a_kept_session_is_staged_out_although_a_node_did_not_let_it_go() -> None:
    session = Session(token="kept-a", id=7, kind="kept", created_at=0.0, request=Request(owner=1, group=1))
    goals.check_unmounted(session, Status(touched="c1"))


def test_what_was_staged_out_before_a_job_ran_is_owed_anew_when_it_has_run(site: Site) -> None:
    """Whoever called dacc stage-out while his job was still pending lost what the job wrote: its stage-out counted as done."""
    volume = Volume(name="a0010000", pool="default", provider="fake", capacity=1, bricks=())
    request = Request(owner=1, group=1, capacity=1, stage_out=OUT)
    session = Session(token="7", id=7, kind="job", created_at=0.0, request=request, volume=volume, goal=goals.pre_run("c1"))
    before = Status(filesystem="ready", stage_out="done")
    mounting = transitions.begin(Step("mount", targets="c1"), before, at=1.0)
    assert mounting.stage_out == "pending"
    assert goals.owes_stage_out(session, mounting)


# --- the plan ---


def owing(**more: Any) -> Session:
    request = Request(owner=1, group=1, persistent=("P",), stage_out=OUT)
    return Session(token="7", id=7, kind="job", created_at=0.0, request=request, goal_revision=5, **more)


GONE = Goal(verb="teardown", filesystem="absent")


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (Status(used=True, stage_out="pending"), "stage_out"),
        (Status(used=True, stage_out="failed", tried_revision=5), "keep"),
        (Status(used=True, stage_out="pending", gave_up="unmount: busy"), "keep"),
        (Status(used=True, stage_out="done"), "release"),
        (Status(used=False, stage_out="pending"), "release"),
    ],
)
def test_a_session_without_a_filesystem_of_its_own_pays_what_it_owes_before_it_ends(status: Status, step: str) -> None:
    planned = plan(owing(goal=GONE), status)
    assert planned is not None
    assert planned.kind == step


@pytest.mark.parametrize("status", [Status(used=True, stage_out="pending"), Status(used=True, stage_out="failed", tried_revision=5)])
def test_a_session_whose_buffers_were_destroyed_ends_and_says_what_is_lost(status: Status) -> None:
    reason = "its data is lost: persistent buffer P was destroyed"
    assert plan(owing(goal=GONE), status, Surroundings(detached=True)) == Step("release", reason=reason)


def test_the_key_of_a_session_without_a_volume_stays_when_it_is_kept() -> None:
    """Fences and the mounts of movers are named by it."""
    job = owing()
    kept = Session(token="kept-7-0", id=7, kind="kept", created_at=0.0, request=job.request, origin="7")
    assert kept.key == job.key


# --- what is owed, and what else goes on ---


def test_finishing_what_is_owed_leaves_the_mounts_of_the_jobs_next_run_alone(site: Site, full: list[str]) -> None:
    """They are at the same paths: a job's id stays when it is requeued."""
    session = owing()
    kept = Session(token="kept-7-0", id=7, kind="kept", created_at=0.0, request=session.request, origin="7")
    site.run_job()
    site.mount()
    view = site.records
    kept = msgspec.structs.replace(kept, goal=goals.DATA_OUT)
    around = replace(look_around(view, kept, Status()), detached=False)
    unmount, copy = plan(kept, Status(touched="c1"), around), plan(kept, Status(), around)
    assert unmount is not None
    assert (unmount.kind, unmount.buffers) == ("unmount", ())
    assert copy is not None
    assert (copy.kind, [buffer.token for buffer, _ in copy.buffers]) == ("stage_out", ["P"])


def test_what_is_owed_from_the_jobs_own_buffer_is_delivered_although_a_persistent_one_was_destroyed(site: Site, full: list[str]) -> None:
    out = (StageRequest(source="$DW_JOB_STRIPED/r", destination="/home/u/r"),)
    request = Request(owner=1, group=1, pool="default", capacity=100, striped=True, persistent=("P",), stage_out=out)
    site.well(lambda context: answered(set_up(context, Claim("7", "job", request, 100))))
    site.mount()
    site.well(lambda context: answered(submit_goal(context, "7", goals.POST_RUN, goals.unmounted)))
    site.tear_down("P", hurry=True)
    site.tear_down("7")
    assert len(site.kept) == 1
    full.clear()
    assert type(site.stage_out("7")).__name__ == "Answer"
    assert site.kept == []


def test_what_is_owed_from_one_persistent_buffer_is_delivered_before_the_loss_of_another_is_told(site: Site) -> None:
    site.buffer("Q")
    both = (*OUT, StageRequest(source="${DW_PERSISTENT_STRIPED_Q}/r", destination="/home/u/q"))
    request = Request(owner=1, group=1, persistent=("P", "Q"), stage_out=both)
    site.well(lambda context: answered(set_up(context, Claim("7", "job", request, 0))))
    site.mount()
    site.well(lambda context: answered(submit_goal(context, "7", goals.POST_RUN, goals.unmounted)))
    site.tear_down("Q", hurry=True)
    copied: list[tuple[StageRequest, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        copy = SimMover.copy
        patch.setattr(SimMover, "copy", lambda self, order: copied.append(order.requests) or copy(self, order))
        error = site.call(lambda context: answered(submit_goal(context, "7", goals.DATA_OUT, goals.staged_out)))
    assert isinstance(error, NoSuchBuffer)
    assert copied == [OUT]


def test_forgetting_a_host_says_that_a_buffer_there_has_what_is_owed(site: Site, full: list[str]) -> None:
    site.run_job()
    site.tear_down("7")
    (brick,) = site.records.sessions["P"].record.bricks
    view = site.records
    view._tables["alive"].pop(brick.host)
    (loss,) = losses(view, brick.host, ROOT)["sessions"]
    assert (loss["token"], loss["stage_out"]) == ("P", "owed")
