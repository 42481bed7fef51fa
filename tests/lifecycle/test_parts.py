"""Sessions over more hosts than one transaction may change: what coordinators do while they are claimed, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from dacc_core.registry.records import Request, Session
from dacc_core.registry.view import View
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.simulation.invariants import broken_rules
from dacc_core.simulation.operators import OPERATOR
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.forgetting import forget
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import VerbContext, tear_down

Answers = list[Answer | Exception | None]


@pytest.fixture
def sim() -> Iterator[Simulation]:
    sim = Simulation(1, hosts=5, bricks=2, faults=0.0, most_changes=2)
    sim.run(1.0)
    yield sim
    assert sim.violations == []


def claim_of(bricks: int, token: str = "42") -> Claim:
    size = bricks * 100
    return Claim(token=token, kind="job", request=Request(owner=1, group=1, pool="default", capacity=size), size=size)


def call(sim: Simulation, token: str, verb: object, node: int = 0) -> Answers:
    answers: Answers = []
    sim.nodes[node].call(verb, token, answers.append)  # type: ignore[arg-type]
    return answers


def begin(sim: Simulation, claim: Claim, node: int = 0) -> Answers:
    return call(sim, claim.token, partial(_set_up, claim), node)


def end(sim: Simulation, token: str = "42", *, node: int = 0, hurry: bool = True) -> Answers:
    return call(sim, token, lambda context: answered(tear_down(context, token, hurry=hurry)), node)


def _set_up(claim: Claim, context: VerbContext) -> Verb[Answer]:
    return answered(set_up(context, claim))


def until_claiming(sim: Simulation, token: str = "42") -> Session:
    while not ((session := records(sim).session(token)) and session.claiming):
        sim.step()
    return session


def records(sim: Simulation) -> View:
    sim.rules.revision()
    return sim.rules.records()


def well(answers: Answers) -> bool:
    return [type(answer).__name__ for answer in answers] == ["Answer"]


def is_empty(sim: Simulation) -> bool:
    view = records(sim)
    return not view.sessions and not view.statuses and not any(entry.record.taken for entry in view.allocations.values())


def test_it_lives_its_life(sim: Simulation) -> None:
    answers = begin(sim, claim_of(10))
    sim.run(30.0)
    assert well(answers)
    assert len(records(sim).sessions["42"].record.bricks) == 10
    answers = end(sim)
    sim.run(30.0)
    assert well(answers)
    assert is_empty(sim)
    assert records(sim).quantity("default") == (10, 10)


def test_nothing_is_built_before_the_last_part(sim: Simulation) -> None:
    begin(sim, claim_of(10))
    until_claiming(sim)
    sim.nodes[0].crash()
    sim.run(60.0)
    assert records(sim).session("42").claiming  # type: ignore[union-attr]
    assert "42" not in records(sim).statuses


def test_a_setup_through_another_daemon_goes_on_after_a_crash(sim: Simulation) -> None:
    begin(sim, claim_of(8))
    until_claiming(sim)
    sim.nodes[0].crash()
    answers = begin(sim, claim_of(8), node=1)
    sim.run(60.0)
    assert well(answers)


def test_a_teardown_after_a_crash_rolls_it_back(sim: Simulation) -> None:
    begin(sim, claim_of(10))
    until_claiming(sim)
    sim.nodes[0].crash()
    answers = end(sim, node=1)
    sim.run(60.0)
    assert well(answers)
    assert is_empty(sim)


def test_a_claim_whose_bricks_were_taken_meanwhile_gives_back_what_it_had_and_waits(sim: Simulation) -> None:
    answers = begin(sim, claim_of(10))
    until_claiming(sim)
    other = begin(sim, claim_of(3, token="7"), node=1)
    sim.run(60.0)
    assert sorted(well(one) for one in (answers, other)) == [False, True]
    later, sooner = ("42", "7") if well(other) else ("7", "42")
    session = records(sim).sessions[later].record
    assert (session.claiming, session.volume) == (True, None)
    assert list(broken_rules(records(sim))) == []
    end(sim, sooner)
    sim.run(60.0)
    assert well(answers)
    assert well(other)


@pytest.mark.parametrize("seed", range(5))
def test_large_sessions_do_not_wait_for_each_others_parts(seed: int) -> None:
    """Each needs more than half of all, and all begin at once through different daemons."""
    sim = Simulation(seed, hosts=6, bricks=2, faults=0.0, most_changes=1)
    sim.run(1.0)
    under_way = {str(number): begin(sim, claim_of(7 + number, token=str(number)), node=number) for number in range(4)}
    while under_way:
        done = [token for token, answers in under_way.items() if answers]
        sim.step()
        for token in done:
            assert well(under_way.pop(token))
            end(sim, token, node=5)
    sim.run(60.0)
    assert is_empty(sim)


def test_a_setup_that_fails_for_good_in_between_leaves_nothing(sim: Simulation) -> None:
    sim.nodes[4].crash()
    sim.run(20.0)
    answers = begin(sim, claim_of(10))
    sim.run(10.0)
    assert records(sim).sessions["42"].record.claiming
    forgetting = call(sim, "s5", lambda context: answered(forget(context, "s5", OPERATOR, set())))
    sim.run(10.0)
    assert well(forgetting)
    assert [type(answer).__name__ for answer in answers] == ["PoolTooSmall"]
    assert is_empty(sim)


def test_what_cannot_be_deleted_is_quarantined_in_parts_with_one_reason(sim: Simulation) -> None:
    begin(sim, claim_of(10))
    sim.run(30.0)
    sim.world.down.add("s5")
    answers = end(sim)
    sim.run(400.0)
    sim.world.down.clear()
    assert well(answers)
    reasons = {why for entry in records(sim).allocations.values() for why in entry.record.quarantined.values()}
    assert len(reasons) == 1
    assert sum(len(entry.record.quarantined) for entry in records(sim).allocations.values()) == 10


def test_a_coordinator_that_dies_between_the_parts_of_an_ending_is_followed_by_another(sim: Simulation) -> None:
    begin(sim, claim_of(10))
    sim.run(30.0)
    before = len(records(sim).sessions["42"].record.bricks)
    end(sim, node=1)
    while len(records(sim).sessions["42"].record.bricks) == before:
        sim.step()
    coordinator = records(sim).status("42").coordinator
    next(node for node in sim.nodes if node.host == coordinator).crash()
    sim.run(60.0)
    assert is_empty(sim)


# --- buffers with many users ---


@pytest.fixture
def shared(sim: Simulation) -> Simulation:
    """A buffer that five jobs use."""
    size = Request(owner=1, group=1, pool="default", capacity=100)
    begin(sim, Claim(token="data", kind="persistent", request=size, size=100), node=4)
    sim.run(10.0)
    for number in range(5):
        using = Request(owner=1, group=1, persistent=("data",))
        begin(sim, Claim(token=str(number), kind="job", request=using, size=0), node=4)
    sim.run(30.0)
    assert len(records(sim).users_of("data")) == 5
    return sim


def test_a_destroy_in_a_hurry_detaches_them_in_parts(shared: Simulation) -> None:
    answers = end(shared, "data")
    shared.run(30.0)
    assert well(answers)
    assert records(shared).users_of("data") == ()


def test_a_forgotten_host_takes_its_buffers_attachments_with_it(shared: Simulation) -> None:
    host = records(shared).sessions["data"].record.brick_hosts[0]
    down = next(node for node in shared.nodes if node.host == host)
    down.crash()
    shared.run(20.0)
    other = next(number for number, node in enumerate(shared.nodes) if node is not down)
    answers = call(shared, "data", lambda context: answered(forget(context, host, OPERATOR, {"data"})), other)
    shared.run(60.0)
    assert well(answers)
    assert records(shared).session("data") is None
    assert records(shared).users_of("data") == ()
