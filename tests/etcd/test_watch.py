"""A watch goes on whatever happens to members, misses nothing, and fails when it cannot."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from dacc_core.errors import Compacted, KeystoreUnavailable
from dacc_core.keystore.base import Batch, PutKey, Watch
from tests.support.etcd import EtcdCluster
from tests.support.proxy import Proxy
from tests.support.waiting import until

from .conftest import MakeProxy, Open

if TYPE_CHECKING:
    from dacc_core.keystore.etcd.store import EtcdKeystore


def put(store: EtcdKeystore, key: str) -> int:
    return store.txn([], [PutKey(key, b"")]).revision


def follow(watch: Watch, revision: int, seconds: float = 20.0) -> list[int]:
    """The revisions of all changes up to one."""
    revisions: list[int] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            batch = watch.next(1)
        except KeystoreUnavailable:
            continue
        if batch is not None:
            revisions += [change.revision for change in batch.changes]
            if batch.revision >= revision:
                return revisions
    raise AssertionError(f"revision {revision} was not seen, only {revisions}")


def started(watch: Watch) -> Watch:
    """The watch, once it was seen to be alive."""
    until(lambda: watch.next(1) is not None)
    return watch


@pytest.fixture
def faulty(single: EtcdCluster, proxy: MakeProxy) -> Proxy:
    return proxy(single)


@pytest.fixture
def watch(faulty: Proxy, open_store: Open, store: EtcdKeystore) -> Watch:
    """A watch through the proxy, over everything that happens from now on."""
    return started(open_store(faulty.endpoint).watch("", store.range("").revision))


class TestOneConnection:
    def test_a_broken_stream_loses_no_change(self, faulty: Proxy, watch: Watch, store: EtcdKeystore) -> None:
        first = put(store, "a")
        faulty.cut()
        last = [put(store, "a") for _ in range(10)][-1]
        assert follow(watch, last) == list(range(first, last + 1))

    def test_changes_during_an_outage_arrive_afterwards(self, faulty: Proxy, watch: Watch, store: EtcdKeystore) -> None:
        with faulty.away():
            revision = put(store, "a")
        assert follow(watch, revision) == [revision]

    def test_a_silent_member_is_named_in_the_error(self, faulty: Proxy, watch: Watch) -> None:
        with faulty.holding(), pytest.raises(KeystoreUnavailable, match="no answer within 1 s: see etcd's log there"):
            until(lambda: watch.next(1) and False)

    def test_silence_does_not_count_as_life_for_long(self, faulty: Proxy, watch: Watch) -> None:
        with faulty.holding():
            begun = time.monotonic()
            until(lambda: fails(watch))
            assert time.monotonic() - begun < 5

    def test_it_is_not_tried_without_pause(self, faulty: Proxy, watch: Watch) -> None:
        before = faulty.connections
        with faulty.holding():
            for _ in range(4):
                fails(watch)
        assert faulty.connections - before < 12

    def test_closing_waits_for_nothing(self, faulty: Proxy, watch: Watch) -> None:
        with faulty.holding():
            begun = time.monotonic()
            watch.close()
            assert watch.next(5) is None
            assert time.monotonic() - begun < 0.5

    def test_closing_ends_its_threads(self, watch: Watch) -> None:
        watch.close()
        until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("etcd-")], "its threads have ended")

    def test_a_watch_without_a_reader_ends_by_itself(self, open_store: Open, single: EtcdCluster) -> None:
        store = open_store(*single.endpoints)
        store.watch("", 1)
        until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("etcd-")], "its threads have ended")


def fails(watch: Watch) -> bool:
    try:
        return watch.next(1) is None
    except KeystoreUnavailable:
        return True


class TestCompaction:
    def test_compacted_history_is_reported(self, single: EtcdCluster, faulty: Proxy, watch: Watch, store: EtcdKeystore) -> None:
        with faulty.away():
            last = [put(store, "a") for _ in range(5)][-1]
            single.compact(last)
        with pytest.raises(Compacted, match=f"revision {last - 4} is compacted, the oldest one kept is {last}"):
            follow(watch, last)

    def test_compaction_at_just_the_next_revision_may_lose_a_deletion(self, single: EtcdCluster, store: EtcdKeystore) -> None:
        seen = put(store, "a")
        single.compact(put(store, "a"))
        with pytest.raises(Compacted):
            follow(store.watch("", seen), seen + 1)

    def test_of_what_was_seen_is_no_matter(self, single: EtcdCluster, faulty: Proxy, watch: Watch, store: EtcdKeystore) -> None:
        revision = put(store, "a")
        follow(watch, revision)
        single.compact(revision)
        faulty.cut()
        assert follow(watch, put(store, "b")) == [revision + 1]


class TestMembers:
    """A cluster of three, whose first member streams at first."""

    @pytest.fixture
    def store(self, cluster: EtcdCluster, open_store: Open) -> EtcdKeystore:
        """Asks another member first than the watch does."""
        return open_store(*reversed(cluster.endpoints))

    @pytest.fixture
    def watch(self, cluster: EtcdCluster, open_store: Open, store: EtcdKeystore) -> Watch:
        return started(open_store(*cluster.endpoints).watch("", store.range("").revision))

    @pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
    def test_another_one_goes_on(self, cluster: EtcdCluster, store: EtcdKeystore, watch: Watch, fault: signal.Signals) -> None:
        first = put(store, "a")
        cluster.members[0].kill() if fault is signal.SIGKILL else cluster.members[0].signal(fault)
        last = [put(store, "a") for _ in range(5)][-1]
        assert follow(watch, last, 10) == list(range(first, last + 1))

    def test_one_that_lost_the_others_is_left(self, cluster: EtcdCluster, open_store: Open, proxy: MakeProxy) -> None:
        """Its stream would stay open and silent."""
        watch = started(open_store(*cluster.endpoints).watch("", 1))
        for member in cluster.members[1:]:
            member.signal(signal.SIGSTOP)
        until(lambda: fails(watch), "the watch is silent, or fails")
        for member in cluster.members[1:]:
            member.signal(signal.SIGCONT)
        until(lambda: not fails(watch), "the watch is alive again")

    def test_nothing_is_missed_over_a_loss_of_the_majority(self, cluster: EtcdCluster, store: EtcdKeystore, watch: Watch) -> None:
        first = put(store, "a")
        for member in cluster.members[1:]:
            member.kill()
        for number in (1, 2):
            cluster.launch(number)
        for number in range(3):
            cluster.await_member(number)
        last = put(store, "a")
        assert follow(watch, last) == [first, last]

    def test_no_change_is_missed_while_members_are_lost_in_turn(self, cluster: EtcdCluster, store: EtcdKeystore, watch: Watch) -> None:
        written: list[int] = []
        for number, member in enumerate(cluster.members):
            written.append(put(store, "a"))
            member.kill()
            written += [put(store, "a"), put(store, "b")]
            cluster.launch(number)
            cluster.await_member(number)
        assert follow(watch, written[-1]) == sorted(written)


class TestProgress:
    """How a watch learns of revisions that changed nothing under its prefix."""

    def test_what_is_written_elsewhere_moves_it_on(self, store: EtcdKeystore) -> None:
        watch = started(store.watch("here/", store.range("").revision))
        assert follow(watch, put(store, "elsewhere")) == []

    def test_a_transaction_that_changed_nothing_moves_it_on_at_once(self, store: EtcdKeystore) -> None:
        watch = started(store.watch("here/", store.range("").revision))
        put(store, "elsewhere")
        revision = store.txn([], []).revision
        begun = time.monotonic()
        follow(watch, revision)
        assert time.monotonic() - begun < 1.5

    def test_nothing_is_passed_over_while_others_write(self, store: EtcdKeystore) -> None:
        start = store.range("").revision
        watch = store.watch("here/", start)
        done = threading.Event()

        def write_elsewhere() -> None:
            while not done.is_set():
                put(store, "elsewhere")
                store.txn([], [])

        thread = threading.Thread(target=write_elsewhere)
        thread.start()
        written = [put(store, f"here/{number % 7}") for number in range(300)]
        done.set()
        thread.join()
        assert follow(watch, written[-1]) == written

    def test_a_change_that_comes_too_late_is_noticed(self) -> None:
        from dacc_core.keystore.base import Change
        from dacc_core.keystore.etcd.watch import WatchBuffer

        buffer = WatchBuffer(5)
        with buffer.changed:
            buffer.advance(9)
            assert buffer.take(empty=False) == Batch((), 9)
            buffer.add((Change("a", None, 8),))
            for _ in range(2):
                with pytest.raises(Compacted, match="came to revision 9 without 8: read everything anew"):
                    buffer.take(empty=False)
