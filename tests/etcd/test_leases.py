"""Leases by etcd's own clock; all else about them is in the conformance suite."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from dacc_core.errors import NotFound
from dacc_core.keystore.base import PutKey
from tests.support.etcd import EtcdCluster
from tests.support.proxy import Proxy
from tests.support.waiting import until

from .conftest import MakeProxy, Open

if TYPE_CHECKING:
    from dacc_core.keystore.etcd.store import EtcdKeystore


def ttl(cluster: EtcdCluster, lease: int) -> int:
    return int(cluster.admin("LeaseTimeToLive", lambda m: m.LeaseTimeToLiveRequest(ID=lease)).grantedTTL)


@pytest.fixture
def faulty(single: EtcdCluster, proxy: MakeProxy) -> Proxy:
    return proxy(single)


def test_a_key_goes_when_its_lease_is_not_renewed(store: EtcdKeystore) -> None:
    store.txn([], [PutKey("a", b"", store.grant(1))])
    until(lambda: not store.read("a").items)


def test_a_renewed_lease_lives_on(store: EtcdKeystore) -> None:
    lease = store.grant(2)
    store.txn([], [PutKey("a", b"", lease)])
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert store.renew(lease)
        time.sleep(0.2)
    assert store.read("a").items


def test_a_watch_sees_the_end(store: EtcdKeystore) -> None:
    revision = store.txn([], [PutKey("a", b"", store.grant(1))]).revision
    watch = store.watch("", revision)
    changes = until(lambda: (batch := watch.next(1)) and batch.changes)
    assert [(change.key, change.item) for change in changes] == [("a", None)]


@pytest.mark.parametrize(("requested", "granted"), [(10, 10), (10.2, 11), (0.001, 2)])
def test_its_time_is_rounded_up_and_is_at_least_what_etcd_grants(
    single: EtcdCluster, store: EtcdKeystore, requested: float, granted: int
) -> None:
    assert ttl(single, store.grant(requested)) == granted


def test_a_grant_whose_answer_is_lost_makes_no_second_lease(single: EtcdCluster, faulty: Proxy, open_store: Open) -> None:
    def leases() -> set[int]:
        return {lease.ID for lease in single.admin("LeaseLeases", lambda m: m.LeaseLeasesRequest()).leases}

    store = open_store(faulty.endpoint)
    store.read("a")
    before = leases()
    faulty.lose_answer(lambda: until(lambda: leases() - before))
    lease = store.grant(60)
    assert leases() - before == {lease}


def test_all_leases_that_may_have_ended_are_named(store: EtcdKeystore) -> None:
    ended = [store.grant(10), store.grant(10)]
    for lease in ended:
        store.revoke(lease)
    with pytest.raises(NotFound, match=f"lease {ended[0]} of key a or lease {ended[1]} of key b has ended"):
        store.txn([], [PutKey("a", b"", ended[0]), PutKey("b", b"", ended[1])])
