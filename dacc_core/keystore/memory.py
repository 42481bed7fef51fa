"""A keystore in one process's memory: for tests and simulations, and as the plainest reading of the contract."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from ..errors import Compacted, KeystoreUnavailable, NotFound
from .base import (
    DEFAULT_TIMEOUT,
    Batch,
    Change,
    Compare,
    Item,
    Op,
    PutKey,
    Snapshot,
    TxnResult,
    Watch,
)
from .shared import HEARTBEAT, StoreDeadline, check_ops, check_ttl


@dataclass(slots=True)
class _MemoryLease:
    ttl: float
    ends: float
    keys: set[str] = field(default_factory=set)


class MemoryKeystore:
    """Plain dicts under one lock.

    Leases follow ``clock``. Keys of an ended lease are deleted when the next call starts, or by :meth:`expire`, which a
    simulation calls after it advanced its clock. The history that watches read is kept until :meth:`compact`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, where: str = "memory") -> None:
        self.where = where
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._items: dict[str, Item] = {}
        self._revision = 0
        self._compacted = 0
        self._log: list[tuple[Change, ...]] = []  # entry i is revision _compacted + 1 + i
        self._leases: dict[int, _MemoryLease] = {}
        self._last_lease = 0
        self._next_expiry = inf  # no lease ends before this; a renewal may leave it too early
        self._closed = False

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """The items of these keys that exist, all at one revision."""
        with self._call(timeout):
            items = (self._items.get(key) for key in sorted(set(keys)))
            return Snapshot(tuple(item for item in items if item is not None), self._revision)

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """All items whose key starts with ``prefix``, all at one revision."""
        with self._call(timeout):
            keys = sorted(key for key in self._items if key.startswith(prefix))
            return Snapshot(tuple(self._items[key] for key in keys), self._revision)

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """If every compare holds, do every op, at once; else do nothing."""
        check_ops(ops)
        with self._call(timeout):
            if not all(self._holds(compare) for compare in compares):
                return TxnResult(False, self._revision, {compare.key: self._items.get(compare.key) for compare in compares})
            self._require_leases(ops)
            self._commit(ops)
            return TxnResult(True, self._revision)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Changes under ``prefix`` with a revision greater than ``after_revision``."""
        with self._call(DEFAULT_TIMEOUT):
            return _MemoryWatch(self, prefix, after_revision)

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A new lease that ends ``ttl`` seconds after its last renewal; its number, never 0."""
        check_ttl(ttl)
        with self._call(timeout):
            self._last_lease += 1
            lease = _MemoryLease(ttl, self._clock() + ttl)
            self._leases[self._last_lease] = lease
            self._next_expiry = min(self._next_expiry, lease.ends)
            return self._last_lease

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start the lease's ttl anew; ``False`` when the lease has already ended."""
        with self._call(timeout):
            granted = self._leases.get(lease)
            if granted is None:
                return False
            granted.ends = self._clock() + granted.ttl
            return True

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End a lease now; its keys are deleted. Revoking an ended lease succeeds."""
        with self._call(timeout):
            if lease in self._leases:
                self._end_leases([lease])

    def expire(self) -> None:
        """Delete the keys of leases that have ended by the clock; every other call begins with that, too."""
        with self._call(DEFAULT_TIMEOUT):
            pass

    def compact(self, revision: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Forget the history up to and including ``revision``; a watch that still needs it gets ``Compacted``."""
        with self._call(timeout):
            last = min(revision, self._revision)
            if last > self._compacted:
                del self._log[: last - self._compacted]
                self._compacted = last

    def close(self) -> None:
        """End every watch; further calls raise ``KeystoreUnavailable``."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def _call(self, timeout: float) -> Iterator[None]:
        if not self._changed.acquire(timeout=max(0.0, timeout)):
            raise KeystoreUnavailable(where=self.where, why=f"busy for {timeout:g} s")
        try:
            if self._closed:
                raise KeystoreUnavailable(where=self.where, why="it is closed")
            self._expire_leases()
            yield
        finally:
            self._changed.release()

    def _expire_leases(self) -> None:
        if self._next_expiry == inf:
            return
        now = self._clock()
        if now >= self._next_expiry:
            self._end_leases([number for number, lease in self._leases.items() if lease.ends <= now])
            self._next_expiry = min((lease.ends for lease in self._leases.values()), default=inf)

    def _end_leases(self, numbers: Iterable[int]) -> None:
        ended = [self._leases.pop(number) for number in numbers]
        self._record([self._delete(key) for lease in ended for key in sorted(lease.keys)])

    def _holds(self, compare: Compare) -> bool:
        item = self._items.get(compare.key)
        return compare.mod_revision == (0 if item is None else item.mod_revision)

    def _require_leases(self, ops: Sequence[Op]) -> None:
        for op in ops:
            if isinstance(op, PutKey) and op.lease and op.lease not in self._leases:
                raise NotFound(why=f"lease {op.lease} of key {op.key} has ended")

    def _commit(self, ops: Sequence[Op]) -> None:
        self._record([self._put(op) if isinstance(op, PutKey) else self._delete(op.key) for op in ops if self._has_effect(op)])

    def _has_effect(self, op: Op) -> bool:
        return isinstance(op, PutKey) or op.key in self._items

    def _put(self, put: PutKey) -> Change:
        revision = self._revision + 1
        item = Item(put.key, bytes(put.value), revision, put.lease)
        self._detach_from_lease(put.key)
        if put.lease:
            self._leases[put.lease].keys.add(put.key)
        self._items[put.key] = item
        return Change(put.key, item, revision)

    def _delete(self, key: str) -> Change:
        self._detach_from_lease(key)
        del self._items[key]
        return Change(key, None, self._revision + 1)

    def _detach_from_lease(self, key: str) -> None:
        old = self._items.get(key)
        lease = self._leases.get(old.lease) if old is not None else None
        if lease is not None:
            lease.keys.discard(key)

    def _record(self, changes: list[Change]) -> None:
        if changes:
            self._revision += 1
            self._log.append(tuple(changes))
            self._changed.notify_all()


class _MemoryWatch:
    def __init__(self, store: MemoryKeystore, prefix: str, after_revision: int) -> None:
        self._store = store
        self._prefix = prefix
        self._position = after_revision
        self._closed = False

    def next(self, timeout: float) -> Batch | None:
        """The next batch; an empty one when nothing came within ``timeout`` (0: at once) or the heartbeat."""
        store = self._store
        deadline = StoreDeadline(min(timeout, HEARTBEAT))
        with store._changed:
            while not (self._closed or store._closed):
                batch = self._poll()
                if batch.changes or not deadline.remaining():
                    return batch
                store._changed.wait(deadline.remaining())
            return None

    def _poll(self) -> Batch:
        store = self._store
        store._expire_leases()
        if self._position < store._compacted:
            raise Compacted(wanted=self._position + 1, oldest=store._compacted + 1)
        revisions = store._log[self._position - store._compacted :]
        self._position = max(self._position, store._revision)
        changes = tuple(change for revision in revisions for change in revision if change.key.startswith(self._prefix))
        return Batch(changes, self._position)

    def close(self) -> None:
        """End the subscription; a ``next`` that waits in another thread returns ``None`` at once."""
        with self._store._changed:
            self._closed = True
            self._store._changed.notify_all()
