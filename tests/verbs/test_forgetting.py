"""Giving up a host that will not come back."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import pytest

from dacc_core.errors import Busy, Denied, InvalidRequest, NotFound
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.registry.records import Alive, Allocations, Attachment, BrickHost, Eviction, Goal, Request, Status
from dacc_core.registry.transaction import MOST_CHANGES
from dacc_core.registry.view import View
from dacc_core.simulation.invariants import broken_rules
from dacc_core.values import StageRequest
from dacc_core.verbs import hosts as brick_hosts
from dacc_core.verbs import operators
from dacc_core.verbs.forgetting import forget, losses
from dacc_core.verbs.frontend import PeerCredentials
from tests.support.stores import OPERATOR, STRANGER, add_session, driver, put, run, store_of, view_of

TODAY = time.strftime("%Y-%m-%d", time.gmtime())
COPY = (StageRequest(source="$DW_JOB_STRIPED/a", destination="/a"),)
OWES = Request(owner=1000, group=1000, stage_out=COPY)
USED = Status(filesystem="ready", observed_revision=1, used=True, stage_out="pending", mounts="c1", touched="c1")


def forgotten(
    store: MemoryKeystore, host: str = "s1", agreed: Collection[str] = ("42", "43", "work"), caller: PeerCredentials = OPERATOR
) -> Any:
    return run(store, forget, host, caller, agreed)


@pytest.fixture
def store() -> MemoryKeystore:
    """Host s1 is dead; session 42 has a brick there and one on s2."""
    made = store_of("s1", "s2", dead=("s1",))
    add_session(made, "42", "s1:/b0", "s2:/b0", request=OWES, status=USED)
    return made


def go_on(verb: Any, store: MemoryKeystore, view: View) -> None:
    """Do what a verb asks, to its end."""
    reply = store.txn((), ())
    while True:
        operation = verb.send(reply)
        reply = store.txn(operation.compares, operation.ops)
        view.load(store.range("/"))


# --- what is lost ---


def test_what_would_be_lost_is_said_without_losing_it(store: MemoryKeystore) -> None:
    before = view_of(store).revision
    found = losses(view_of(store), "s1", OPERATOR)
    assert found["sessions"] == [
        {
            "token": "42",
            "kind": "job",
            "owner": 1000,
            "bricks": ["/b0"],
            "elsewhere": 1,
            "stage_out": "owed",
            "mounts": "c1",
            "used_by": [],
        }
    ]
    assert view_of(store).revision == before


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        (OWES, USED, "owed"),
        (OWES, Status(filesystem="ready", used=True, stage_out="done"), "done"),
        (OWES, Status(filesystem="ready", stage_out="pending"), "not owed"),  # no node ever had it: it holds copies only
        (Request(owner=1, group=1), USED, "not asked"),
    ],
)
def test_whether_a_stage_out_is_owed_is_said(request_: Request, status: Status, word: str) -> None:
    store = store_of("s1", dead=("s1",))
    add_session(store, "42", "s1:/b0", request=request_, status=status)
    assert losses(view_of(store), "s1", OPERATOR)["sessions"][0]["stage_out"] == word


def test_a_host_that_is_alive_is_not_forgotten(store: MemoryKeystore) -> None:
    with pytest.raises(Busy, match="host s2 is alive"):
        forgotten(store, "s2")


def test_an_unknown_host_is_not_found(store: MemoryKeystore) -> None:
    with pytest.raises(NotFound, match="host s9 is unknown"):
        forgotten(store, "s9")


def test_a_session_that_nobody_agreed_to_lose_is_not_lost(store: MemoryKeystore) -> None:
    with pytest.raises(InvalidRequest, match="more is lost with host s1 than was agreed to: 42"):
        forgotten(store, agreed=("41",))
    assert "s1" in view_of(store).hosts


def test_only_operators_forget(store: MemoryKeystore) -> None:
    with pytest.raises(Denied):
        forgotten(store, caller=STRANGER)
    with pytest.raises(Denied):
        losses(view_of(store), "s1", STRANGER)


# --- the records ---


def test_the_host_is_gone_and_its_pool_smaller(store: MemoryKeystore) -> None:
    forgotten(store)
    view = view_of(store)
    assert set(view.hosts) == {"s2"}
    assert view.quantity("p") == (2, 1)


def test_its_sessions_are_to_end_without_it(store: MemoryKeystore) -> None:
    forgotten(store)
    session = view_of(store).sessions["42"].record
    assert session.goal == Goal(verb="forget", filesystem="absent", hurry=True)
    assert session.goal_revision == 2
    assert [str(brick) for brick in session.bricks] == ["s2:/b0"]
    assert session.volume is not None
    assert len(session.volume.bricks) == 2  # its provider knows the volume by all of them


def test_no_rule_is_broken_by_any_transaction(store: MemoryKeystore) -> None:
    assert list(broken_rules(view_of(store))) == []
    forgotten(store)
    assert list(broken_rules(view_of(store))) == []


def test_sessions_elsewhere_go_on(store: MemoryKeystore) -> None:
    other = add_session(store, "43", "s2:/b1")
    forgotten(store)
    assert view_of(store).sessions["43"].record == other


def test_what_its_bricks_held_stays_written_down(store: MemoryKeystore) -> None:
    forgotten(store)
    held = view_of(store).allocations["s1"].record
    assert held.taken == {}
    assert held.quarantined == {"/b0": f"forgotten on {TODAY}: has data of session 42", "/b1": f"forgotten on {TODAY}"}
    assert held.serial == 7


def test_a_reason_for_quarantine_is_not_overwritten() -> None:
    store = store_of("s1", dead=("s1",))
    put(store, Allocations(quarantined={"/b0": "session 7: no answer"}), "allocations", "s1")
    forgotten(store)
    assert view_of(store).allocations["s1"].record.quarantined["/b0"] == "session 7: no answer"


def test_a_host_without_bricks_leaves_nothing() -> None:
    store = store_of("s1", dead=("s1",), bricks=0)
    forgotten(store)
    assert set(view_of(store).allocations) == set(view_of(store).hosts) == set()


def test_a_goal_that_was_to_end_the_session_keeps_whom_it_evicts() -> None:
    store = store_of("s1", dead=("s1",))
    ending = Goal(verb="teardown", filesystem="absent", evict=(Eviction(token="7", hosts="c7"),))
    add_session(store, "work", "s1:/b0", kind="persistent", goal=ending)
    forgotten(store)
    assert view_of(store).sessions["work"].record.goal == Goal(verb="forget", filesystem="absent", hurry=True, evict=ending.evict)


def test_jobs_that_use_a_lost_buffer_are_detached_and_evicted() -> None:
    store = store_of("s1", "s2", dead=("s1",))
    add_session(store, "work", "s1:/b0", kind="persistent")
    add_session(store, "43", status=Status(mounts="c[1-2]", touched="c[1-2]"), request=Request(owner=1, group=1, persistent=("work",)))
    put(store, Attachment(persistent="work", token="43"), "attachments", "work", "43")
    found = forgotten(store)
    assert found["sessions"][0]["used_by"] == ["43"]
    assert view_of(store).sessions["work"].record.goal.evict == (Eviction(token="43", hosts="c[1-2]"),)
    assert view_of(store).attachments == {}


def test_buffers_can_be_attached_again_when_the_host_came_back_meanwhile() -> None:
    store = store_of("s1", "s2", dead=("s1",))
    add_session(store, "work", "s1:/b0", kind="persistent")
    program = driver(store)
    verb = forget(program.context.verb_context, "s1", OPERATOR, ("work",))
    commit = next(verb)
    assert store.txn(commit.compares, commit.ops).ok  # type: ignore[union-attr]
    assert view_of(store).sessions["work"].record.ending
    put(store, Alive(host="s1", incarnation="s1.2"), "alive", "s1")
    program.view.load(store.range("/"))
    with pytest.raises(Busy):
        go_on(verb, store, program.view)
    assert not view_of(store).sessions["work"].record.ending
    assert view_of(store).sessions["work"].record.goal.filesystem == "ready"


def test_a_host_that_registers_at_the_same_moment_is_not_forgotten(store: MemoryKeystore) -> None:
    program = driver(store)
    put(store, Alive(host="s1", incarnation="s1.2"), "alive", "s1")
    with pytest.raises(Busy):
        program.run(forget(program.context.verb_context, "s1", OPERATOR, ("42",)))  # type: ignore[arg-type]
    assert view_of(store).sessions["42"].record.lost == ()


def test_very_many_sessions_are_given_up_in_several_transactions() -> None:
    number = 2 * MOST_CHANGES
    store = store_of("s1", dead=("s1",), bricks=number)
    for place in range(number):
        add_session(store, str(place + 1), f"s1:/b{place}")
    before = store.range("/").revision
    forgotten(store, agreed={str(place + 1) for place in range(number)})
    view = view_of(store)
    assert view.revision - before == 3
    assert list(broken_rules(view)) == []
    assert all(entry.record.lost == ("s1",) for entry in view.sessions.values())
    assert len(view.allocations["s1"].record.quarantined) == number


def test_a_host_that_comes_back_in_between_offers_nothing_of_what_was_given_up() -> None:
    number = MOST_CHANGES + 10
    store = store_of("s1", dead=("s1",), bricks=number)
    for place in range(number):
        add_session(store, f"{place + 1000}", f"s1:/b{place}")
    program = driver(store)
    verb = forget(program.context.verb_context, "s1", OPERATOR, {f"{place + 1000}" for place in range(number)})
    commit = next(verb)
    assert store.txn(commit.compares, commit.ops).ok  # type: ignore[union-attr]
    view = view_of(store)
    given_up = [entry.record for entry in view.sessions.values() if entry.record.lost]
    assert given_up
    assert list(broken_rules(view)) == []
    shut = view.allocations["s1"].record.quarantined
    assert all(brick.device in shut for session in given_up for brick in session.volume.bricks)  # type: ignore[union-attr]


# --- afterwards ---


def test_a_forgotten_host_is_shown_until_it_is_back_or_released(store: MemoryKeystore) -> None:
    forgotten(store)
    (row,) = (host for host in brick_hosts.described(view_of(store), OPERATOR) if host["name"] == "s1")
    assert (row["state"], row["quarantined"]) == ("forgotten", 2)
    run(store, operators.release, "s1", "", OPERATOR)
    assert [host["name"] for host in brick_hosts.described(view_of(store), OPERATOR)] == ["s2"]


def test_one_brick_of_a_forgotten_host_cannot_be_released(store: MemoryKeystore) -> None:
    forgotten(store)
    with pytest.raises(InvalidRequest, match="release all of it, or one brick when it is back"):
        run(store, operators.release, "s1", "/b0", OPERATOR)


def test_a_host_is_forgotten_once(store: MemoryKeystore) -> None:
    forgotten(store)
    with pytest.raises(NotFound, match="has been forgotten already"):
        forgotten(store)


def test_a_claim_cannot_take_what_is_left_of_it(store: MemoryKeystore) -> None:
    forgotten(store)
    put(store, Alive(host="s1", incarnation="s1.2"), "alive", "s1")
    put(store, BrickHost(name="s1", number=9), "hosts", "s1")
    assert view_of(store).free_devices("s1", "p") == ()
