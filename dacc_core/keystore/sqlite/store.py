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

from dacc_core.errors import Compacted, KeystoreUnavailable
from dacc_core.failpoints import failpoint
from dacc_core.keystore.base import DEFAULT_TIMEOUT, Batch, Compare, Item, Op, Snapshot, TxnResult, Watch
from dacc_core.keystore.shared import StoreDeadline, check_ops, check_ttl
from dacc_core.keystore.sqlite import files, tables
from dacc_core.keystore.sqlite.connections import Connections, locked
from dacc_core.keystore.sqlite.tables import BootClock, Writing
from dacc_core.keystore.sqlite.watch import Listener, News, SqliteWatch, WakeDirectory

HISTORY = 10_000
# Readers never wait for writers; this is for the moments when SQLite recovers its log after a crash.
READ_GRACE = 0.25


class SqliteKeystore:
    """A store in the file ``where``; make one with :meth:`create`, use one with :meth:`open`.

    Threads may share an object. A forked child must open its own: the inherited one refuses every call.
    ``history`` is how many revisions stay for watches to resume from.
    """

    def __init__(self, path: Path, clock: BootClock | None, history: int) -> None:
        self.where = str(path)
        self._history = history
        self._connections = Connections(path)
        self._news = News()
        self._state = threading.Lock()
        self._listener: Listener | None = None
        self._closed = False
        try:
            self._clock = clock or BootClock()
            with self._connections.reading(StoreDeadline(DEFAULT_TIMEOUT)) as database:
                tables.look(database, self._clock)
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
        """Make an empty store and open it; ``AlreadyExists`` when there is a file.

        With a ``group`` its members share the store (directory 2770, file 0660), without one it is the user's own.
        A directory that exists and is not empty keeps its mode.
        """
        place = Path(path).absolute()
        files.make(place, group)
        return cls(place, clock, history)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, clock: BootClock | None = None, history: int = HISTORY) -> Self:
        """Use the store that is there; ``KeystoreMissing`` when there is none."""
        return cls(Path(path).absolute(), clock, history)

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """The items of these keys that exist, all at one revision."""

        def query(database: sqlite3.Connection) -> tuple[Item, ...]:
            found = (tables.item(database, key) for key in sorted(set(keys)))
            return tuple(item for item in found if item is not None)

        return self._snapshot(query, timeout)

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """All items whose key starts with ``prefix``, all at one revision."""
        return self._snapshot(lambda database: tables.items(database, prefix), timeout)

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """If every compare holds, do every op, at once and durably; else do nothing."""
        check_ops(ops)
        with self._writing(StoreDeadline(timeout)) as writing:
            current = {compare.key: writing.item(compare.key) for compare in compares}
            if not all(_holds(compare, current[compare.key]) for compare in compares):
                return TxnResult(False, writing.revision, current)
            writing.apply(ops)
            return TxnResult(True, writing.revision)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Changes under ``prefix`` with a revision greater than ``after_revision``."""
        self._listen()
        return SqliteWatch(self._news, lambda position, deadline: self._poll(prefix, position, deadline), after_revision)

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A new lease that ends ``ttl`` seconds after its last renewal (or with this boot); its number, never 0."""
        check_ttl(ttl)
        with self._writing(StoreDeadline(timeout)) as writing:
            return writing.grant(ttl)

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start the lease's ttl anew; ``False`` when the lease has already ended."""
        with self._writing(StoreDeadline(timeout)) as writing:
            return writing.renew(lease)

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End a lease now; its keys are deleted. Revoking an ended lease succeeds."""
        with self._writing(StoreDeadline(timeout)) as writing:
            writing.end_leases([lease])

    def compact(self, revision: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Forget the history up to and including ``revision``; a watch that still needs it gets ``Compacted``."""
        with self._writing(StoreDeadline(timeout)) as writing:
            writing.compact(min(revision, writing.revision))

    def close(self) -> None:
        """End every watch, the listener's thread and its socket; further calls raise ``KeystoreUnavailable``."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            self._news.close()
            self._connections.close()
            if self._listener is not None:
                self._listener.close()
            self._wake.close()

    def _snapshot(self, query: Callable[[sqlite3.Connection], tuple[Item, ...]], timeout: float) -> Snapshot:
        deadline = StoreDeadline(timeout)
        self._sweep(deadline)
        with self._connections.reading(deadline) as database:
            revision = tables.look(database, self._clock).revision
            return Snapshot(query(database), revision)

    def _sweep(self, deadline: StoreDeadline) -> None:
        """Delete what has expired. A look comes first, so that reading and idle polling write only when it is due."""
        if self._look(deadline)[1] <= 0:
            with self._writing(deadline):
                pass  # every write transaction begins with the sweep

    def _look(self, deadline: StoreDeadline) -> tuple[int, float]:
        with self._connections.reading(deadline) as database:
            state = tables.look(database, self._clock)
        return state.revision, state.next_end - self._clock.now()

    def _poll(self, prefix: str, position: int, deadline: StoreDeadline) -> Batch:
        batch, due = self._changes(prefix, position, deadline)
        if not due:
            return batch
        try:
            self._sweep(deadline)
        except KeystoreUnavailable as error:
            if not locked(error):  # whoever holds the lock has swept, too
                raise
        return self._changes(prefix, position, deadline)[0]

    def _changes(self, prefix: str, position: int, deadline: StoreDeadline) -> tuple[Batch, bool]:
        """What was logged since ``position``, and whether a lease has ended whose keys are still there."""
        with self._connections.reading(StoreDeadline(max(deadline.remaining(), READ_GRACE))) as database:
            state = tables.look(database, self._clock)
            if position < state.compacted:
                raise Compacted(wanted=position + 1, oldest=state.compacted + 1)
            found = () if position >= state.revision else tables.changes(database, prefix, position)
            return Batch(found, max(position, state.revision)), state.next_end <= self._clock.now()

    @contextmanager
    def _writing(self, deadline: StoreDeadline) -> Iterator[Writing]:
        changed = False
        try:
            with self._connections.writing(deadline) as database:
                writing = Writing(database, self._clock)
                yield writing
                writing.trim(self._history)
                if writing.touched:
                    failpoint("keystore.sqlite.before_commit")
                    database.execute("COMMIT")
                    changed = writing.revision != writing.before.revision
                    failpoint("keystore.sqlite.after_commit")
        finally:
            if changed:
                self._announce()

    def _announce(self) -> None:
        self._news.announce()
        self._wake.wake_all(own=self._listener.name if self._listener else "")

    def _listen(self) -> None:
        with self._state:
            if self._closed:
                raise KeystoreUnavailable(where=self.where, why="it is closed")
            if self._listener is None:
                self._listener = Listener(self._wake, self._news, lambda: self._look(StoreDeadline(DEFAULT_TIMEOUT)))


def _holds(compare: Compare, item: Item | None) -> bool:
    return compare.mod_revision == (0 if item is None else item.mod_revision)
