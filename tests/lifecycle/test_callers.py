"""Verbs whose deadline passes: they may undo what they began, and nothing that they asked for before reaches them any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core.errors import DaccError, NoSpace, StillWorking
from dacc_core.registry.records import Pool
from dacc_core.registry.transaction import TransactionBuilder
from dacc_core.registry.view import View
from dacc_core.simulation.cluster import Simulation
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operations import AcquireClaimSlot, Operation, Sleep, Verb, Wait

POOL = Pool(name="p", granularity=1, provider="sim")


@pytest.fixture
def sim() -> Simulation:
    sim = Simulation(1, faults=0.0)
    sim.run(1.0)
    return sim


def call(sim: Simulation, verb: Callable[[View], Verb[Answer]], seconds: float = 20.0) -> list[object]:
    core, answers = sim.nodes[0].engine, list[object]()
    assert core is not None
    sim.nodes[0].send(verb(core.view), seconds, "7", answers.append)
    return answers


def written(sim: Simulation, name: str) -> bool:
    sim.rules.revision()
    return name in sim.rules.records().pools


def undoing(first: Callable[[View], Operation], *, pause: float = 0.0) -> Callable[[View], Verb[Answer]]:
    """A verb that waits for what never comes, and then writes something before it fails for a reason of its own."""

    def verb(view: View) -> Verb[Answer]:
        try:
            yield first(view)
        except StillWorking:
            if pause:
                yield Sleep(pause)
            result = yield TransactionBuilder(view).put(POOL, "pools", "undone").commit()
            raise NoSpace(why=f"undone: {result.ok}") from None
        return Answer()

    return verb


@pytest.mark.parametrize(
    "first",
    [lambda _: Sleep(100.0), lambda _: Wait("7", lambda: None, "waiting"), lambda _: Sleep(20.001)],
    ids=["pauses", "waits", "pauses until a moment later"],
)
def test_a_late_verb_may_undo_what_it_began_and_answers_with_its_own_error(sim: Simulation, first: Callable[[View], Operation]) -> None:
    answers = call(sim, undoing(first))
    sim.run(30.0)
    assert [str(answer) for answer in answers] == ["undone: True"]
    assert written(sim, "undone")


def test_a_late_verb_that_pauses_is_not_resumed_by_what_it_asked_for_before(sim: Simulation) -> None:
    answers = call(sim, undoing(lambda _: Sleep(21.0), pause=3.0))
    sim.run(22.0)
    assert not written(sim, "undone")
    sim.run(3.0)
    assert [str(answer) for answer in answers] == ["undone: True"]


def test_a_transaction_that_ends_after_the_deadline_is_not_taken_for_a_later_one(sim: Simulation) -> None:
    results: list[bool] = []

    def verb(view: View) -> Verb[Answer]:
        try:
            while True:
                yield TransactionBuilder(view).put(POOL, "pools", "p").commit()
        except StillWorking:
            result = yield TransactionBuilder(view).expect("pools", "nosuch").put(POOL, "pools", "undone").commit()
            results.append(result.ok)
            yield Sleep(0.1)
            return Answer(stdout="undone")

    answers = call(sim, verb)
    sim.run(30.0)
    assert results == [True]
    assert [type(answer).__name__ for answer in answers] == ["Answer"]


def test_a_late_verb_that_waited_for_its_turn_does_not_get_it_any_more(sim: Simulation) -> None:
    def has_it(view: View) -> Verb[Answer]:
        yield AcquireClaimSlot()
        yield TransactionBuilder(view).put(POOL, "pools", "p").commit()  # which is not answered while the daemon is cut off
        return Answer()

    def waits(_: View) -> Verb[Answer]:
        try:
            yield AcquireClaimSlot()
        except StillWorking:
            yield Sleep(2.0)
            return Answer(stdout="late")
        return Answer(stdout="had its turn")

    sim.nodes[0].cut_until = sim.now.mono + 21.0
    call(sim, has_it)
    late = call(sim, waits)
    sim.run(23.0)
    assert [answer.stdout for answer in late if isinstance(answer, Answer)] == ["late"]
    following = call(sim, waits)
    sim.run(1.0)
    assert [answer.stdout for answer in following if isinstance(answer, Answer)] == ["had its turn"]


def test_a_verb_that_never_ends_is_cut_off(sim: Simulation) -> None:
    def verb(_: View) -> Verb[Answer]:
        while True:
            try:
                yield Sleep(1.0)
            except DaccError:
                continue

    answers = call(sim, verb)
    sim.run(24.0)
    assert answers == []
    sim.run(2.0)
    assert [type(answer).__name__ for answer in answers] == ["StillWorking"]
