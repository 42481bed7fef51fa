"""Claims that wait, run without a daemon: on the store itself, with a view that a watch keeps up to date."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from dacc_core.errors import DaccError, PoolTooSmall, StillWaiting, StillWorking, Superseded
from dacc_core.keystore.base import DeleteKey, Keystore, TxnResult
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.registry import allocation, keys
from dacc_core.registry.backup import dump, parse, restore
from dacc_core.registry.records import Allocations, Goal, Request, Session, Status
from dacc_core.registry.transaction import Commit
from dacc_core.simulation.invariants import broken_rules
from dacc_core.values import BrickRef, Volume
from dacc_core.verbs import goals, waiting
from dacc_core.verbs.claims import Claim, set_up, withdraw
from dacc_core.verbs.operations import AcquireClaimSlot, Sleep, Verb
from dacc_core.verbs.sessions import submit_goal
from dacc_core.verbs.standalone import StandaloneRunner
from tests.support.registries import Registry, write
from tests.support.stores import CONFIG, GIB, add_session, put, store_of, view_of


def claim_of(bricks: int, token: str = "42") -> Claim:
    size = bricks * GIB
    return Claim(token=token, kind="job", request=Request(owner=1000, group=1000, pool="p", capacity=size), size=size)


def full() -> MemoryKeystore:
    """Two hosts with two bricks each, three of them taken."""
    store = store_of("s1", "s2")
    add_session(store, "7", "s1:/b0", "s1:/b1", "s2:/b0")
    return store


def driven(store: Keystore, claim: Claim, seconds: float) -> Any:
    program = StandaloneRunner(store, CONFIG, seconds)
    return program.run(set_up(program.context.verb_context, claim), claim.token)


@contextmanager
def meanwhile(store: Keystore, claim: Claim, seconds: float = 30.0) -> Iterator[list[object]]:
    """A setup without a daemon, in a thread, which waits already; what becomes of it."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(driven(store, claim, seconds))
        except DaccError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    watch = store.watch(keys.PREFIX, 0)
    while view_of(store).session(claim.token) is None:
        watch.next(1.0)
    yield found
    thread.join()


def end(store: Keystore, token: str) -> None:
    """As its coordinator does."""
    view = view_of(store)
    for host in view.sessions[token].record.brick_hosts:
        put(store, Allocations(serial=7), "allocations", host)
    delete(store, "sessions", token)


def delete(store: Keystore, *names: str) -> None:
    assert store.txn((), [DeleteKey(keys.key(*names))]).ok


def test_bricks_that_become_free_are_claimed() -> None:
    store = full()
    with meanwhile(store, claim_of(2), seconds=5.0) as found:
        end(store, "7")
    assert type(found[0]) is StillWorking  # it has its bricks, and no daemon builds anything
    assert len(view_of(store).sessions["42"].record.bricks) == 2


def test_a_teardown_ends_it() -> None:
    store = full()
    with meanwhile(store, claim_of(2)) as found:
        session = view_of(store).sessions["42"].record
        put(store, msgspec.structs.replace(session, goal=Goal(verb="teardown", filesystem="absent"), goal_revision=2), "sessions", "42")
    assert [str(error) for error in found] == ["setup of session 42 was superseded by teardown"]


def test_one_that_is_gone_is_not_made_anew() -> None:
    store = full()
    with meanwhile(store, claim_of(2)) as found:
        delete(store, "sessions", "42")
        end(store, "7")
    assert [type(error) for error in found] == [Superseded]
    assert view_of(store).session("42") is None


def test_another_session_of_the_same_token_is_not_taken_for_it() -> None:
    store = full()
    with meanwhile(store, claim_of(2)) as found:
        session = view_of(store).sessions["42"].record
        put(store, msgspec.structs.replace(session, created_at=session.created_at + 1), "sessions", "42")
    assert [type(error) for error in found] == [Superseded]
    assert view_of(store).sessions["42"].record.claiming


def test_at_its_deadline_it_says_why_and_stays_listed() -> None:
    store = full()
    with pytest.raises(StillWaiting, match="session 42 still waits for bricks: pool p has 1 free of 4 bricks and 2 are needed"):
        driven(store, claim_of(2), 0.5)
    session = view_of(store).sessions["42"].record
    assert (session.claiming, session.volume, session.wanted) == (True, None, 2 * GIB)


def test_what_never_fits_does_not_wait() -> None:
    store = full()
    with pytest.raises(PoolTooSmall):
        driven(store, claim_of(5), 30.0)
    assert view_of(store).session("42") is None


def test_a_pause_takes_in_what_happens() -> None:
    store = full()
    program = StandaloneRunner(store, CONFIG, 5.0)

    def verb() -> Verb[Any]:
        end(store, "7")
        yield Sleep(0.05)
        return program.view.session("7")

    assert program.run(verb()) is None


def test_a_pause_ends_with_the_deadline() -> None:
    program = StandaloneRunner(full(), CONFIG, 0.1)

    def verb() -> Verb[Any]:
        yield Sleep(1000.0)

    with pytest.raises(StillWorking):
        program.run(verb())


def test_a_late_verb_may_undo_what_it_began() -> None:
    store = full()
    program = StandaloneRunner(store, CONFIG, 0.4)

    def verb() -> Verb[Any]:
        try:
            yield from set_up(program.context.verb_context, claim_of(2))
        except StillWaiting:
            yield from withdraw(program.context.verb_context, "42", view_of(store).sessions["42"].record.created_at)

    program.run(verb())
    assert view_of(store).session("42") is None


