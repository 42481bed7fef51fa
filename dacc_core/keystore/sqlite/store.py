"""The embedded keystore: one SQLite file shared by the processes of one machine.

Beside the file ``keystore.db`` lie SQLite's own ``-wal`` and ``-shm`` and the directory ``wake``, with a socket for each
watching process. The file must be on a local filesystem, and every program that uses it must be able to write there.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ...errors import Compacted, KeystoreUnavailable
from ...failpoints import failpoint
from ..base import DEFAULT_TIMEOUT, Batch, Compare, Item, Op, Snapshot, TxnResult, Watch
from ..shared import StoreDeadline, check_ops, check_ttl
from . import files, tables
from .connections import Connections, is_lock_timeout
from .tables import BootClock, WriteTransaction
from .watch import ChangeSignal, SqliteWatch, WakeDirectory, WakeListener

HISTORY = 10_000
# Readers never wait for writers; this is for the moments in which SQLite recovers its log after a crash.
READ_GRACE = 0.25


class SqliteKeystore:
    """A store in the file ``where``: :meth:`create` a new one, :meth:`open` one that exists.

    Threads may share an object. A forked child must open its own: the inherited one refuses every call.
    ``history`` is how many revisions stay for watches to resume from.
    """

    def __init__(self, path: Path, clock: BootClock | None, history: int) -> None:
        self.where = str(path)
        self._history = history
        self._connections = Connections(path)
        self._signal = ChangeSignal()
        self._lifetime = threading.Lock()  # against a watch that is begun while the store is closed
        self._listener: WakeListener | None = None
        self._closed = False
        try:
            self._clock = clock or BootClock()
            with self._connections.reading(StoreDeadline(DEFAULT_TIMEOUT)) as database:
                tables.read_state(database, self._clock)
            self._wake = WakeDirectory(path.parent / files.WAKE_DIRECTORY)
        except OSError as error:
            self._connections.close()
            raise files.unavailable(path, error) from error
        except KeystoreUnavailable:
            self._connections.close()
            raise

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], group: str | int | None = None, *, clock: BootClock | None = None, history: int = HISTORY
    ) -> Self:
        """Create an empty store and open it; ``AlreadyExists`` when there is a file.

        With a ``group`` its members share the store (directory 2770, file 0660), without one it is the user's own.
        A directory that exists and is not empty keeps its mode.
        """
        file = Path(path).absolute()
        files.create_store(file, group)
        return cls(file, clock, history)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, clock: BootClock | None = None, history: int = HISTORY) -> Self:
        """Open the store that exists; ``KeystoreMissing`` when there is none."""
        return cls(Path(path).absolute(), clock, history)

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """The items of these keys that exist, all at one revision."""

        def query(database: sqlite3.Connection) -> tuple[Item, ...]:
            items = (tables.item(database, key) for key in sorted(set(keys)))
            return tuple(item for item in items if item is not None)

        return self._snapshot(query, timeout)

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """All items whose key starts with ``prefix``, all at one revision."""
        return self._snapshot(lambda database: tables.items(database, prefix), timeout)

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """If every compare holds, do every op, at once and durably; else do nothing."""
        check_ops(ops)
        with self._writing(StoreDeadline(timeout)) as transaction:
            current = {compare.key: transaction.item(compare.key) for compare in compares}
            if not all(_holds(compare, current[compare.key]) for compare in compares):
                return TxnResult(False, transaction.revision, current)
            transaction.apply(ops)
            return TxnResult(True, transaction.revision)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Changes under ``prefix`` with a revision greater than ``after_revision``."""
        self._start_listener()
        return SqliteWatch(self._signal, lambda position, deadline: self._poll(prefix, position, deadline), after_revision)

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A new lease that ends ``ttl`` seconds after its last renewal (or with this boot); its number, never 0."""
        check_ttl(ttl)
        with self._writing(StoreDeadline(timeout)) as transaction:
            return transaction.grant(ttl)

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start the lease's ttl anew; ``False`` when the lease has already ended."""
        with self._writing(StoreDeadline(timeout)) as transaction:
            return transaction.renew(lease)

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End a lease now; its keys are deleted. Revoking an ended lease succeeds."""
        with self._writing(StoreDeadline(timeout)) as transaction:
            transaction.end_leases([lease])

    def compact(self, revision: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Forget the history up to and including ``revision``; a watch that still needs it gets ``Compacted``."""
        with self._writing(StoreDeadline(timeout)) as transaction:
            transaction.compact(min(revision, transaction.revision))

    def close(self) -> None:
        """End every watch, the listener's thread and its socket; further calls raise ``KeystoreUnavailable``."""
        with self._lifetime:
            if self._closed:
                return
            self._closed = True
            self._signal.close()
            self._connections.close()
            if self._listener is not None:
                self._listener.close()
            self._wake.close()

    def _snapshot(self, query: Callable[[sqlite3.Connection], tuple[Item, ...]], timeout: float) -> Snapshot:
        deadline = StoreDeadline(timeout)
        self._expire_leases(deadline)
        with self._connections.reading(deadline) as database:
            revision = tables.read_state(database, self._clock).revision
            return Snapshot(query(database), revision)

    def _expire_leases(self, deadline: StoreDeadline) -> None:
        """Delete the keys of ended leases. The state is read first, so that reads and idle watches write only when it is due."""
        if self._read_state(deadline)[1] <= 0:
            with self._writing(deadline):
                pass  # every write transaction begins with that

    def _read_state(self, deadline: StoreDeadline) -> tuple[int, float]:
        with self._connections.reading(deadline) as database:
            state = tables.read_state(database, self._clock)
        return state.revision, state.next_expiry - self._clock.now()

    def _poll(self, prefix: str, position: int, deadline: StoreDeadline) -> Batch:
        batch, due = self._changes(prefix, position, deadline)
        if not due:
            return batch
        try:
            self._expire_leases(deadline)
        except KeystoreUnavailable as error:
            if not is_lock_timeout(error):  # whoever holds the lock has deleted them, too
                raise
        return self._changes(prefix, position, deadline)[0]

    def _changes(self, prefix: str, position: int, deadline: StoreDeadline) -> tuple[Batch, bool]:
        """What was logged since ``position``, and whether a lease has ended whose keys are still there."""
        with self._connections.reading(StoreDeadline(max(deadline.remaining(), READ_GRACE))) as database:
            state = tables.read_state(database, self._clock)
            if position < state.compacted:
                raise Compacted(wanted=position + 1, oldest=state.compacted + 1)
            changes = () if position >= state.revision else tables.changes(database, prefix, position)
            return Batch(changes, max(position, state.revision)), state.next_expiry <= self._clock.now()

    @contextmanager
    def _writing(self, deadline: StoreDeadline) -> Iterator[WriteTransaction]:
        changed = False
        try:
            with self._connections.writing(deadline) as database:
                transaction = WriteTransaction(database, self._clock)
                yield transaction
                transaction.trim(self._history)
                if transaction.touched:
                    failpoint("keystore.sqlite.before_commit")
                    database.execute("COMMIT")
                    changed = transaction.revision != transaction.before.revision
                    failpoint("keystore.sqlite.after_commit")
        finally:
            if changed:
                self._announce()

    def _announce(self) -> None:
        self._signal.announce()
        self._wake.wake_all(own=self._listener.name if self._listener else "")

    def _start_listener(self) -> None:
        with self._lifetime:
            if self._closed:
                raise KeystoreUnavailable(where=self.where, why="it is closed")
            if self._listener is None:
                self._listener = WakeListener(self._wake, self._signal, lambda: self._read_state(StoreDeadline(DEFAULT_TIMEOUT)))


def _holds(compare: Compare, item: Item | None) -> bool:
    return compare.mod_revision == (0 if item is None else item.mod_revision)
