"""How many requests a call costs: one, whatever it is about; and whole calls of Slurm the same in every cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import ProxyHandler, build_opener

import pytest

from dacc_core.config import Config
from dacc_core.errors import TooLarge, TooManyOperations
from dacc_core.keystore.base import Compare, DeleteKey, PutKey
from dacc_core.verbs.frontend import Call, PeerCredentials
from dacc_core.verbs.standalone import StandaloneRunner
from fakewarp.frontend import FRONTEND
from tests.support.etcd import EtcdCluster
from tests.support.registries import Registry, write
from tests.support.waiting import until

from .sites import POLLED, Site, running

CALLER = PeerCredentials(uid=0, trusted=True)

if TYPE_CHECKING:
    from dacc_core.keystore.etcd.store import EtcdKeystore


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods called, one after the other."""
    from dacc_core.keystore.etcd.protocol import EtcdChannel

    methods: list[str] = []
    call = EtcdChannel.call
    monkeypatch.setattr(EtcdChannel, "call", lambda self, method, *rest: methods.append(method) or call(self, method, *rest))
    return methods


CALLS: dict[str, tuple[Callable[[EtcdKeystore], object], list[str]]] = {
    "a key": (lambda store: store.read("a"), ["Txn"]),
    "many keys": (lambda store: store.read(*(f"k{number}" for number in range(128))), ["Txn"]),
    "more keys than fit": (lambda store: store.read(*(f"k{number}" for number in range(129))), ["Txn", "Txn"]),
    "a prefix": (lambda store: store.range("k"), ["Range"]),
    "a transaction": (lambda store: store.txn([Compare("a", 0)], [PutKey("a", b"")]), ["Txn"]),
    "a transaction that fails": (lambda store: store.txn([Compare("a", 1), Compare("b", 1)], [PutKey("a", b"")]), ["Txn"]),
    "an empty transaction": (lambda store: store.txn([], []), ["Txn"]),
    "a grant": (lambda store: store.grant(10), ["LeaseGrant"]),
    "a renewal": (lambda store: store.renew(1), ["LeaseKeepAlive"]),
    "a revocation": (lambda store: store.revoke(1), ["LeaseRevoke"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_costs(store: EtcdKeystore, sent: list[str], name: str) -> None:
    call, cost = CALLS[name]
    call(store)
    assert sent == cost


def fill(store: EtcdKeystore, number: int) -> None:
    for start in range(0, number, 100):
        store.txn([], [PutKey(f"k{index:05}", b"") for index in range(start, min(start + 100, number))])


def test_a_larger_prefix_comes_in_pages_of_one_revision(store: EtcdKeystore, sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 250)
    monkeypatch.setattr("dacc_core.keystore.etcd.store.PAGE", 100)
    sent.clear()
    snapshot = store.range("k")
    assert [item.key for item in snapshot.items] == [f"k{number:05}" for number in range(250)]
    assert sent == ["Range"] * 3


def test_a_page_that_is_compacted_away_begins_the_reading_anew(
    single: EtcdCluster, store: EtcdKeystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dacc_core.keystore.etcd import protocol

    fill(store, 30)
    range_request, requests = protocol.range_request, []

    def compacting(*arguments: object) -> object:
        requests.append(arguments)
        if len(requests) == 2:
            single.compact(store.txn([], [PutKey("k00000", b"new")]).revision)
        return range_request(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("dacc_core.keystore.etcd.store.PAGE", 20)
    monkeypatch.setattr(protocol, "range_request", compacting)
    snapshot = store.range("k")
    assert (len(snapshot.items), snapshot.items[0].value, len(requests)) == (30, b"new", 4)


def test_an_answer_may_be_larger_than_grpc_has_it(store: EtcdKeystore) -> None:
    for number in range(8):
        store.txn([], [PutKey(f"k{number}", bytes(1 << 20))])
    assert sum(len(item.value) for item in store.range("k").items) == 8 << 20


def test_128_operations_are_taken(store: EtcdKeystore) -> None:
    keys = [f"k{number}" for number in range(128)]
    assert store.txn([Compare(key, 0) for key in keys], [PutKey(key, b"") for key in keys]).ok
    assert store.txn([], [DeleteKey(key) for key in keys]).ok


def test_more_operations_are_too_many(store: EtcdKeystore) -> None:
    with pytest.raises(TooManyOperations, match="a transaction has 129 operations, more than the 128 that etcd takes at once"):
        store.txn([], [PutKey(f"k{number}", b"") for number in range(129)])


@pytest.mark.parametrize("megabytes", [1.6, 3.0])
def test_more_bytes_are_too_many(store: EtcdKeystore, megabytes: float) -> None:
    with pytest.raises(TooLarge, match=r"a transaction is \d+ bytes, more than the 1572864 that are allowed"):
        store.txn([], [PutKey("a", bytes(int(megabytes * 1e6)))])


def test_a_quiet_watch_costs_a_read_every_two_seconds(store: EtcdKeystore, sent: list[str]) -> None:
    watch = store.watch("", store.range("").revision)
    until(lambda: watch.next(1))
    sent.clear()
    begun = time.monotonic()
    until(lambda: watch.next(1) and len(sent) == 2)
    assert time.monotonic() - begun > 2
    assert sent == ["Range", "Range"]


# --- whole calls: the same number for any cluster ---


@pytest.mark.parametrize("function", POLLED)
def test_without_dacd_a_poll_is_one_request_for_3_hosts_and_for_240(store: EtcdKeystore, sent: list[str], function: str) -> None:
    answers = []
    for hosts in (3, 240):
        write(store, Registry(hosts, sessions=4 * hosts))
        sent.clear()
        driver = StandaloneRunner(store, Config(), 30.0)
        answer = driver.run(FRONTEND.run(FRONTEND.parse(Call(("--function", function), {}, CALLER)), driver.context))
        assert sent == ["Range"]
        answers.append(answer.stdout)
    assert answers[0] != answers[1]


@dataclass(frozen=True)
class Spent:
    """What daemons have requested of etcd, and how often they have written."""

    transactions: float
    ranges: float
    revision: int

    def since(self, before: Spent) -> Spent:
        return Spent(self.transactions - before.transactions, self.ranges - before.ranges, self.revision - before.revision)


def spent(site: Site) -> Spent:
    started = requests(site.etcd)
    return Spent(started["Txn"], started["Range"], site.etcd.admin("Range", lambda m: m.RangeRequest(key=b"/")).header.revision)


def requests(cluster: EtcdCluster) -> dict[str, float]:
    """How many requests of each method an etcd of one member has had, by its own metrics."""
    with build_opener(ProxyHandler({})).open(f"http://{cluster.members[0].near(cluster.members[0].health_port)}/metrics") as page:
        counters = re.findall(r'^grpc_server_started_total{.*grpc_method="(\w+)".*} (\S+)$', page.read().decode(), re.MULTILINE)
    return {method: float(number) for method, number in counters}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Site]]:
    """Sites with so many hosts; all but two of them are records only."""
    with ExitStack() as stack:
        made = {}
        for hosts in (3, 240):
            etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"))
            made[hosts] = stack.enter_context(running(etcd, tmp_path_factory.mktemp("site"), others=hosts - 2))
        yield made


def test_a_jobs_life_costs_the_same_with_3_hosts_and_with_240(sites: dict[int, Site]) -> None:
    lives = {}
    for hosts, site in sites.items():
        keys, before = site.keys(), spent(site)
        site.begin("11")
        site.end("11")
        lives[hosts] = spent(site).since(before)
        assert site.keys() == keys  # which are all but the history's
    assert lives[3].revision == lives[240].revision <= 20
    assert lives[3].transactions == lives[240].transactions <= 20


@pytest.mark.parametrize("hosts", [3, 240])
def test_polls_that_dacd_answers_ask_nothing_of_etcd(sites: dict[int, Site], hosts: int) -> None:
    site = sites[hosts]
    before, polls = spent(site), 40
    for _ in range(polls // len(POLLED)):
        for function in POLLED:
            site.call(function)
    cost = spent(site).since(before)
    assert (cost.transactions, cost.revision) == (0, 0)
    assert cost.ranges < polls  # each daemon's watch asks every two seconds, whether there are polls or not
