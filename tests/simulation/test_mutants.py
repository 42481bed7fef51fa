"""Can the simulation fail? Each of these breaks one function of the product, and must be caught.

A mutant is a row of the table: what is wrong, where the function is, and what to make of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import msgspec
import pytest

from dacc_core.errors import DaccError
from dacc_core.keystore.base import TxnResult
from dacc_core.lifecycle import effects as fx
from dacc_core.names import fold
from dacc_core.simulation.cluster import Simulation
from dacc_core.simulation.workload import Workload

Maker = Callable[[Callable[..., Any]], Callable[..., Any]]
EXECUTOR = "dacc_core.daemon.executor"
LIFECYCLE = "dacc_core.lifecycle"
EVENTS = 4000


@dataclass(frozen=True)
class Mutant:
    """``where``: the module, and the function or ``Class.method``. ``seeds``: in how many runs it must be caught."""

    wrong: str
    module: str
    where: str
    make: Maker
    seeds: int = 8
    faults: float = 0.05
    long: bool = False


def _does_nothing(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_, **__: None


def _always(value: Any) -> Maker:
    return lambda _: lambda *_, **__: value


def _loses(kind: type[Any]) -> Maker:
    """The work is done, and nobody hears of it."""

    def make(ask: Callable[..., Any]) -> Callable[..., Any]:
        def mutant(self: Any, lane: Any, effect: Any, work: Any) -> None:
            if isinstance(effect, kind):
                self._runtime.submit(lane, effect, lambda: work() and None)
            else:
                ask(self, lane, effect, work)

        return mutant

    return make


def _takes_no_answer_for_done(value: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(question: Any) -> Any:
        result = value(question)
        # only a transaction's question has this in its code
        return TxnResult(True, 0) if isinstance(result, DaccError) and "_transact" in question.__code__.co_names else result

    return mutant


def _is_sure(take: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(self: Any, event: Any) -> None:
        take(self, replace(event, outcome=replace(event.outcome, unsure=False)) if isinstance(event, fx.StepEnded) else event)

    return mutant


def _never_advances(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: 1.0


def _forgets_the_last_change(advance: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(self: Any) -> Any:
        post, self._post = (
            self._post,
            lambda event: post(
                fx.Watched(replace(event.batch, changes=event.batch.changes[:-1]))
                if isinstance(event, fx.Watched)
                else event
            ),
        )
        try:
            return advance(self)
        finally:
            self._post = post

    return mutant


def _succeeds(kind: str) -> Maker:
    """A step of this kind counts as done whatever its outcome was."""

    def make(finish: Callable[..., Any]) -> Callable[..., Any]:
        def mutant(*args: Any, **kwargs: Any) -> Any:
            if args[0].kind == kind:
                args = tuple(replace(arg, error=None, mover_left=False) if hasattr(arg, "mover_left") else arg for arg in args)
            return finish(*args, **kwargs)

        return mutant

    return make


def _records_no_hosts(begin: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(*args: Any, **kwargs: Any) -> Any:
        status = begin(*args, **kwargs)
        return msgspec.structs.replace(status, running=msgspec.structs.replace(status.running, hosts=""))

    return mutant


def _records_no_touch(begin: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(*args: Any, **kwargs: Any) -> Any:
        status = begin(*args, **kwargs)
        return msgspec.structs.replace(status, touched="") if args[0].kind == "mount" else status

    return mutant


def _quarantines_nothing(release: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, quarantine="", **kwargs: release(*args, **kwargs)


def _releases_all_but_one(release: Callable[..., Any]) -> Callable[..., Any]:
    return lambda view, draft, bricks, **kwargs: release(view, draft, bricks[1:], **kwargs)


MUTANTS = (
    # the executor
    Mutant("the answer to a fence is lost", EXECUTOR, "Executor._ask", _loses(fx.FenceHosts)),
    Mutant("the answer to a step is lost", EXECUTOR, "Executor._ask", _loses(fx.RunStep)),
    Mutant("the answer to a transaction is lost", EXECUTOR, "Executor._ask", _loses(fx.Transact)),
    Mutant("the answer to a renewal is lost", EXECUTOR, "Executor._ask", _loses(fx.Renew)),
    Mutant("a fence is reported and was not done", EXECUTOR, "Executor._fence", _always({}), seeds=60, faults=0.1),
    Mutant("a step of which commands may live on counts as over", EXECUTOR, "Executor.take", _is_sure, seeds=60, faults=0.1),
    Mutant("a transaction without an answer counts as done", EXECUTOR, "_value", _takes_no_answer_for_done),
    Mutant("the store is never read", EXECUTOR, "Follower.advance", _never_advances),
    Mutant("a change of the store is lost", EXECUTOR, "Follower.advance", _forgets_the_last_change),
    # transitions
    Mutant(
        "mounts that could not be undone are forgotten",
        f"{LIFECYCLE}.transitions",
        "_unmounted",
        _always({"touched": "", "mounts": "", "dirty": ""}),
    ),
    Mutant(
        "nodes on which the mount failed count as mounted",
        f"{LIFECYCLE}.transitions",
        "_succeeded",
        lambda _: lambda outcome: fold(outcome.hosts),
    ),
    Mutant("the boots of hosts that serve again are not recorded", f"{LIFECYCLE}.transitions", "_boots", _always({}), long=True),
    Mutant("a delete that failed counts as done", f"{LIFECYCLE}.transitions", "finish", _succeeds("delete")),
    Mutant("a stage-out that failed counts as done", f"{LIFECYCLE}.transitions", "finish", _succeeds("stage_out")),
    Mutant("a stage-in that failed counts as done", f"{LIFECYCLE}.transitions", "finish", _succeeds("stage_in")),
    Mutant("the hosts of a step are not recorded, and not fenced", f"{LIFECYCLE}.transitions", "begin", _records_no_hosts, seeds=20),
    Mutant("a mount is begun on nodes that are not recorded", f"{LIFECYCLE}.transitions", "begin", _records_no_touch),
    # plan
    Mutant("a delete forgets what is owed", f"{LIFECYCLE}.plan", "owes_stage_out", _always(False)),
    Mutant("no copy is ever planned", f"{LIFECYCLE}.plan", "_staging", _always(None)),
    # the end of sessions
    Mutant("bricks are not given back", "dacc_core.registry.allocation", "release", _does_nothing),
    Mutant("one brick is not given back", "dacc_core.registry.allocation", "release", _releases_all_but_one),
    Mutant("bricks that hold what is left are offered as free", "dacc_core.registry.allocation", "release", _quarantines_nothing, seeds=20),
    Mutant("attachments outlive their job", f"{LIFECYCLE}.finalize", "_detach", _does_nothing),
    Mutant("what is to be kept is not", f"{LIFECYCLE}.finalize", "_keep", _does_nothing),
)


def apply(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the product."""
    place: Any = import_module(mutant.module)
    *classes, name = mutant.where.split(".")
    for part in classes:
        place = getattr(place, part)
    monkeypatch.setattr(place, name, mutant.make(getattr(place, name)))


def caught(seeds: int, faults: float) -> str:
    """What the simulation says of the product as it is now, or nothing."""
    for seed in range(seeds):
        try:
            sim = Simulation(seed, hosts=2 + seed % 2, faults=faults)
            load = Workload(sim)
            while sim.events < EVENTS:
                sim.step()
            load.finish()
        except Exception as error:  # a rule, or what the core trips over
            return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize(
    "mutant", [pytest.param(one, marks=[pytest.mark.long] * one.long, id=one.wrong.replace(" ", "-")) for one in MUTANTS]
)
def test_the_simulation_catches(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "dacc")
    apply(mutant, monkeypatch)
    assert caught(mutant.seeds, mutant.faults)


@pytest.mark.parametrize(("seeds", "faults"), [(20, 0.05), (20, 0.1)])
def test_the_product_is_not_caught(seeds: int, faults: float) -> None:
    """Or nothing would be said by the mutants that are."""
    assert caught(seeds, faults) == ""


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.wrong for mutant in MUTANTS}) == len(MUTANTS) >= 20
