"""What the memory keystore adds for simulations."""

from __future__ import annotations

import time

from dacc_core.keystore.base import Batch, PutKey
from dacc_core.keystore.memory import MemoryKeystore


def test_expire_deletes_what_has_ended_by_the_clock() -> None:
    now = [0.0]
    store = MemoryKeystore(lambda: now[0])
    store.txn([], [PutKey("a", b"", store.grant(10))])
    watch = store.watch("", 1)
    now[0] = 10.0
    store.expire()
    assert watch.next(0).changes[0].item is None  # type: ignore[union-attr]


def test_asking_without_time_never_waits() -> None:
    store = MemoryKeystore()
    watch = store.watch("", 0)
    started = time.monotonic()
    assert [watch.next(0) for _ in range(100)] == [Batch((), 0)] * 100
    assert time.monotonic() - started < 0.5


def test_asking_without_time_returns_all_that_is_new() -> None:
    store = MemoryKeystore()
    watch = store.watch("", 0)
    for key in "abc":
        store.txn([], [PutKey(key, b"")])
    batch = watch.next(0)
    assert batch is not None
    assert ([change.key for change in batch.changes], batch.revision) == (["a", "b", "c"], 3)
    assert watch.next(0) == Batch((), 3)


def test_a_waiting_watcher_sees_an_expiry_that_no_call_brought_about() -> None:
    store = MemoryKeystore()
    store.txn([], [PutKey("a", b"", store.grant(0.1))])
    watch = store.watch("", 1)
    batches = [watch.next(5), watch.next(5)]
    assert [change.item for batch in batches if batch for change in batch.changes] == [None]


def test_several_stores_can_be_told_apart() -> None:
    assert [MemoryKeystore().where, MemoryKeystore(where="node 2").where] == ["memory", "node 2"]
