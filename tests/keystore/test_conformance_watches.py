"""What every backend does: watching."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from dacc_core.errors import Compacted
from dacc_core.keystore.base import Batch, Change, DeleteKey, Item, Keystore, PutKey, Watch

Collect = Callable[[Watch, int], list[Change]]


def put(keystore: Keystore, *keys: str) -> int:
    return keystore.txn([], [PutKey(key, b"") for key in keys]).revision


def test_a_watch_tells_of_changes_since_its_revision(keystore: Keystore, collect: Collect) -> None:
    start = put(keystore, "before")
    watch = keystore.watch("", start)
    revision = put(keystore, "after")
    assert collect(watch, revision) == [Change("after", Item("after", b"", revision), revision)]


def test_history_comes_before_news(keystore: Keystore, collect: Collect) -> None:
    start = keystore.range("").revision
    put(keystore, "a")
    put(keystore, "b")
    watch = keystore.watch("", start)
    assert [change.key for change in collect(watch, put(keystore, "c"))] == ["a", "b", "c"]


def test_a_deletion_is_a_change_without_item(keystore: Keystore, collect: Collect) -> None:
    watch = keystore.watch("", put(keystore, "a"))
    revision = keystore.txn([], [DeleteKey("a")]).revision
    assert collect(watch, revision) == [Change("a", None, revision)]


def test_deleting_what_is_absent_is_no_change(keystore: Keystore, collect: Collect) -> None:
    watch = keystore.watch("", put(keystore, "a"))
    keystore.txn([], [DeleteKey("absent")])
    assert [change.key for change in collect(watch, put(keystore, "b"))] == ["b"]


def test_a_watch_tells_of_its_prefix_only(keystore: Keystore, collect: Collect) -> None:
    watch = keystore.watch("a/", keystore.range("").revision)
    for key in ("a", "a/1", "a0", "b", "a/2"):
        revision = put(keystore, key)
    assert [change.key for change in collect(watch, revision)] == ["a/1", "a/2"]


def test_changes_elsewhere_move_the_watcher_on(keystore: Keystore, collect: Collect) -> None:
    watch = keystore.watch("a/", keystore.range("").revision)
    assert collect(watch, put(keystore, "b")) == []


def test_a_revision_comes_whole(keystore: Keystore) -> None:
    watch = keystore.watch("", keystore.range("").revision)
    put(keystore, "a", "b", "c")
    batch = watch.next(5)
    while batch is not None and not batch.changes:
        batch = watch.next(5)
    assert batch is not None
    assert sorted(change.key for change in batch.changes) == ["a", "b", "c"]


def test_changes_come_in_revision_order_without_gaps(keystore: Keystore, collect: Collect) -> None:
    start = keystore.range("").revision
    watch = keystore.watch("", start)

    def write(name: str) -> None:
        for _ in range(25):
            put(keystore, name)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    seen = [change.revision for change in collect(watch, start + 100)]
    for thread in threads:
        thread.join()
    assert seen == list(range(start + 1, start + 101))


def test_a_new_watch_resumes_where_another_stopped(keystore: Keystore, collect: Collect) -> None:
    first = keystore.watch("", keystore.range("").revision)
    seen = put(keystore, "a")
    collect(first, seen)
    first.close()
    revision = put(keystore, "b")
    assert [change.key for change in collect(keystore.watch("", seen), revision)] == ["b"]


def test_watches_do_not_take_changes_from_each_other(keystore: Keystore, collect: Collect) -> None:
    watches = [keystore.watch("", keystore.range("").revision) for _ in range(3)]
    revision = put(keystore, "a")
    assert [[change.key for change in collect(watch, revision)] for watch in watches] == [["a"]] * 3


def test_a_waiting_watcher_is_woken(keystore: Keystore) -> None:
    watch = keystore.watch("", keystore.range("").revision)
    threading.Timer(0.1, put, (keystore, "a")).start()
    batches = iter(lambda: watch.next(5), None)
    assert next(batch for batch in batches if batch.changes).changes[0].key == "a"


def test_a_quiet_store_shows_every_second_that_it_is_alive(keystore: Keystore) -> None:
    revision = put(keystore, "a")
    watch = keystore.watch("", revision)
    for _ in range(2):
        started = time.monotonic()
        assert watch.next(10) == Batch((), revision)
        assert time.monotonic() - started < 1


def test_a_watcher_waits_no_longer_than_its_timeout(keystore: Keystore) -> None:
    watch = keystore.watch("", put(keystore, "a"))
    started = time.monotonic()
    batch = watch.next(0.1)
    assert batch is None or batch.changes == ()
    assert time.monotonic() - started < 0.4


@pytest.mark.parametrize("closed", ["watch", "keystore"])
def test_closing_ends_a_wait(keystore: Keystore, closed: str) -> None:
    watch = keystore.watch("", put(keystore, "a"))
    ended: list[float] = []

    def follow() -> None:
        while watch.next(10) is not None:
            pass
        ended.append(time.monotonic())

    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(0.1)
    started = time.monotonic()
    (watch if closed == "watch" else keystore).close()
    thread.join(5)
    assert ended
    assert ended[0] - started < 1


def test_a_closed_watch_leaves_others_alone(keystore: Keystore, collect: Collect) -> None:
    closed, other = (keystore.watch("", keystore.range("").revision) for _ in range(2))
    closed.close()
    assert closed.next(0) is None
    assert [change.key for change in collect(other, put(keystore, "a"))] == ["a"]


def test_a_watcher_that_needs_compacted_history_gets_an_error(keystore: Keystore, compact: Callable[[int], None]) -> None:
    start = keystore.range("").revision
    for key in "abc":
        revision = put(keystore, key)
    compact(revision)
    watch = keystore.watch("", start)
    for _ in range(2):
        with pytest.raises(Compacted) as caught:
            watch.next(5)
        assert caught.value.fields["wanted"] == start + 1
        # Whether the compacted revision itself is kept is left to the backend.
        assert caught.value.fields["oldest"] in (revision, revision + 1)


def test_a_watcher_that_has_seen_the_compacted_history_goes_on(
    keystore: Keystore, compact: Callable[[int], None], collect: Collect
) -> None:
    watch = keystore.watch("", put(keystore, "a"))
    seen = put(keystore, "b")
    collect(watch, seen)
    compact(seen)
    assert [change.key for change in collect(watch, put(keystore, "c"))] == ["c"]


def test_compaction_takes_no_items(keystore: Keystore, compact: Callable[[int], None]) -> None:
    put(keystore, "a")
    revision = put(keystore, "b")
    compact(revision)
    snapshot = keystore.range("")
    assert ([item.key for item in snapshot.items], snapshot.revision) == (["a", "b"], revision)
    assert put(keystore, "c") == revision + 1


def test_reading_everything_anew_heals_a_compacted_watcher(keystore: Keystore, compact: Callable[[int], None], collect: Collect) -> None:
    compact(put(keystore, "a"))
    snapshot = keystore.range("")
    watch = keystore.watch("", snapshot.revision)
    assert [change.key for change in collect(watch, put(keystore, "b"))] == ["b"]
