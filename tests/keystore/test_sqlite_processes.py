"""Several processes on one SQLite keystore: none loses a write, each is woken, and a kill at any moment harms nothing."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dacc_core.keystore.base import Item, PutKey, Watch
from dacc_core.keystore.sqlite.store import SqliteKeystore

StartChild = Callable[..., subprocess.Popen[str]]


def line(child: subprocess.Popen[str]) -> Any:
    assert child.stdout is not None
    return json.loads(child.stdout.readline())


def is_consistent(path: Path) -> bool:
    """Whether the items are what the log says, replayed over nothing."""
    with closing(sqlite3.connect(path)) as database:
        (intact,) = database.execute("PRAGMA integrity_check").fetchone()
        revision, compacted = database.execute("SELECT revision, compacted FROM meta").fetchone()
        items = dict(database.execute("SELECT key, mod_revision FROM items"))
        log = database.execute("SELECT revision, key, value IS NOT NULL FROM log ORDER BY revision").fetchall()
    replayed = {key: mod_revision for key, mod_revision in items.items() if mod_revision <= compacted}
    for number, key, exists in log:
        replayed.pop(key, None)
        if exists:
            replayed[key] = number
    revisions = sorted({number for number, _, _ in log})
    return intact == "ok" and items == replayed and revisions == list(range(compacted + 1, revision + 1))


def test_no_increment_by_compare_and_swap_is_lost_among_processes(store: SqliteKeystore, start_child: StartChild) -> None:
    store.txn([], [PutKey("counter", b"0")])
    children = [start_child("count", store.where, 100) for _ in range(4)]
    for child in children:
        child.communicate(timeout=60)
    assert [child.returncode for child in children] == [0] * 4
    assert store.read("counter").items == (Item("counter", b"400", 401),)


def test_a_watcher_is_woken_by_another_process(store: SqliteKeystore, start_child: StartChild, woken: Callable[[Watch], list[str]]) -> None:
    watch = store.watch("", 0)
    child = start_child("put", store.where, "a", "b")
    assert woken(watch) == ["a", "b"]
    child.communicate(timeout=30)


def test_watchers_in_other_processes_see_every_change(store: SqliteKeystore, start_child: StartChild) -> None:
    children = [start_child("watch", store.where) for _ in range(2)]
    assert [line(child) for child in children] == ["watching"] * 2
    for number in range(20):
        store.txn([], [PutKey(f"k{number}", b"")])
    assert [[line(child) for _ in range(20)] for child in children] == [[f"k{number}" for number in range(20)]] * 2


def test_the_socket_of_a_killed_watcher_is_removed_by_the_next_commit(store: SqliteKeystore, start_child: StartChild) -> None:
    child = start_child("watch", store.where)
    line(child)
    wake = Path(store.where).parent / "wake"
    assert len(list(wake.iterdir())) == 1
    child.kill()
    child.wait()
    store.txn([], [PutKey("a", b"")])
    assert list(wake.iterdir()) == []


@pytest.mark.parametrize(("moment", "expected"), [("before_commit", []), ("after_commit", ["a", "b"])])
def test_a_kill_at_the_commit_leaves_all_or_nothing(
    store: SqliteKeystore, path: Path, start_child: StartChild, moment: str, expected: list[str]
) -> None:
    child = start_child("put", path, "a", "b", failpoint=f"keystore.sqlite.{moment}:kill")
    child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL
    assert [item.key for item in store.range("").items] == expected
    assert is_consistent(path)
    assert store.txn([], [PutKey("c", b"")]).revision == (2 if expected else 1)


def test_a_commit_wakes_watchers_although_the_caller_fails_after_it(store: SqliteKeystore, start_child: StartChild) -> None:
    watch = store.watch("", 0)
    child = start_child("put", store.where, "a", failpoint="keystore.sqlite.after_commit:error")
    batches = iter(lambda: watch.next(10), None)
    assert next(batch for batch in batches if batch.changes).changes[0].key == "a"
    child.communicate(timeout=30)


def test_a_process_that_hangs_in_a_commit_costs_others_their_deadline_only(store: SqliteKeystore, start_child: StartChild) -> None:
    start_child("put", store.where, "a", failpoint="keystore.sqlite.before_commit:hang")
    held_by_child(store)
    assert store.range("", timeout=0.5).items == ()


def held_by_child(store: SqliteKeystore) -> None:
    deadline = time.monotonic() + 10
    with closing(sqlite3.connect(store.where, timeout=0, isolation_level=None)) as probe:
        while time.monotonic() < deadline:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return
            probe.execute("ROLLBACK")
            time.sleep(0.01)
    raise AssertionError("the child did not reach its commit")


@pytest.mark.parametrize("history", [10_000, 50], ids=["whole log", "trimmed log"])
def test_kills_at_random_moments_lose_nothing_that_was_answered(path: Path, start_child: StartChild, history: int) -> None:
    SqliteKeystore.create(path).close()
    chance = random.Random(20)
    for _ in range(10):
        child = start_child("churn", path, history)
        line(child)
        time.sleep(chance.uniform(0, 0.08))
        child.kill()
        output, _ = child.communicate()
        answered = max([0, *(int(text) for text in output.split("\n")[:-1])])
        store = SqliteKeystore.open(path)
        snapshot = store.range("")
        store.close()
        assert snapshot.revision >= answered
        assert is_consistent(path)


def test_a_forked_child_opens_the_store_anew(store: SqliteKeystore, ask_child: Callable[..., Any]) -> None:
    status, keys = ask_child("fork", store.where)
    assert (status, keys) == (0, ["before", "child", "parent"])
