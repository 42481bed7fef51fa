"""Members that are away, stopped, alone or restarted: calls go on with another one, within the bounds that the guide states."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from dacc_core.errors import KeystoreUnavailable
from dacc_core.keystore.base import Compare, PutKey
from tests.support.etcd import EtcdCluster
from tests.support.proxy import Proxy
from tests.support.waiting import until

from .conftest import MakeProxy, Open

if TYPE_CHECKING:
    from dacc_core.keystore.etcd.store import EtcdKeystore

CALLS: dict[str, Callable[[EtcdKeystore], object]] = {
    "read": lambda store: store.read("a"),
    "range": lambda store: store.range(""),
    "txn": lambda store: store.txn([Compare("new", 0)], [PutKey("new", b"")]),
    "grant": lambda store: store.grant(10),
    "renew": lambda store: store.renew(1),
    "revoke": lambda store: store.revoke(1),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


@pytest.fixture
def two(single: EtcdCluster, proxy: MakeProxy) -> tuple[Proxy, Proxy]:
    """Two ways to one etcd: two members, as far as a client can see."""
    return proxy(single), proxy(single)


@pytest.fixture
def twice(two: tuple[Proxy, Proxy], open_store: Open) -> EtcdKeystore:
    return open_store(*(proxy.endpoint for proxy in two))


class TestOneOfTwo:
    @each_call
    def test_that_refuses_connections_costs_nothing(
        self, two: tuple[Proxy, Proxy], twice: EtcdKeystore, call: Callable[[EtcdKeystore], object]
    ) -> None:
        with two[0].away():
            assert seconds(lambda: call(twice)) < 1

    @each_call
    def test_that_never_answers_costs_one_slice(
        self, two: tuple[Proxy, Proxy], twice: EtcdKeystore, call: Callable[[EtcdKeystore], object]
    ) -> None:
        with two[0].holding():
            assert 1.4 < seconds(lambda: call(twice)) < 3

    def test_that_never_answers_costs_half_the_time_of_a_short_call(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        with two[0].holding():
            twice.read("a", timeout=0.4)

    def test_that_failed_is_not_called_first_again(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        with two[0].holding():
            twice.read("a")
            assert seconds(lambda: twice.read("a")) < 1

    def test_that_breaks_a_call_loses_it_to_the_other(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        twice.read("a")
        two[0].lose_answer()
        twice.read("a")
        assert [proxy.connections for proxy in two] == [1, 1]

    def test_that_has_come_back_is_used_when_the_other_fails(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        with two[0].away():
            twice.read("a")
        with two[1].away():
            twice.read("a")


class TestAllAway:
    def test_a_call_fails_by_its_deadline_and_names_every_member(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        with two[0].away(), two[1].away():
            started = time.monotonic()
            with pytest.raises(KeystoreUnavailable) as caught:
                twice.read("a", timeout=0.5)
        assert 0.45 < time.monotonic() - started < 2
        assert str(caught.value) == (
            f"keystore etcd at {two[0].endpoint},{two[1].endpoint} does not answer: {two[0].endpoint}: connection refused; "
            f"{two[1].endpoint}: connection refused: start etcd there, or correct keystore.endpoints"
        )

    def test_a_timeout_does_not_hide_why_an_earlier_attempt_failed(self, open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        from dacc_core.keystore.etcd.protocol import EtcdChannel, RpcFailure

        refusals = iter([RpcFailure("UNAVAILABLE", "Connection refused")])

        def refuse_once_and_then_hang(channel: object, method: str, request: object, timeout: float, metadata: object) -> None:
            for refusal in refusals:
                raise refusal
            threading.Event().wait(timeout)
            raise RpcFailure("DEADLINE_EXCEEDED", "Deadline Exceeded")

        monkeypatch.setattr(EtcdChannel, "call", refuse_once_and_then_hang)
        with pytest.raises(KeystoreUnavailable, match="connection refused"):
            open_store("http://127.0.0.1:1").read("a", timeout=0.3)

    def test_members_are_called_with_pauses(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        with two[0].holding(), two[1].holding(), pytest.raises(KeystoreUnavailable, match=r"no answer within 0\.\d+ s"):
            twice.read("a", timeout=1.0)
        assert sum(proxy.connections for proxy in two) < 10

    def test_a_call_that_waits_goes_on_when_one_comes_back(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        outcome: list[object] = []
        with two[0].away(), two[1].away():
            waiting = threading.Thread(target=lambda: outcome.append(twice.txn([Compare("a", 0)], [PutKey("a", b"")]).ok))
            waiting.start()
            waiting.join(0.3)
            assert waiting.is_alive()
        waiting.join()
        assert outcome == [True]

    def test_closing_ends_a_call_that_waits(self, two: tuple[Proxy, Proxy], twice: EtcdKeystore) -> None:
        outcome: list[str] = []

        def wait() -> None:
            with pytest.raises(KeystoreUnavailable) as caught:
                twice.read("a", timeout=20)
            outcome.append(str(caught.value))

        with two[0].holding(), two[1].holding():
            waiting = threading.Thread(target=wait)
            waiting.start()
            until(lambda: two[0].connections)
            assert seconds(twice.close) < 1
            waiting.join(2)
        assert outcome
        assert "it is closed" in outcome[0]


class TestMembers:
    """A cluster of three."""

    @pytest.fixture
    def store(self, cluster: EtcdCluster, open_store: Open) -> EtcdKeystore:
        made = open_store(*cluster.endpoints)
        made.txn([], [PutKey("counter", b"0")])
        return made

    def test_the_loss_of_any_one_is_got_over(self, cluster: EtcdCluster, store: EtcdKeystore) -> None:
        for number, member in enumerate(cluster.members):
            member.kill()
            add_one(store)
            cluster.launch(number)
            cluster.await_member(number)
        assert counter(store) == 3

    def test_a_stopped_one_is_got_over(self, cluster: EtcdCluster, store: EtcdKeystore) -> None:
        for member in cluster.members:
            member.signal(signal.SIGSTOP)
            add_one(store)
            member.signal(signal.SIGCONT)
        assert counter(store) == 3

    def test_what_a_stopped_one_holds_back_is_not_done_twice(self, cluster: EtcdCluster, store: EtcdKeystore) -> None:
        cluster.members[0].signal(signal.SIGSTOP)
        revision = add_one(store)
        cluster.members[0].signal(signal.SIGCONT)
        cluster.await_member(0)
        assert (counter(store), store.read("counter").items[0].mod_revision) == (1, revision)

    def test_one_without_the_others_answers_nothing(self, cluster: EtcdCluster, open_store: Open) -> None:
        alone = open_store(cluster.endpoints[0])
        alone.read("counter")
        for member in cluster.members[1:]:
            member.kill()
        with pytest.raises(KeystoreUnavailable):
            alone.read("counter", timeout=1.0)

    def test_without_a_majority_nothing_is_written_and_all_goes_on_when_it_returns(self, cluster: EtcdCluster, store: EtcdKeystore) -> None:
        for member in cluster.members[1:]:
            member.kill()
        with pytest.raises(KeystoreUnavailable):
            store.txn([Compare("a", 0)], [PutKey("a", b"")], timeout=1.0)
        for number in (1, 2):
            cluster.launch(number)
        until(lambda: works(lambda: store.txn([], [PutKey("b", b"")], timeout=2.0)), "writes are done again")
        add_one(store)
        assert counter(store) == 1

    def test_counting_through_losses_loses_nothing(self, cluster: EtcdCluster, store: EtcdKeystore) -> None:
        done = threading.Event()
        counted: list[int] = []

        def count() -> None:
            while not done.is_set():
                counted.append(add_one(store))

        thread = threading.Thread(target=count)
        thread.start()
        for number, member in enumerate(cluster.members):
            count_on(counted)
            member.kill()
            count_on(counted)
            cluster.launch(number)
            cluster.await_member(number)
        done.set()
        thread.join()
        assert counter(store) == len(counted) == len(set(counted))


def count_on(counted: list[int]) -> None:
    so_far = len(counted)
    until(lambda: len(counted) > so_far + 10, "counting goes on")


def counter(store: EtcdKeystore) -> int:
    return int(store.read("counter").items[0].value)


def add_one(store: EtcdKeystore) -> int:
    """Add one by compare-and-swap; the revision. Each call has the usual five seconds."""
    (item,) = store.read("counter").items
    result = store.txn([Compare("counter", item.mod_revision)], [PutKey("counter", b"%d" % (int(item.value) + 1))])
    assert result.ok, "nobody else counts"
    return result.revision


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except KeystoreUnavailable:
        return False
    return True


def test_an_etcd_may_be_started_after_its_client(open_store: Open, tmp_path_factory: pytest.TempPathFactory) -> None:
    late = EtcdCluster(tmp_path_factory.mktemp("late"))
    store = open_store(*late.endpoints)
    with pytest.raises(KeystoreUnavailable, match="connection refused: start etcd there"):
        store.read("a", timeout=0.2)
    with late:
        assert store.txn([], [PutKey("a", b"")]).ok


def test_a_restarted_etcd_is_used_again(single: EtcdCluster, store: EtcdKeystore) -> None:
    revision = store.txn([], [PutKey("a", b"")]).revision
    single.members[0].kill()
    single.start()
    assert store.read("a").items[0].mod_revision == revision


def test_a_strange_cluster_is_refused(open_store: Open, single: EtcdCluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    with EtcdCluster(tmp_path_factory.mktemp("strange"), flags=("--initial-cluster-token=strange",)) as strange:
        store = open_store(*single.endpoints, *strange.endpoints)
        store.read("a")
        store._client.endpoints.avoid(store._client.endpoints.in_order()[0])
        with pytest.raises(KeystoreUnavailable, match="it is of another cluster than before: correct"):
            store.read("a")
