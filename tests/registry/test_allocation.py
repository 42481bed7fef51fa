"""Which bricks a session gets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacc_core.errors import NoSuchPool, PoolFull, PoolTooSmall
from dacc_core.keystore.base import Batch, Change, Item, Snapshot
from dacc_core.registry import allocation, keys
from dacc_core.registry.records import Alive, Allocations, BrickHost, Pool, Request, Session
from dacc_core.registry.transaction import TransactionBuilder
from dacc_core.registry.view import View
from dacc_core.values import Brick, Record

GIB = 1 << 30


def view_of(*records: tuple[str, str, Record]) -> View:
    view = View()
    view.load(Snapshot(tuple(Item(keys.key(kind, name), keys.encode(record), 1) for kind, name, record in records), 1))
    return view


def cluster(hosts: int = 3, bricks: int = 2, *, pool: str = "p", taken: dict[str, str] | None = None) -> View:
    records: list[tuple[str, str, Record]] = [("pools", pool, Pool(name=pool, granularity=GIB, provider="fake"))]
    for number in range(1, hosts + 1):
        name = f"s{number}"
        offered = tuple(Brick(device=f"/b{one}", capacity=GIB, pool=pool) for one in range(bricks))
        records.append(("hosts", name, BrickHost(name=name, number=number, bricks=offered)))
        records.append(("alive", name, Alive(host=name, incarnation="i")))
        records.append(("allocations", name, Allocations(taken=taken or {})))
    return view_of(*records)


def session(token: str) -> Session:
    return Session(token=token, id=1, kind="job", created_at=1.0, request=Request(owner=1, group=1, pool="p"))


def test_a_session_is_spread_over_hosts_before_a_host_is_used_twice() -> None:
    bricks = allocation.choose(cluster(hosts=4, bricks=3), "1", "p", 4 * GIB)
    assert sorted(brick.host for brick in bricks) == ["s1", "s2", "s3", "s4"]


def test_the_same_input_gives_the_same_bricks() -> None:
    assert allocation.choose(cluster(), "42", "p", 3 * GIB) == allocation.choose(cluster(), "42", "p", 3 * GIB)


def test_tokens_begin_at_different_hosts() -> None:
    view = cluster(hosts=8)
    assert len({allocation.choose(view, str(token), "p", 1)[0].host for token in range(50)}) > 4


def test_capacity_is_rounded_up_to_whole_bricks() -> None:
    assert len(allocation.choose(cluster(), "1", "p", GIB + 1)) == 2
    assert len(allocation.choose(cluster(), "1", "p", 1)) == 1


def test_no_bytes_take_no_bricks() -> None:
    view = cluster()
    assert allocation.claim(view, TransactionBuilder(view), session("1"), 0, 100) == (None, True)


def test_an_unknown_pool_is_named_with_those_that_exist() -> None:
    with pytest.raises(NoSuchPool, match="pool 'q' does not exist: there are p"):
        allocation.choose(cluster(), "1", "q", 1)


def test_a_full_pool_says_what_is_free() -> None:
    with pytest.raises(PoolFull, match=r"pool p has 3 free of 6 bricks and 4 are needed"):
        allocation.choose(cluster(taken={"/b0": "other"}), "1", "p", 4 * GIB)


def test_a_full_pool_whose_jobs_will_end_says_to_wait() -> None:
    with pytest.raises(PoolFull, match=r": wait for other jobs to end$"):
        allocation.choose(cluster(taken={"/b0": "other"}), "1", "p", 4 * GIB)


def test_a_pool_that_no_jobs_end_makes_free_says_why() -> None:
    view = view_of(
        ("pools", "p", Pool(name="p", granularity=GIB, provider="fake")),
        *(("hosts", f"s{n}", BrickHost(name=f"s{n}", number=n, bricks=(Brick(device="/b", capacity=GIB, pool="p"),))) for n in (1, 2, 3)),
        *(("alive", f"s{n}", Alive(host=f"s{n}", incarnation="1")) for n in (2, 3)),
        ("allocations", "s2", Allocations(quarantined={"/b": "session 7"})),
        ("allocations", "s3", Allocations(draining=True)),
    )
    why = ": 1 in quarantine, 1 on hosts that are down, 1 on hosts that are drained: ask an operator$"
    with pytest.raises(PoolFull, match=why):
        allocation.choose(view, "1", "p", GIB)


def test_a_request_beyond_the_pool_says_how_much_could_ever_be() -> None:
    with pytest.raises(PoolTooSmall, match=f"ask for at most {6 * GIB} bytes"):
        allocation.choose(cluster(), "1", "p", 7 * GIB)


def test_pools_count_only_their_own_bricks() -> None:
    """data-acc counted every host's bricks in every pool."""
    view = view_of(
        ("pools", "a", Pool(name="a", granularity=GIB, provider="fake")),
        ("pools", "b", Pool(name="b", granularity=GIB, provider="fake")),
        (
            "hosts",
            "s1",
            BrickHost(
                name="s1",
                number=1,
                bricks=(Brick(device="/x", capacity=GIB, pool="a"), Brick(device="/y", capacity=GIB, pool="b")),
            ),
        ),
        ("alive", "s1", Alive(host="s1", incarnation="i")),
        ("allocations", "s1", Allocations(taken={"/x": "1"})),
    )
    assert view.quantity("a") == (1, 0)
    assert view.quantity("b") == (1, 1)


@pytest.mark.parametrize("held", [Allocations(draining=True), Allocations(quarantined={"/b0": "bad", "/b1": "bad"})])
def test_draining_hosts_and_quarantined_bricks_are_not_free(held: Allocations) -> None:
    view = cluster(hosts=1)
    change = Change(keys.key("allocations", "s1"), Item(keys.key("allocations", "s1"), keys.encode(held), 2), 2)
    view.apply(Batch((change,), 2))
    assert view.quantity("p") == (2, 0)


def test_bricks_of_a_dead_host_count_but_are_not_free() -> None:
    view = cluster(hosts=2)
    view.apply(Batch((Change(keys.key("alive", "s1"), None, 2),), 2))
    assert view.quantity("p") == (4, 2)


@given(st.integers(0, 36**3 - 1), st.integers(0, 26 * 36**4 - 1))
def test_volume_names_are_valid_lustre_fsnames(host: int, serial: int) -> None:
    assert re.fullmatch("[a-z][a-z0-9]{7}", allocation.volume_name(host, serial))


@given(st.sets(st.tuples(st.integers(0, 36**3 - 1), st.integers(0, 26 * 36**4 - 1)), max_size=50))
def test_no_two_volumes_have_one_name(volumes: set[tuple[int, int]]) -> None:
    assert len({allocation.volume_name(*one) for one in volumes}) == len(volumes)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 30), st.text("0123456789", min_size=1, max_size=6))
def test_a_claim_takes_each_brick_once_and_just_enough(hosts: int, bricks: int, needed: int, token: str) -> None:
    view = cluster(hosts, bricks)
    if needed > hosts * bricks:
        with pytest.raises(PoolTooSmall):
            allocation.choose(view, token, "p", needed * GIB)
        return
    chosen = allocation.choose(view, token, "p", needed * GIB)
    assert len(set(map(str, chosen))) == len(chosen) == needed
    counts = {host: sum(brick.host == host for brick in chosen) for host in view.hosts}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_claim_writes_one_key_for_each_host_whatever_its_bricks() -> None:
    view = cluster(hosts=3, bricks=4)
    draft = TransactionBuilder(view)
    allocation.claim(view, draft, session("1"), 12 * GIB, 100)
    assert len(draft.commit().ops) == 3
