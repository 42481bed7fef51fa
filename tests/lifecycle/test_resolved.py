"""plan() depends on nothing but what it is given, names everything that a step needs, and runs once for each change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dacc_core.lifecycle import plan as module
from dacc_core.lifecycle import reconciler
from dacc_core.lifecycle.plan import STORE_ONLY, Step, Surroundings, plan
from dacc_core.lifecycle.rules import Rules
from dacc_core.names import expand, fold
from dacc_core.registry.records import Request, Session, Status
from dacc_core.simulation.cluster import answered
from dacc_core.verbs import goals
from dacc_core.verbs.sessions import submit_goal

from .quiet import Job
from .test_plan import STATUSES, VOLUME, every_session

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


Call = Callable[[Job], object]
CALLS: list[tuple[str, Call, list[str | None]]] = [
    ("setup", lambda job: job.set_up(), ["create", None]),
    ("pre_run", lambda job: job.mount(), ["mount", None]),
    ("post_run", lambda job: job.call(lambda scene: answered(submit_goal(scene, "1", goals.POST_RUN, goals.unmounted))), ["unmount", None]),
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
