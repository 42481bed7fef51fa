"""What becomes of sessions whose host is forgotten, and of that host when it comes back."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from dacc_core.errors import NotFound
from dacc_core.keystore.base import Snapshot
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle import membership
from dacc_core.lifecycle.engine import Engine
from dacc_core.lifecycle.plan import Step, plan
from dacc_core.registry import keys
from dacc_core.registry.records import Allocations, BrickHost, Cluster, Goal, Request, Running, Session, Status
from dacc_core.registry.view import View
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.simulation.operators import OPERATOR
from dacc_core.simulation.world import SimRunner
from dacc_core.values import Brick, BrickRef, Record, StageRequest, Volume
from dacc_core.verbs import goals
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.forgetting import forget
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operators import release, stage_out
from dacc_core.verbs.sessions import submit_goal, tear_down
from tests.simulation.test_simulation import run_until_caught
from tests.support.stores import put, view_of

from .test_plan import choice

COPY = (StageRequest(source="$DW_JOB_STRIPED/a", destination="/a"),)
VOLUME = Volume(
    name="a0010000", pool="p", provider="fake", capacity=2, bricks=(BrickRef(host="s1", device="/b0"), BrickRef(host="s2", device="/b0"))
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "dacc")


# --- what is planned ---


def lost(*hosts: str, **more: Any) -> Session:
    goal = Goal(verb="forget", filesystem="absent", hurry=True)
    fields = {"request": Request(owner=1, group=1, stage_out=COPY), "volume": VOLUME, "goal": goal, "kind": "job", **more}
    return Session(token="1", id=1, created_at=1.0, lost=hosts, **fields)


def test_what_is_lost_is_not_owed() -> None:
    status = Status(filesystem="ready", used=True, stage_out="pending")
    for kind in ("job", "kept"):
        assert choice(lost("s1", kind=kind, goal=goals.gone(hurry=False)), status) == ("delete", "")


def test_nodes_are_unmounted_first_and_a_forgotten_one_is_left_alone() -> None:
    assert choice(lost("s1"), Status(filesystem="ready", touched="c1,s1")) == ("unmount", "c1")
    assert choice(lost("s1"), Status(filesystem="ready", touched="s1")) == ("delete", "")


def test_a_mover_that_was_forgotten_is_left_alone() -> None:
    assert choice(lost("s1"), Status(filesystem="ready", mover="s1")) == ("delete", "")
    assert choice(lost("s1"), Status(filesystem="ready", mover="s2")) == ("unmount_mover", "")


def test_nothing_is_deleted_when_every_host_was_forgotten() -> None:
    assert plan(lost("s1", "s2"), Status(filesystem="ready")) == Step("release", reason="its data is lost: brick host s[1-2] was forgotten")


def test_what_cannot_be_cleaned_elsewhere_goes_into_quarantine_with_both_reasons() -> None:
    step = plan(lost("s1"), Status(filesystem="ready", gave_up="delete: no answer"))
    assert step == Step("quarantine", reason="its data is lost: brick host s1 was forgotten; delete: no answer")


# --- a cluster that loses a host ---


class Cluster3:
    """Three hosts of three bricks each, and a job with a brick on every host."""

    def __init__(self, **request: Any) -> None:
        self.sim = Simulation(1, faults=0.0)
        self.sim.run(1.0)
        self.request = Request(owner=1, group=1, pool="default", capacity=300, striped=True, digest="d", **request)

    def call(self, verb: Any, node: int = 1, seconds: float = 200.0) -> Any:
        answers: list[Any] = []
        self.sim.nodes[node].call(lambda context: answered(verb(context)), "1", answers.append)
        end = self.sim.now.mono + seconds
        while not answers and self.sim.now.mono < end:
            self.sim.step()
        return answers[0] if answers else None

    def begin(self, kind: Any = "job", token: str = "1") -> None:
        claim = Claim(token=token, kind=kind, request=self.request, size=300)
        assert isinstance(self.call(lambda context: set_up(context, claim)), Answer)

    def wish(self, goal: Goal, enough: Any) -> Any:
        return self.call(lambda context: submit_goal(context, "1", goal, enough))

    def lose(self, *tokens: str, node: int = 0) -> None:
        """A host dies, and is forgotten when its lease has ended."""
        self.sim.nodes[node].crash()
        self.sim.run(12.0)
        host = self.sim.nodes[node].host
        answer = self.call(lambda context: forget(context, host, OPERATOR, tokens))
        assert isinstance(answer, Answer), answer

    @property
    def view(self) -> View:
        return view_of(self.sim.store)

    def free(self) -> int:
        return self.view.quantity("default")[1]


def test_a_job_that_lost_a_host_ends_and_frees_its_other_bricks() -> None:
    job = Cluster3(stage_out=COPY)
    job.begin()
    job.wish(goals.pre_run("c1"), goals.mounted_on("c1"))
    job.lose("1")
    job.sim.run(30.0)
    history = job.view.histories["1"].record
    assert job.view.sessions == {}
    assert (history.outcome, history.status) == ("lost", "its data is lost: brick host s1 was forgotten")
    assert job.view.quantity("default") == (6, 6)
    assert not job.sim.world.mounts
    (volume,) = job.sim.world.volumes.values()
    assert volume.bricks == ("s1:/b0",)  # nobody touched the host


def test_a_kept_session_that_lost_a_host_ends_as_lost() -> None:
    job = Cluster3(stage_out=COPY)
    job.begin()
    job.wish(goals.pre_run("c1"), goals.mounted_on("c1"))
    job.sim.environment.mover.copy = _refuse  # type: ignore[method-assign]
    job.call(lambda context: tear_down(context, "1", hurry=False))
    (token,) = job.view.sessions
    assert token.startswith("kept-")
    job.lose(token)
    job.sim.run(30.0)
    assert job.view.sessions == {}
    assert job.view.histories[token].record.outcome == "lost"
    assert job.view.histories["1"].record.kept == token


def _refuse(order: Any) -> Any:
    raise NotFound(why="the destination is away")


def test_a_buffer_that_lost_a_host_is_taken_off_its_users_nodes() -> None:
    job = Cluster3()
    job.begin(kind="persistent", token="work")
    user = Claim(token="1", kind="job", request=Request(owner=1, group=1, persistent=("work",)), size=0)
    assert isinstance(job.call(lambda context: set_up(context, user)), Answer)
    job.wish(goals.pre_run("c1"), goals.mounted_on("c1"))
    assert job.sim.world.mounts
    job.lose("work")
    job.sim.run(30.0)
    assert set(job.view.sessions) == {"1"}
    assert not job.sim.world.mounts


def test_a_call_that_waits_for_a_lost_session_is_told() -> None:
    job = Cluster3(stage_out=COPY)
    job.begin()
    job.sim.nodes[0].crash()
    job.sim.run(12.0)
    answers: list[Any] = []
    job.sim.world.down.add("c1")
    verb = submit_goal
    job.sim.nodes[1].call(lambda context: answered(verb(context, "1", goals.pre_run("c1"), goals.mounted_on("c1"))), "1", answers.append)
    job.sim.run(0.2)
    job.call(lambda context: forget(context, "s1", OPERATOR, ("1",)))
    job.sim.run(5.0)
    assert str(answers[0]) == "pre_run of session 1 was superseded by forget"


def test_a_create_that_waits_for_the_dead_host_is_cancelled() -> None:
    job = Cluster3()
    job.sim.world.down.add("s1")
    claim = Claim(token="1", kind="job", request=job.request, size=300)
    job.sim.nodes[1].call(lambda context: answered(set_up(context, claim)), "1", lambda _: None)
    job.sim.run(0.5)
    assert job.view.status("1").running is not None or job.view.status("1").events
    job.lose("1")
    job.sim.run(60.0)
    assert job.view.sessions == {}
    assert job.free() == 6


# --- the host comes back ---


def test_a_forgotten_host_that_comes_back_offers_no_brick_until_it_is_released() -> None:
    job = Cluster3()
    job.begin()
    job.lose("1")
    job.sim.run(30.0)
    job.sim.nodes[0].start()
    job.sim.run(5.0)
    held = job.view.allocations["s1"].record
    assert "s1" in job.view.alive
    assert set(held.quarantined) == {"/b0", "/b1", "/b2"}
    assert all(reason.startswith("forgotten on ") for reason in held.quarantined.values())
    assert held.quarantined["/b0"].endswith(": has data of session 1")
    assert (held.forgotten, job.free()) == (0.0, 6)
    job.sim.world.clean("s1:/b0")
    job.call(lambda context: release(context, "s1", "/b0", OPERATOR))
    assert job.free() == 7


def test_a_device_that_it_did_not_have_before_is_in_quarantine_too() -> None:
    """The same disk under a new name holds the same old data."""
    job = Cluster3()
    job.lose()
    job.sim.nodes[0].bricks = (Brick(device="/dev/other", capacity=100, pool="default"),)
    job.sim.nodes[0].start()
    job.sim.run(5.0)
    assert "/dev/other" in job.view.allocations["s1"].record.quarantined


def test_a_forgotten_host_that_was_released_meanwhile_comes_back_with_free_bricks() -> None:
    job = Cluster3()
    job.lose()
    job.call(lambda context: release(context, "s1", "", OPERATOR))
    job.sim.nodes[0].start()
    job.sim.run(5.0)
    assert job.free() == 9


def test_a_host_that_comes_back_names_its_volumes_anew() -> None:
    job = Cluster3()
    before = job.view.hosts["s1"].record.number
    job.lose()
    job.sim.nodes[0].start()
    job.sim.run(5.0)
    assert job.view.hosts["s1"].record.number > before


def test_a_daemon_that_was_only_cut_off_comes_back_with_its_bricks_in_quarantine() -> None:
    job = Cluster3()
    job.sim.nodes[0].cut_until = job.sim.now.mono + 20.0
    job.sim.run(15.0)
    job.call(lambda context: forget(context, "s1", OPERATOR, ()))
    job.sim.run(20.0)
    assert "s1" in job.view.alive
    assert len(job.view.allocations["s1"].record.quarantined) == 3


def test_a_registration_that_meets_a_forgetting_fails() -> None:
    """Without a compare of its record, a host whose facts are the same as ever would register as if nothing had happened."""
    records: list[tuple[str, str, Record]] = [
        ("cluster", "", Cluster(id="c")),
        ("hosts", "s1", BrickHost(name="s1", number=1)),
        ("allocations", "s1", Allocations()),
    ]
    core = Engine("s1", "new")
    core.start(fx.Now(1.0, 1.0))
    store = view_store(records)
    (grant,) = core.handle(fx.Loaded(store), fx.Now(1.0, 1.0))
    assert isinstance(grant, fx.Grant)
    (write,) = core.handle(fx.Granted(grant.ref, 7), fx.Now(1.0, 1.0))
    assert isinstance(write, fx.Transact)
    assert keys.key("hosts", "s1") in {compare.key for compare in write.compares}


def view_store(records: list[tuple[str, str, Record]]) -> Snapshot:
    store = MemoryKeystore()
    for kind, name, record in records:
        put(store, record, kind, *([name] if name else []))
    return store.range(keys.PREFIX)


def test_a_step_that_was_interrupted_is_not_fenced_on_the_forgotten_host(monkeypatch: pytest.MonkeyPatch) -> None:
    fenced: list[tuple[str, ...]] = []
    fence = SimRunner.fence

    def watched(self: SimRunner, hosts: Any, key: str, generation: int) -> Any:
        fenced.append(tuple(hosts))
        return fence(self, hosts, key, generation)

    job = Cluster3()
    job.begin()
    status = job.view.status("1")
    (dead,) = (number for number, node in enumerate(job.sim.nodes) if node.host == status.coordinator)
    job.sim.nodes[dead].crash()
    interrupted = Running(step="delete", hosts="s[1-3]", started=1.0)
    put(job.sim.store, msgspec.structs.replace(status, running=interrupted), "status", "1")
    job.sim.run(12.0)
    job.call(lambda context: forget(context, status.coordinator, OPERATOR, ("1",)), node=(dead + 1) % 3)
    monkeypatch.setattr(SimRunner, "fence", watched)
    job.sim.run(60.0)
    assert job.view.sessions == {}
    assert all(status.coordinator not in hosts for hosts in fenced)


def test_stage_out_of_a_lost_session_is_refused() -> None:
    job = Cluster3(stage_out=COPY)
    job.begin()
    job.wish(goals.pre_run("c1"), goals.mounted_on("c1"))
    job.sim.world.down.add("c1")
    job.lose("1")
    answer = job.call(lambda context: stage_out(context, "1", OPERATOR), seconds=1.0)
    assert "session 1 is being torn down" in str(answer) or "no session is called 1" in str(answer)


# --- can the simulation fail? ---


def test_the_simulation_notices_a_forgotten_host_whose_bricks_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "returned", lambda held, _: msgspec.structs.replace(held, quarantined={}, forgotten=0.0))
    assert run_until_caught(range(40))
