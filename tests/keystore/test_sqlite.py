"""What the SQLite keystore does beyond the contract: history, clocks, threads and sockets of its own."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest

from dacc_core.errors import Compacted, KeystoreUnavailable
from dacc_core.keystore.base import Change, PutKey, Watch
from dacc_core.keystore.shared import StoreDeadline
from dacc_core.keystore.sqlite.store import SqliteKeystore
from dacc_core.keystore.sqlite.tables import BootClock

Collect = Callable[[Watch, int], list[Change]]
Woken = Callable[[Watch], list[str]]


class MakeClock(Protocol):
    def __call__(self, boot: str = "this boot") -> BootClock: ...


def test_what_was_written_is_there_when_opened_again(path: Path) -> None:
    store = SqliteKeystore.create(path)
    revision = store.txn([], [PutKey("a", b"1")]).revision
    store.close()
    again = SqliteKeystore.open(path)
    assert (again.read("a").items[0].value, again.range("").revision) == (b"1", revision)
    again.close()


def test_a_watch_resumes_after_the_store_was_closed(path: Path, collect: Collect) -> None:
    store = SqliteKeystore.create(path)
    seen = store.txn([], [PutKey("a", b"")]).revision
    revision = store.txn([], [PutKey("b", b"")]).revision
    store.close()
    again = SqliteKeystore.open(path)
    assert [change.key for change in collect(again.watch("", seen), revision)] == ["b"]
    again.close()


def test_every_commit_is_synced(store: SqliteKeystore) -> None:
    with store._connections.lend(StoreDeadline(5)) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_history_is_trimmed_now_and_then(path: Path) -> None:
    store = SqliteKeystore.create(path, history=20)
    for _ in range(100):
        store.txn([], [PutKey("a", b"")])
    with closing(sqlite3.connect(path)) as database:
        kept = database.execute("SELECT min(revision), max(revision), count(*) FROM log").fetchone()
    store.close()
    assert kept[1] == 100
    assert 20 <= kept[2] <= 40


def test_a_watcher_behind_the_trimmed_history_gets_an_error(path: Path, collect: Collect) -> None:
    store = SqliteKeystore.create(path, history=20)
    behind = store.watch("", 0)
    for _ in range(100):
        store.txn([], [PutKey("a", b"")])
    with pytest.raises(Compacted):
        behind.next(0)
    assert len(collect(store.watch("", 85), 100)) == 15
    store.close()


def test_the_lease_of_an_earlier_boot_has_ended(path: Path, hand_clock: MakeClock, collect: Collect) -> None:
    before = SqliteKeystore.create(path, clock=hand_clock("boot 1"))
    lease = before.grant(3600)
    revision = before.txn([], [PutKey("alive/n1", b"", lease), PutKey("kept", b"")]).revision
    before.close()
    after = SqliteKeystore.open(path, clock=hand_clock("boot 2"))
    assert collect(after.watch("", revision), revision + 1) == [Change("alive/n1", None, revision + 1)]
    assert [item.key for item in after.range("").items] == ["kept"]
    assert not after.renew(lease)
    after.close()


def test_a_lease_outlives_the_object_that_granted_it(path: Path) -> None:
    first = SqliteKeystore.create(path)
    lease = first.grant(60)
    first.txn([], [PutKey("a", b"", lease)])
    first.close()
    second = SqliteKeystore.open(path)
    assert second.renew(lease)
    assert second.read("a").items
    second.close()


def test_leases_end_by_the_machines_clock(store: SqliteKeystore) -> None:
    store.txn([], [PutKey("a", b"", store.grant(0.2))])
    assert store.read("a").items
    time.sleep(0.25)
    assert not store.read("a").items


def test_a_waiting_watcher_sees_an_expiry_that_no_call_brought_about(store: SqliteKeystore) -> None:
    revision = store.txn([], [PutKey("a", b"", store.grant(0.2))]).revision
    watch = store.watch("", revision)
    changes: list[Change] = []
    deadline = time.monotonic() + 3
    while not changes and time.monotonic() < deadline:
        batch = watch.next(3)
        changes += batch.changes if batch else ()
    assert changes == [Change("a", None, revision + 1)]


def test_idle_polling_writes_nothing(store: SqliteKeystore) -> None:
    watch = store.watch("", store.txn([], [PutKey("a", b"", store.grant(60))]).revision)
    watch.next(0)
    wal = Path(f"{store.where}-wal")
    before = (wal.stat().st_size, wal.stat().st_mtime_ns)
    watch.next(0.3)
    store.range("")
    assert (wal.stat().st_size, wal.stat().st_mtime_ns) == before


def test_a_watcher_goes_on_while_another_holds_the_lock_and_a_lease_is_due(store: SqliteKeystore) -> None:
    revision = store.txn([], [PutKey("a", b"", store.grant(0.1))]).revision
    watch = store.watch("", revision)
    with closing(sqlite3.connect(store.where, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(0.15)
        batch = watch.next(0)
    assert batch is not None
    assert batch.changes == ()


def test_reading_respects_its_deadline_when_it_must_expire_first(store: SqliteKeystore) -> None:
    store.txn([], [PutKey("a", b"", store.grant(0.1))])
    with closing(sqlite3.connect(store.where, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(0.15)
        with pytest.raises(KeystoreUnavailable, match=r"locked by another process for 0\.2 s"):
            store.range("", timeout=0.2)


def test_one_listener_serves_all_watches(store: SqliteKeystore) -> None:
    before = threading.active_count()
    watches = [store.watch(prefix, 0) for prefix in "abcdef"]
    assert threading.active_count() == before + 1
    assert len(_sockets(store)) == 1
    assert len(watches) == 6


def test_a_store_that_watches_nothing_has_no_thread_and_no_socket(store: SqliteKeystore) -> None:
    before = threading.active_count()
    store.txn([], [PutKey("a", b"")])
    assert threading.active_count() == before
    assert _sockets(store) == []


def test_closing_leaves_no_thread_socket_or_descriptor(path: Path) -> None:
    threads, descriptors = threading.active_count(), _descriptors()
    store = SqliteKeystore.create(path)
    store.watch("", 0).next(0)
    store.txn([], [PutKey("a", b"")])
    store.close()
    assert (threading.active_count(), _descriptors()) == (threads, descriptors)
    assert sorted(entry.name for entry in path.parent.rglob("*")) == ["keystore.db", "wake"]


def test_a_commit_wakes_the_watchers_of_its_own_process(store: SqliteKeystore, woken: Woken) -> None:
    watch = store.watch("", 0)
    threading.Timer(0.1, store.txn, ([], [PutKey("a", b"")])).start()
    assert woken(watch) == ["a"]


def test_two_objects_in_one_process_wake_each_other(store: SqliteKeystore, woken: Woken) -> None:
    other = SqliteKeystore.open(store.where)
    watch = store.watch("", 0)
    threading.Timer(0.1, other.txn, ([], [PutKey("a", b"")])).start()
    assert woken(watch) == ["a"]
    other.close()


def test_the_socket_of_a_dead_watcher_is_removed(store: SqliteKeystore) -> None:
    dead = Path(store.where).parent / "wake" / "dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(store._wake.address("dead"))
    assert dead.exists()
    store.txn([], [PutKey("a", b"")])
    assert not dead.exists()


def test_without_wake_ups_changes_are_seen_by_polling(store: SqliteKeystore, monkeypatch: pytest.MonkeyPatch, collect: Collect) -> None:
    other = SqliteKeystore.open(store.where)
    monkeypatch.setattr(type(other._wake), "wake_all", lambda self, own: None)
    watch = store.watch("", 0)
    assert [change.key for change in collect(watch, other.txn([], [PutKey("a", b"")]).revision)] == ["a"]
    other.close()


def test_a_socket_that_cannot_be_made_costs_promptness_only(
    store: SqliteKeystore, caplog: pytest.LogCaptureFixture, collect: Collect
) -> None:
    (Path(store.where).parent / "wake").rmdir()
    with caplog.at_level(logging.WARNING):
        watch = store.watch("", 0)
    assert "other processes' changes are seen up to 1 s late" in caplog.text
    assert [change.key for change in collect(watch, store.txn([], [PutKey("a", b"")]).revision)] == ["a"]


def test_more_threads_than_pooled_connections_may_call_at_once(store: SqliteKeystore) -> None:
    barrier = threading.Barrier(16)
    done: list[int] = []

    def work(number: int) -> None:
        barrier.wait()
        store.range("")
        done.append(store.txn([], [PutKey(f"k{number}", b"")]).revision)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(1, 17))


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _sockets(store: SqliteKeystore) -> list[str]:
    return [socket.name for socket in (Path(store.where).parent / "wake").iterdir()]
