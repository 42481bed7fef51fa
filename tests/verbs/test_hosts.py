"""Hosts as operators see and drain them."""

from __future__ import annotations

import pytest

from dacc_core.errors import BadName, Denied, InvalidRequest, NotFound, PoolFull
from dacc_core.registry import allocation
from dacc_core.registry.records import Allocations, Status
from dacc_core.verbs import hosts as brick_hosts
from dacc_core.verbs import operators
from dacc_core.verbs.hosts import Drained, drain
from tests.support.stores import GIB, OPERATOR, STRANGER, add_session, driver, put, run, store_of, view_of


def test_a_host_is_described_with_its_bricks_and_what_they_do() -> None:
    store = store_of("s1", "s2", bricks=3)
    add_session(store, "42", "s1:/b0", status=Status(coordinator="s2", incarnation="s2.1"))
    held = view_of(store).allocations["s1"].record
    put(store, Allocations(taken=held.taken, quarantined={"/b1": "session 7: no answer"}), "allocations", "s1")
    first, second = brick_hosts.described(view_of(store), OPERATOR)
    assert (first["name"], first["state"], first["providers"]) == ("s1", "alive", {"fake": "1.0"})
    assert (first["free"], first["taken"], first["quarantined"]) == (1, 1, 1)
    assert first["bricks"][0] == {"device": "/b0", "pool": "p", "capacity": GIB, "state": "taken", "session": "42", "reason": ""}
    assert first["bricks"][1]["reason"] == "session 7: no answer"
    assert (first["coordinates"], second["coordinates"]) == ([], ["42"])


def test_some_hosts_are_described_when_they_are_named() -> None:
    view = view_of(store_of("s1", "s2", "s3"))
    assert [host["name"] for host in brick_hosts.described(view, OPERATOR, "s[2-3]")] == ["s2", "s3"]


@pytest.mark.parametrize(
    ("dead", "draining", "state"),
    [((), False, "alive"), ((), True, "draining"), (("s1",), False, "dead"), (("s1",), True, "dead, draining")],
)
def test_a_host_is_alive_draining_or_dead(dead: tuple[str, ...], draining: bool, state: str) -> None:
    store = store_of("s1", dead=dead)
    put(store, Allocations(draining=draining), "allocations", "s1")
    assert brick_hosts.state_of(view_of(store), "s1") == state


def test_free_bricks_of_dead_and_draining_hosts_are_not_called_free() -> None:
    store = store_of("s1", "s2", dead=("s1",), bricks=1)
    run(store, drain, "s2", OPERATOR, draining=True)
    assert [host["bricks"][0]["state"] for host in brick_hosts.described(view_of(store), OPERATOR)] == ["dead", "draining"]


def test_a_stranger_does_not_read_the_text_of_an_error() -> None:
    store = store_of("s1", bricks=1)
    put(store, Allocations(quarantined={"/b0": "session 7: unmount: /home/ada is busy"}), "allocations", "s1")
    (host,) = brick_hosts.described(view_of(store), STRANGER)
    assert host["bricks"][0]["reason"] == "session 7"
    assert operators.overview(view_of(store), STRANGER)["hosts"][0]["quarantined"] == {"/b0": "session 7"}
    assert operators.overview(view_of(store), OPERATOR)["hosts"][0]["quarantined"]["/b0"].endswith("/home/ada is busy")


def test_drain_takes_a_folded_set_and_says_which_sessions_go_on() -> None:
    store = store_of("s1", "s2", "s3")
    add_session(store, "42", "s1:/b0", "s2:/b0")
    assert run(store, drain, "s[1-2]", OPERATOR, draining=True) == (Drained("s1", True, ("42",)), Drained("s2", True, ("42",)))
    assert {host: entry.record.draining for host, entry in view_of(store).allocations.items()} == {"s1": True, "s2": True, "s3": False}


def test_a_claim_takes_nothing_of_a_drained_host() -> None:
    store = store_of("s1", "s2")
    run(store, drain, "s1", OPERATOR, draining=True)
    assert {brick.host for brick in allocation.choose(view_of(store), "1", "p", 2 * GIB)} == {"s2"}
    with pytest.raises(PoolFull, match="on hosts that are drained"):
        allocation.choose(view_of(store), "1", "p", 3 * GIB)


def test_drain_changes_nothing_else_of_the_host() -> None:
    store = store_of("s1")
    add_session(store, "42", "s1:/b0")
    before = view_of(store).allocations["s1"].record
    run(store, drain, "s1", OPERATOR, draining=True)
    run(store, drain, "s1", OPERATOR, draining=False)
    assert view_of(store).allocations["s1"].record == before


def test_drain_again_changes_nothing() -> None:
    store = store_of("s1")
    run(store, drain, "s1", OPERATOR, draining=True)
    revision = view_of(store).revision
    assert run(store, drain, "s1", OPERATOR, draining=True) == (Drained("s1", False, ()),)
    assert view_of(store).revision == revision


def test_undrain_gives_the_bricks_back() -> None:
    store = store_of("s1")
    run(store, drain, "s1", OPERATOR, draining=True)
    assert run(store, drain, "s1", OPERATOR, draining=False) == (Drained("s1", True, ()),)
    assert view_of(store).quantity("p") == (2, 2)


def test_a_claim_that_came_between_is_not_overwritten() -> None:
    store = store_of("s1")
    program = driver(store)
    add_session(store, "42", "s1:/b0")
    program.run(drain(program.context.verb_context, "s1", OPERATOR, draining=True))  # type: ignore[arg-type]
    held = view_of(store).allocations["s1"].record
    assert (held.taken, held.draining) == ({"/b0": "a0000042"}, True)


def test_many_hosts_are_drained_in_transactions_that_etcd_takes() -> None:
    hosts = [f"s{number}" for number in range(1, 231)]
    store = store_of(*hosts)
    before = store.range("/").revision
    assert len(run(store, drain, "s[1-230]", OPERATOR, draining=True)) == 230
    assert store.range("/").revision - before == 3


def test_an_unknown_host_is_named_and_the_others_stay() -> None:
    store = store_of("s1")
    with pytest.raises(NotFound, match=r"no host is called s\[7-8\]"):
        run(store, drain, "s[1,7-8]", OPERATOR, draining=True)
    assert not view_of(store).allocations["s1"].record.draining


def test_no_host_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no host is named"):
        run(store_of("s1"), drain, "", OPERATOR, draining=True)


def test_a_malformed_set_is_refused() -> None:
    with pytest.raises(BadName):
        run(store_of("s1"), drain, "s[1-", OPERATOR, draining=True)


@pytest.mark.parametrize("draining", [True, False])
def test_only_operators_drain(draining: bool) -> None:
    with pytest.raises(Denied, match="only operators may"):
        run(store_of("s1"), drain, "s1", STRANGER, draining=draining)
