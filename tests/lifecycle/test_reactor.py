"""What the parts of the engine share: answers, timers, and transactions that count when the view has reached them."""

from __future__ import annotations

import pytest

from dacc_core.errors import KeystoreUnavailable, TooLarge
from dacc_core.keystore.base import Batch, TxnResult
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.reactor import Reactor
from dacc_core.lifecycle.rules import Rules
from dacc_core.registry.transaction import Commit
from dacc_core.simulation.cluster import Simulation
from dacc_core.simulation.workload import Workload

COMMIT = Commit((), ())
SILENT = KeystoreUnavailable(where="store", why="no answer")


class Clock(Reactor):
    """A reactor whose time a test sets."""

    def __init__(self, **more: object) -> None:
        super().__init__(Rules(), **more)  # type: ignore[arg-type]
        self.results: list[TxnResult] = []

    def pass_time(self, seconds: float) -> None:
        self.now = fx.Now(self.now.mono + seconds, 0.0)
        self.run_timers()

    def commit(self) -> int:
        return self.transact(COMMIT, self.results.append)

    def see(self, revision: int) -> None:
        self.apply(Batch((), revision))


@pytest.fixture
def reactor() -> Clock:
    return Clock()


def test_an_answer_goes_to_who_asked_and_only_once(reactor: Clock) -> None:
    answers: list[object] = []
    ref = reactor.ask(lambda ref: fx.Grant(ref, 1.0), answers.append)
    assert reactor.drain() == [fx.Grant(ref, 1.0)]
    reactor.answer(fx.Granted(ref, 7))
    reactor.answer(fx.Granted(ref, 8))
    assert answers == [fx.Granted(ref, 7)]


def test_an_answer_that_was_forgotten_is_ignored(reactor: Clock) -> None:
    ref = reactor.ask(lambda ref: fx.Grant(ref, 1.0), lambda _: pytest.fail("nobody waits"))
    reactor.forget(ref)
    reactor.answer(fx.Granted(ref, 7))


def test_a_transaction_counts_when_the_view_has_reached_it(reactor: Clock) -> None:
    reactor.answer(fx.Transacted(reactor.commit(), TxnResult(ok=True, revision=5)))
    reactor.see(4)
    assert reactor.results == []
    reactor.see(5)
    assert reactor.results == [TxnResult(ok=True, revision=5)]


def test_a_transaction_that_was_forgotten_while_the_view_was_behind_is_ignored(reactor: Clock) -> None:
    ref = reactor.commit()
    reactor.answer(fx.Transacted(ref, TxnResult(ok=True, revision=5)))
    reactor.forget(ref)
    reactor.see(5)
    assert reactor.results == []


def test_a_transaction_without_an_answer_is_not_done_once_there_are_news(reactor: Clock) -> None:
    reactor.answer(fx.Transacted(reactor.commit(), SILENT))
    reactor.see(3)
    assert reactor.results == [], "these news may be older than the transaction"
    reactor.pass_time(1.0)
    reactor.see(4)
    assert reactor.results == [TxnResult(ok=False, revision=4)]


def test_a_transaction_without_an_answer_may_be_forgotten(reactor: Clock) -> None:
    ref = reactor.commit()
    reactor.answer(fx.Transacted(ref, SILENT))
    reactor.forget(ref)
    reactor.pass_time(1.0)
    reactor.see(4)
    assert reactor.results == []


def test_a_transaction_that_the_store_will_never_take_is_refused(reactor: Clock) -> None:
    refusals: list[TooLarge] = []
    ref = reactor.transact(COMMIT, reactor.results.append, refusals.append)
    error = TooLarge(what="a transaction", size=2, limit=1, hint="ask for less")
    reactor.answer(fx.Transacted(ref, error))
    assert (refusals, reactor.results) == ([error], [])


def test_timers_run_in_order_and_not_when_cancelled(reactor: Clock) -> None:
    rung: list[str] = []
    reactor.at(2.0, lambda: rung.append("second"))
    reactor.at(1.0, lambda: rung.append("first"))
    reactor.at(0.5, lambda: rung.append("cancelled")).cancel()
    assert reactor.next_wake == 1.0
    reactor.pass_time(3.0)
    assert rung == ["first", "second"]
    assert reactor.next_wake == float("inf")


def test_a_defect_in_one_timer_leaves_the_others_alone() -> None:
    bugs: list[Exception] = []
    reactor, rung = Clock(on_bug=bugs.append), list[str]()
    reactor.at(1.0, lambda: [][1])
    reactor.at(1.0, lambda: rung.append("second"))
    reactor.pass_time(1.0)
    assert (rung, [type(bug) for bug in bugs]) == (["second"], [IndexError])


def test_whatever_a_session_waits_for_wakes_its_daemon_in_time() -> None:
    """A state with a deadline and no timer would hang."""
    sim = Simulation(11, faults=0.1)
    Workload(sim)
    states: set[str] = set()
    for _ in range(6000):
        sim.step()
        for node in sim.nodes:
            for reconciler in node.engine.reconcilers if node.engine else ():
                states.add(type(reconciler.state).__name__)
                assert (node.engine.next_wake if node.engine else 0.0) <= reconciler.deadline
    assert states == {"Idle", "Backoff", "Committing", "RunningStep", "Fencing"}
