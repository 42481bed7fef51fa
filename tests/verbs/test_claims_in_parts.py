"""A session over more hosts than a transaction may change is claimed in several; a crash between them loses nothing."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacc_core.errors import DifferentRequest
from dacc_core.keystore.base import Keystore
from dacc_core.registry.allocation import bricks_needed
from dacc_core.registry.records import Request, Session
from dacc_core.registry.transaction import Commit
from dacc_core.simulation.invariants import broken_rules
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.operations import Wait
from dacc_core.verbs.sessions import VerbContext
from tests.support.stores import GIB, driver, store_of, view_of


def claim_of(bricks: int, token: str = "42", owner: int = 1000) -> Claim:
    size = bricks * GIB
    return Claim(token=token, kind="job", request=Request(owner=owner, group=1000, pool="p", capacity=size), size=size)


def claimed(store: Keystore, claim: Claim, *, most: int, commits: int = 1000) -> int:
    """Run a setup until it waits for its filesystem, or dies after some transactions; how many it made."""
    program, made = driver(store), 0
    context: VerbContext = replace(program.context.verb_context, most_changes=most)
    verb, reply = set_up(context, claim), None
    while made < commits:
        operation = verb.send(reply)
        reply = None
        if isinstance(operation, Wait):
            break
        if isinstance(operation, Commit):
            hosts = sum("/allocations/" in op.key for op in operation.ops)
            assert hosts <= most
            reply, made = store.txn(operation.compares, operation.ops), made + bool(hosts)
            program.view.load(store.range("/dacc/1/"))
    return made


def session(store: Keystore, token: str = "42") -> Session:
    return view_of(store).sessions[token].record


@given(st.integers(1, 7), st.integers(1, 3), st.integers(1, 21), st.integers(1, 4))
def test_it_has_the_bricks_that_one_transaction_would_have_chosen(hosts: int, bricks: int, needed: int, most: int) -> None:
    names = [f"s{number}" for number in range(1, hosts + 1)]
    needed = min(needed, hosts * bricks)
    whole, parts = store_of(*names, bricks=bricks), store_of(*names, bricks=bricks)
    assert claimed(whole, claim_of(needed), most=100) == 1
    assert claimed(parts, claim_of(needed), most=most) == bricks_needed(min(needed, hosts), most)
    assert replace_times(session(parts)) == replace_times(session(whole))
    held = [{host: entry.record for host, entry in view_of(store).allocations.items()} for store in (parts, whole)]
    assert held[0] == held[1]


def replace_times(one: Session) -> Session:
    return msgspec.structs.replace(one, created_at=0.0)


def test_until_its_last_part_it_is_marked_and_has_only_what_it_holds() -> None:
    store = store_of("s1", "s2", "s3")
    claimed(store, claim_of(3), most=1, commits=2)
    assert session(store).claiming
    assert len(session(store).bricks) == 2
    assert session(store).volume.capacity == 3 * GIB  # type: ignore[union-attr]
    assert list(broken_rules(view_of(store))) == []


def test_a_setup_after_a_crash_goes_on_where_the_first_ended() -> None:
    store, undisturbed = store_of("s1", "s2", "s3"), store_of("s1", "s2", "s3")
    claimed(undisturbed, claim_of(5), most=1)
    claimed(store, claim_of(5), most=1, commits=1)
    assert claimed(store, claim_of(5), most=1) == 2
    assert not session(store).claiming
    assert session(store).volume == session(undisturbed).volume


def test_a_different_setup_is_refused_in_between() -> None:
    store = store_of("s1", "s2")
    claimed(store, claim_of(2), most=1, commits=1)
    with pytest.raises(DifferentRequest):
        claimed(store, claim_of(2, owner=1001), most=1)


def test_bricks_that_another_session_took_in_between_are_replaced_by_others() -> None:
    store = store_of("s1", "s2", "s3", "s4")
    claimed(store, claim_of(4), most=1, commits=1)
    claimed(store, claim_of(3, token="7"), most=100)
    claimed(store, claim_of(4), most=1)
    assert len(session(store).bricks) == 4
    assert len(session(store, "7").bricks) == 3
    assert list(broken_rules(view_of(store))) == []


def test_two_setups_of_one_session_at_once_claim_it_once() -> None:
    store = store_of("s1", "s2", "s3")
    first, second = (driver(store) for _ in range(2))
    verbs = [set_up(replace(program.context.verb_context, most_changes=1), claim_of(3)) for program in (first, second)]
    commits = []
    for verb in verbs:
        while not isinstance(operation := next(verb), Commit):
            pass
        commits.append(operation)
    assert [store.txn(commit.compares, commit.ops).ok for commit in commits] == [True, False]
