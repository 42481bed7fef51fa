"""Sessions of the same hosts that end at once: their last transactions meet, and none does its last step twice for that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dacc_core.registry.records import Request
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import VerbContext, tear_down

TOKENS = [str(number) for number in range(1, 10)]
REQUEST = Request(owner=1000, group=1000, pool="default", capacity=100, striped=True)


def make(token: str, context: VerbContext) -> Verb[Answer]:
    return answered(set_up(context, Claim(token=token, kind="job", request=REQUEST, size=100)))


def end(token: str, context: VerbContext) -> Verb[Answer]:
    return answered(tear_down(context, token, hurry=False))


def all_at_once(sim: Simulation, verb: Callable[[str, VerbContext], Verb[Answer]]) -> int:
    """The revisions that it took for every token."""
    before, answers = sim.rules.revision(), list[Answer | Exception | None]()
    for token in TOKENS:
        sim.nodes[0].call(partial(verb, token), token, answers.append)
    while len(answers) < len(TOKENS):
        sim.step()
    assert all(isinstance(answer, Answer) for answer in answers)
    return sim.rules.revision() - before


def test_each_is_deleted_once() -> None:
    sim = Simulation(seed=3, faults=0.0)
    sim.run(3.0)
    all_at_once(sim, make)
    # The wish, the beginning of the deletion, and the end of the session. A fence and a second deletion would be two more.
    assert all_at_once(sim, end) == 3 * len(TOKENS)
