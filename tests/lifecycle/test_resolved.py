"""plan() depends on nothing but what it is given, names everything that a step needs, and runs once for each change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dacc_core.lifecycle import plan as module
from dacc_core.lifecycle import reconciler, transitions
from dacc_core.lifecycle.plan import STORE_ONLY, Step, Surroundings, plan
from dacc_core.lifecycle.rules import Rules
from dacc_core.names import expand, fold
from dacc_core.registry.records import Buffer, Goal, Request, Running, Session, Status
from dacc_core.simulation.cluster import answered
from dacc_core.verbs import goals
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import VerbContext, submit_goal

from .quiet import Job
from .test_plan import COPY, STATUSES, VOLUME, every_session

BUFFER = Session(token="buf", id=2, kind="persistent", created_at=1.0, request=Request(owner=1, group=1), volume=VOLUME)
RULES = Rules(deadlines={"stage": 600.0, "create": 60.0}, teardown_budget=100.0)
SESSIONS = st.sampled_from(every_session())
SURROUNDINGS = st.builds(
    Surroundings,
    rebooted=st.sampled_from(["", "s1"]),
    detached=st.booleans(),
    mover=st.just("m1"),
    boots=st.sampled_from([{}, {"s1": "boot"}]),
    buffers=st.sampled_from([(), ((BUFFER, Status(filesystem="ready", provider_state={"x": 1})),)]),
    in_use=st.sampled_from([(), ("buf",)]),
    spent=st.sampled_from([0.0, 50.0, 1000.0]),
    rules=st.just(RULES),
)


@given(SESSIONS, st.sampled_from(STATUSES), SURROUNDINGS)
def test_the_same_records_and_surroundings_have_the_same_plan(session: Session, status: Status, around: Surroundings) -> None:
    before = msgspec.json.encode((session, status, around))
    step = plan(session, status, around)
    copies = msgspec.json.decode(msgspec.json.encode((session, status)), type=tuple[Session, Status])
    assert plan(*copies, around) == step
    assert msgspec.json.encode((session, status, around)) == before


@given(SESSIONS, st.sampled_from(STATUSES), SURROUNDINGS)
def test_a_step_is_resolved(session: Session, status: Status, around: Surroundings) -> None:
    assume(session.volume is not None or not around.rebooted)
    step = plan(session, status, around)
    if step is None or step.kind in STORE_ONLY:
        return
    assert step.hosts, "every host on which it acts, to be fenced"
    assert 1.0 <= step.seconds <= (600.0 if step.kind.startswith("stage") else 120.0)
    match step.kind:
        case "create" | "restore" | "delete":
            assert step.hosts == fold(session.brick_hosts)
            assert step.boots == ({} if step.kind == "delete" else around.boots)
        case "mount" | "unmount":
            assert step.hosts == step.targets
        case "stage_in" | "stage_out" | "unmount_mover":
            assert step.hosts == step.mover == (status.mover or "m1")
        case "evict":
            assert expand(step.hosts) == ("c9",)
    if step.kind in ("mount", "stage_in", "stage_out"):
        assert step.buffers == around.buffers
    if session.goal.filesystem == "absent":
        assert step.seconds <= max(1.0, RULES.teardown_budget - around.spent)


def user_of_a_buffer(goal: Goal, **more: Any) -> Session:
    request = Request(owner=1, group=1, persistent=("buf",), stage_out=COPY)
    return Session(token="1", id=1, kind="job", created_at=1.0, request=request, goal=goal, **more)


USED = Buffer(token="buf", volume=VOLUME, provider_state={"x": 1})
AROUND = Surroundings(mover="m1", buffers=((BUFFER, Status(filesystem="ready", provider_state={"x": 2})),))


@pytest.mark.parametrize("kind", ["stage_out", "unmount_mover"])
def test_a_copy_that_has_begun_is_ended_where_it_has(kind: str) -> None:
    running = Running(step=kind) if kind == "stage_out" else None
    step = plan(user_of_a_buffer(goals.DATA_OUT), Status(mover="s1", used=True, running=running), AROUND)
    assert step is not None
    assert (step.kind, step.mover, step.hosts) == (kind, "s1", "s1")


def test_a_buffer_is_unmounted_that_the_job_has_mounted() -> None:
    step = plan(user_of_a_buffer(goals.POST_RUN), Status(touched="c1", buffers=(USED,)), AROUND)
    assert step is not None
    assert (step.kind, step.buffers) == ("unmount", AROUND.buffers)


@pytest.mark.parametrize("buffers", [(), ((msgspec.structs.replace(BUFFER, volume=None), Status()),)], ids=["gone", "another one"])
def test_a_buffer_that_is_gone_is_unmounted_as_it_was(buffers: Any) -> None:
    step = plan(user_of_a_buffer(goals.POST_RUN), Status(touched="c1", buffers=(USED,)), Surroundings(buffers=buffers))
    assert step is not None
    assert [(buffer.token, buffer.volume, status.provider_state) for buffer, status in step.buffers] == [("buf", VOLUME, {"x": 1})]


def test_a_buffer_that_is_mounted_is_recorded() -> None:
    step = plan(user_of_a_buffer(goals.pre_run("c1")), Status(), AROUND)
    assert step is not None
    assert step.kind == "mount"
    assert transitions.begin(step, Status(), at=1.0).buffers == (Buffer(token="buf", volume=VOLUME, provider_state={"x": 2}),)


# --- how often it runs ---


@pytest.fixture
def planned(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[Step | None]:
    """What was planned from now on, in all daemons."""
    results: list[Step | None] = []

    def counted(*args: Any) -> Step | None:
        results.append(module.plan(*args))
        return results[-1]

    monkeypatch.setattr(reconciler, "plan", counted)
    return results


def kinds(planned: list[Step | None]) -> list[str | None]:
    return [step and step.kind for step in planned]


def _unmount(context: VerbContext) -> Verb[Answer]:
    return answered(submit_goal(context, "1", goals.POST_RUN, goals.unmounted))


Call = Callable[[Job], object]
CALLS: list[tuple[str, Call, list[str | None]]] = [
    ("setup", lambda job: job.set_up(), ["create", None]),
    ("pre_run", lambda job: job.mount(), ["mount", None]),
    ("post_run", lambda job: job.call(_unmount), ["unmount", None]),
    ("teardown", lambda job: job.tear_down(), ["delete", "release"]),
]


def test_it_runs_once_for_each_change(job: Job, planned: list[Step | None]) -> None:
    """Seven times for one setup, it was: also for what the watch brought of the coordinator's own writes."""
    job.tear_down()
    planned.clear()
    for name, call, expected in CALLS:
        assert type(call(job)).__name__ == "Answer", name
        job.sim.run(5.0)
        assert kinds(planned) == expected, name
        planned.clear()


def test_a_session_that_is_at_rest_is_not_planned_again(job: Job, planned: list[Step | None]) -> None:
    job.sim.run(120.0)
    assert planned == []


def test_a_host_that_was_booted_is_a_change(job: Job, planned: list[Step | None]) -> None:
    job.sim.boot(job.session.brick_hosts[-1])
    job.sim.run(60.0)
    assert kinds(planned)[-2:] == ["restore", None]
