"""The core outlives its own defects."""

from __future__ import annotations

from functools import partial

import pytest

from dacc_core.errors import TooLarge
from dacc_core.keystore.base import TxnResult
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle import reconciler
from dacc_core.lifecycle.engine import Engine
from dacc_core.registry.records import Request
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import VerbContext

NOW = fx.Now(1.0, 1.0)


def test_a_defect_in_one_sessions_steps_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """data-acc's daemons died of one user's script, and again after each restart."""
    sim = Simulation(1, faults=0.0)
    sim.run(1.0)
    seen: list[Exception] = []
    for node in sim.nodes:
        assert node.engine is not None
        monkeypatch.setattr(node.engine.reactor, "on_bug", seen.append)
    act = reconciler.SessionReconciler._act

    def broken(self: reconciler.SessionReconciler, *args: object) -> None:
        if self.token == "13":
            raise RuntimeError("a defect")
        act(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(reconciler.SessionReconciler, "_act", broken)
    answers: dict[str, object] = {}
    for token in ("13", "14"):
        request = Request(owner=1, group=1, pool="default", capacity=100)
        claim = Claim(token=token, kind="job", request=request, size=100)
        sim.nodes[0].call(partial(_set_up, claim), token, partial(answers.__setitem__, token))
    sim.run(30.0)
    assert type(answers["14"]).__name__ == "Answer"
    assert seen


def test_a_verb_that_raises_answers_its_caller() -> None:
    def verb():  # type: ignore[no-untyped-def]
        raise RuntimeError("a defect")
        yield

    sim = Simulation(1, faults=0.0)
    sim.run(1.0)
    answers: list[object] = []
    sim.nodes[0].call(lambda _: verb(), "1", answers.append)
    sim.run(1.0)
    assert isinstance(answers[0], RuntimeError)


def test_a_call_that_writes_more_than_the_store_takes_is_told_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Simulation(1, faults=0.0)
    sim.run(1.0)
    refusal = TooLarge(what="a transaction", size=2, limit=1, hint="ask for less")

    def refuse(*_: object) -> TxnResult:
        raise refusal

    monkeypatch.setattr(sim, "write", refuse)
    answers: list[object] = []
    claim = Claim(token="1", kind="job", request=Request(owner=1, group=1, pool="default"), size=100)
    sim.nodes[0].call(partial(_set_up, claim), "1", answers.append)
    sim.run(1.0)
    assert answers == [refusal]


def test_it_reads_the_store_first() -> None:
    assert Engine("s1", "i").start(NOW) == [fx.Load()]


def test_a_call_before_the_store_was_read_waits_for_that() -> None:
    sim = Simulation(1, faults=0.0)
    answers: list[object] = []
    sim.nodes[0].call(lambda context: answered(_nothing()), "1", answers.append)
    assert not answers
    sim.run(1.0)
    assert len(answers) == 1


def _set_up(claim: Claim, context: VerbContext) -> Verb[Answer]:
    return answered(set_up(context, claim))


def _nothing():  # type: ignore[no-untyped-def]
    return
    yield


def test_a_setup_waits_for_bricks_of_a_host_that_is_restarting() -> None:
    """Slurm holds a job whose setup fails: a daemon that is restarted must not hold any."""
    sim = Simulation(1, hosts=1, faults=0.0)
    sim.run(1.0)
    (node,) = sim.nodes
    sim.store.revoke(1)
    sim.run(0.001)
    answers: list[object] = []
    claim = Claim(token="1", kind="job", request=Request(owner=1, group=1, pool="default"), size=100)
    node.call(partial(_set_up, claim), "1", answers.append)
    sim.run(20.0)
    assert type(answers[0]).__name__ == "Answer"


def test_a_setup_says_at_its_deadline_that_the_host_stays_away() -> None:
    sim = Simulation(1, hosts=2, faults=0.0)
    sim.run(1.0)
    sim.nodes[1].crash()
    sim.run(15.0)
    answers: list[object] = []
    claim = Claim(token="1", kind="job", request=Request(owner=1, group=1, pool="default"), size=600)
    sim.nodes[0].call(partial(_set_up, claim), "1", answers.append)
    sim.run(270.0)
    assert not answers
    sim.run(20.0)
    assert type(answers[0]).__name__ == "StillWaiting"
    assert "3 on hosts that are down: ask an operator" in str(answers[0])