# --- what it costs ---


def steps(verb: Verb[Any], store: Keystore, view: Any, number: int) -> list[object]:
    """So many operations of a verb; transactions are done."""
    done: list[object] = []
    reply: TxnResult | None = None
    for _ in range(number):
        operation = verb.send(reply)
        done.append(operation)
        reply = None
        if isinstance(operation, Commit):
            reply = store.txn(operation.compares, operation.ops)
            view.load(store.range(keys.PREFIX))
    return done


def test_it_looks_at_the_hosts_again_only_when_their_bricks_change(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryKeystore()
    write(store, Registry(hosts=40, sessions=480))
    program = StandaloneRunner(store, CONFIG, 3.0)
    claim = Claim(token="1", kind="job", request=Request(owner=1, group=1, pool="default", capacity=GIB), size=GIB)
    verb = set_up(program.context.verb_context, claim)
    assert [type(one) for one in steps(verb, store, program.view, 5)] == [AcquireClaimSlot, Commit, Sleep, AcquireClaimSlot, Sleep]
    looked: list[str] = []
    monkeypatch.setattr(program.view, "free_devices", lambda host, _: looked.append(host) or ())
    assert [type(one) for one in steps(verb, store, program.view, 20)] == [AcquireClaimSlot, Sleep] * 10
    assert looked == []


def test_pauses_grow_to_two_seconds_and_differ_from_token_to_token() -> None:
    def pauses(token: str) -> list[float]:
        store = full()
        program = StandaloneRunner(store, CONFIG, 3.0)
        verb = set_up(program.context.verb_context, claim_of(2, token))
        return [one.seconds for one in steps(verb, store, program.view, 30) if isinstance(one, Sleep)]

    for one, other in itertools.pairwise(map(pauses, ("1", "2", "3"))):
        assert one != other
        assert 0.3 < one[0] < 0.7
        assert all(1.4 < pause < 2.6 for pause in one[6:])


def test_the_free_bricks_of_a_view_are_counted_anew_after_every_change() -> None:
    store = full()
    view = view_of(store)
    assert view.quantity("p") == (4, 1)
    watch = store.watch(keys.PREFIX, view.revision)
    put(store, Allocations(draining=True), "allocations", "s2")
    view.apply(watch.next(1.0))  # type: ignore[arg-type]
    assert view.quantity("p") == (4, 0)
    end(store, "7")
    view.apply(watch.next(1.0))  # type: ignore[arg-type]
    assert view.quantity("p") == (4, 4)
    delete(store, "alive", "s1")
    view.apply(watch.next(1.0))  # type: ignore[arg-type]
    assert view.quantity("p") == (4, 2)


# --- what is known of it ---


def waiting_session(**more: Any) -> Session:
    fields = {"token": "42", "id": 42, "kind": "job", "created_at": 1.0, "claiming": True, **more}
    return Session(request=Request(owner=1000, group=1000, pool="p", stage_in=(), persistent=more.pop("persistent", ())), **fields)


@pytest.mark.parametrize(
    ("goal", "enough"),
    [
        (goals.SETUP, goals.built),
        (goals.DATA_IN, goals.staged_in),
        (goals.pre_run(""), goals.mounted_on("")),
        (goals.pre_run("c1"), goals.mounted_on("c1")),
    ],
)
def test_no_goal_of_a_session_that_waits_is_met(goal: Goal, enough: goals.Satisfied) -> None:
    session = waiting_session(goal=goal, wanted=GIB)
    assert not enough(session, Status())
    assert not goals.met(session, Status())
    assert goals.state(session, Status()) == "waiting"


def test_a_wish_for_a_session_that_waits_is_refused_and_not_written() -> None:
    store = full()
    put(store, waiting_session(wanted=2 * GIB), "sessions", "42")
    program = StandaloneRunner(store, CONFIG, 3.0)
    with pytest.raises(StillWaiting):
        program.run(submit_goal(program.context.verb_context, "42", goals.DATA_IN, goals.staged_in))
    assert view_of(store).sessions["42"].record.goal == Goal()


def test_parts_of_a_claim_are_no_filesystem() -> None:
    """As a daemon leaves them that dies in between."""
    volume = Volume(name="a", pool="p", provider="fake", capacity=2 * GIB, bricks=(BrickRef(host="s1", device="/b0"),))
    session = waiting_session(volume=volume, wanted=2 * GIB)
    assert not goals.built(session, Status(filesystem="ready"))
    assert waiting.needs(view_of(full()), session) == "bricks"


def test_a_shortage_is_told_in_numbers() -> None:
    session = waiting_session(wanted=3 * GIB)
    assert allocation.shortage(view_of(full()), session).startswith("pool p has 1 free of 4 bricks and 3 are needed")
    assert allocation.shortage(view_of(store_of("s1", "s2")), session) == ""


def test_a_backup_has_it_and_a_restore_brings_it_back() -> None:
    store = full()
    with pytest.raises(StillWaiting):
        driven(store, claim_of(2), 0.2)
    data, _ = dump(store.range(keys.PREFIX), 1.0, "here")
    empty = MemoryKeystore()
    restore(empty, parse(data, "file"), cluster="", force=False, trust_free=True, at=1.0)
    assert view_of(empty).sessions["42"].record == view_of(store).sessions["42"].record
    assert list(broken_rules(view_of(empty))) == []
