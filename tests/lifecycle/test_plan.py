"""plan() is pure and total: every combination of facts and goal has an answer, and following it ends."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from dacc_core.errors import HostUnreachable, Unavailable
from dacc_core.lifecycle import transitions
from dacc_core.lifecycle.plan import STORE_ONLY, Step, Surroundings, owes_stage_out, plan
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.names import expand
from dacc_core.registry.records import Eviction, Failure, Goal, Request, Session, Status
from dacc_core.values import BrickRef, StageRequest, Volume
from dacc_core.verbs import goals

VOLUME = Volume(name="a0010000", pool="p", provider="fake", capacity=1, bricks=(BrickRef(host="s1", device="/b"),))
COPY = (StageRequest(source="/a", destination="$DW_JOB_STRIPED/a"),)

GOALS = [
    goals.SETUP,
    goals.DATA_IN,
    goals.pre_run("c[1-2]"),
    goals.POST_RUN,
    goals.DATA_OUT,
    goals.gone(hurry=False),
    goals.gone(hurry=True),
    msgspec.structs.replace(goals.gone(hurry=True), evict=(Eviction(token="9", hosts="c9"),)),
]
REQUESTS = [
    Request(owner=1, group=1, stage_in=stage_in, stage_out=stage_out, persistent=persistent)
    for stage_in, stage_out, persistent in product(((), COPY), ((), COPY), ((), ("buf",)))
]
STAGINGS = ("none", "pending", "running", "done", "failed")


def session(request: Request, goal: Goal, volume: Volume | None, kind: str = "job") -> Session:
    return Session(token="1", id=1, kind=kind, created_at=1.0, request=request, volume=volume, goal=goal, goal_revision=7)  # type: ignore[arg-type]


def every_session() -> list[Session]:
    return [
        session(request, goal, volume, kind)
        for request, goal, volume, kind in product(REQUESTS, GOALS, (VOLUME, None), ("job", "persistent", "kept"))
    ]


def every_status() -> list[Status]:
    filesystems = ("absent", "creating", "ready", "deleting", "quarantined")
    places = (("", ""), ("c[1-2]", "c[1-2]"), ("", "c[1-2]"), ("c1", "c[1-3]"))
    return [
        Status(
            filesystem=filesystem,  # type: ignore[arg-type]
            stage_in=stage_in,  # type: ignore[arg-type]
            stage_out=stage_out,  # type: ignore[arg-type]
            mounts=mounts,
            touched=touched,
            mover=mover,
            used=used,
            failed_revision=failed,
            tried_revision=failed,
            failure=Failure(kind="Unavailable", text="x") if failed else None,
            gave_up=gave_up,
        )
        for filesystem, stage_in, stage_out, (mounts, touched), mover, used, failed, gave_up in product(
            filesystems, STAGINGS, STAGINGS, places, ("", "s1"), (False, True), (0, 6, 7), ("", "it broke")
        )
    ]


STATUSES = every_status()


def choice(one: Session, status: Status, around: Surroundings | None = None) -> tuple[str, str] | None:
    """The kind and the targets of what is planned."""
    step = plan(one, status, around)
    return None if step is None else (step.kind, step.targets)


def test_every_combination_has_an_answer() -> None:
    for one in every_session()[::5]:
        for status in STATUSES[::7]:
            step = plan(one, status)
            assert step is None or isinstance(step, Step)


def test_nothing_is_to_do_exactly_when_the_goal_is_met_or_failed() -> None:
    for one in every_session()[::3]:
        for status in STATUSES[::11]:
            usable = status.filesystem not in ("deleting", "quarantined")
            done = goals.failed(one, status) or (goals.met(one, status) and usable)
            assert (plan(one, status) is None) == done, (one.goal, status)


def test_a_failed_goal_is_left_alone_until_there_is_a_new_one() -> None:
    one = session(REQUESTS[0], goals.SETUP, VOLUME)
    failed = transitions.fail(one, Status(), Unavailable(why="no"), "create")
    assert plan(one, failed) is None
    assert choice(msgspec.structs.replace(one, goal_revision=8), failed) == ("create", "")


def test_a_step_that_has_begun_is_still_what_is_planned() -> None:
    for one in every_session()[::3]:
        for status in STATUSES[::11]:
            step = plan(one, status)
            if step is None or step.kind in STORE_ONLY:
                continue
            begun = transitions.begin(step, status, at=1.0)
            assert choice(one, begun) == (step.kind, step.targets), (one.goal, status)


def succeed(step: Step, one: Session, status: Status) -> Status:
    begun = transitions.begin(step, status, at=1.0)
    hosts = dict.fromkeys(expand(step.targets))
    return transitions.finish(step, begun, StepOutcome(hosts=hosts), at=2.0)


def test_following_the_plan_ends_from_everywhere() -> None:
    for one in every_session()[::3]:
        for status in STATUSES[::13]:
            for _ in range(12):
                step = plan(one, status)
                if step is None or step.kind in STORE_ONLY:
                    break
                status = succeed(step, one, status)
            else:
                pytest.fail(f"no end from {status} for {one.goal}")


def test_a_filesystem_is_deleted_only_when_nothing_is_owed() -> None:
    for one in every_session():
        for status in STATUSES[::7]:
            step = plan(one, status)
            if step is not None and step.kind == "delete":
                assert not owes_stage_out(one, status)
                assert one.goal.filesystem == "absent"


def test_a_filesystem_is_never_deleted_while_a_node_may_have_it_mounted() -> None:
    for one in every_session():
        for status in STATUSES[::7]:
            step = plan(one, status)
            if step is not None and step.kind == "delete":
                assert not status.touched
                assert not status.mover


def test_data_moves_only_while_no_compute_node_has_the_mount() -> None:
    for one in every_session():
        for status in STATUSES[::7]:
            step = plan(one, status)
            if step is not None and step.kind in ("stage_in", "stage_out"):
                assert not status.touched


def test_a_teardown_is_legal_from_everywhere() -> None:
    for one in every_session():
        if one.goal.filesystem == "absent":
            for status in STATUSES[::17]:
                assert plan(one, status) is not None or goals.failed(one, status)


def test_other_hosts_move_the_mounts() -> None:
    one = session(REQUESTS[0], goals.pre_run("c[2-3]"), VOLUME)
    status = Status(filesystem="ready", mounts="c[1-2]", touched="c[1-2]")
    assert choice(one, status) == ("unmount", "c1")
    status = succeed(Step("unmount", targets="c1"), one, status)
    assert choice(one, status) == ("mount", "c3")


def test_a_failed_stage_out_keeps_the_session_at_teardown() -> None:
    request = Request(owner=1, group=1, stage_out=COPY)
    one = session(request, goals.gone(hurry=False), VOLUME)
    status = Status(filesystem="ready", used=True, stage_out="failed")
    assert choice(one, status) == ("stage_out", "")
    tried = msgspec.structs.replace(status, tried_revision=one.goal_revision)
    assert plan(one, tried) is not None
    assert plan(one, tried).kind == "keep"  # type: ignore[union-attr]


def test_a_teardown_that_gives_up_never_quarantines_data_that_is_owed() -> None:
    for one in every_session():
        for status in STATUSES[::7]:
            step = plan(one, status)
            if step is not None and step.kind == "quarantine":
                assert not owes_stage_out(one, status)


def test_in_a_hurry_nothing_is_owed() -> None:
    one = session(Request(owner=1, group=1, stage_out=COPY), goals.gone(hurry=True), VOLUME)
    assert choice(one, Status(filesystem="ready", used=True)) == ("delete", "")


def test_a_buffer_that_no_node_ever_had_owes_nothing() -> None:
    one = session(Request(owner=1, group=1, stage_out=COPY), goals.gone(hurry=False), VOLUME)
    assert choice(one, Status(filesystem="ready", used=False)) == ("delete", "")


def test_a_session_without_a_volume_needs_no_steps() -> None:
    one = session(Request(owner=1, group=1), goals.pre_run("c1"), None)
    assert plan(one, Status()) is None
    assert plan(msgspec.structs.replace(one, goal=goals.gone(hurry=False)), Status()) == Step("release")


def test_an_unreachable_node_becomes_dirty_and_holds_nothing_up() -> None:
    one = session(REQUESTS[0], goals.POST_RUN, VOLUME)
    status = Status(filesystem="ready", mounts="c[1-2]", touched="c[1-2]")
    outcome = StepOutcome(hosts={"c1": None, "c2": HostUnreachable(host="c2", why="down")})
    after = transitions.finish(Step("unmount", targets="c[1-2]"), status, outcome, at=1.0)
    assert (after.touched, after.mounts, after.dirty) == ("", "", "c2")
    assert plan(one, after) is None


def test_a_partial_mount_is_remembered_host_by_host() -> None:
    one = session(REQUESTS[0], goals.pre_run("c[1-2]"), VOLUME)
    begun = transitions.begin(Step("mount", targets="c[1-2]"), Status(filesystem="ready"), at=1.0)
    outcome = StepOutcome(hosts={"c1": None, "c2": Unavailable(why="no")}, error=Unavailable(why="no"))
    after = transitions.finish(Step("mount", targets="c[1-2]"), begun, outcome, at=2.0)
    assert (after.mounts, after.touched) == ("c1", "c[1-2]")
    assert choice(one, after) == ("mount", "c2")


def test_a_timeline_stays_bounded() -> None:
    status = Status()
    for number in range(3 * transitions.MAX_EVENTS):
        status = transitions.note(status, f"event {number}", float(number))
    assert len(status.events) == transitions.MAX_EVENTS
    assert status.events[-1].what == f"event {3 * transitions.MAX_EVENTS - 1}"


def test_an_event_does_not_name_more_hosts_than_a_person_reads() -> None:
    hosts = ",".join(f"node{number}" for number in range(0, 20_000, 2))
    begun = transitions.begin(Step("mount", targets=hosts), Status(filesystem="ready"), at=1.0)
    (event,) = transitions.finish(Step("mount", targets=hosts), begun, StepOutcome(), at=2.0).events
    assert event.host.startswith("node0,node2,")
    assert len(event.host) == transitions.EVENT_TEXT


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (Status(), "registered"),
        (Status(filesystem="ready"), "bricks_provisioned"),
        (Status(filesystem="ready", stage_in="done"), "data_in_complete"),
        (Status(filesystem="ready", stage_in="done", mounts="c1", touched="c1", used=True), "mount_complete"),
        (Status(filesystem="ready", stage_in="done", used=True), "unmount_complete"),
        (Status(filesystem="ready", stage_out="done", used=True), "data_out_complete"),
    ],
)
def test_states_have_the_names_that_data_acc_gave_them(status: Status, name: str) -> None:
    assert transitions.state_name(session(REQUESTS[0], goals.SETUP, VOLUME), status) == name


def test_a_session_that_is_gone_has_its_bricks_deleted() -> None:
    assert transitions.state_name(None, Status()) == "bricks_deleted"
