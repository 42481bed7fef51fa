"""Connections to one SQLite file: lent to one thread at a time, closed across forks, their errors turned into KeystoreUnavailable."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from pathlib import Path

from ...errors import KeystoreUnavailable
from ..shared import StoreDeadline
from . import files
from .tables import APPLICATION_ID, SCHEMA_VERSION

MAX_IDLE = 8
# The write-ahead log shrinks back to this after a burst.
WAL_SIZE_LIMIT = 16 << 20
# How long a fork waits for the calls of other threads to end.
FORK_SECONDS = 2.0


class _PooledConnection(sqlite3.Connection):
    """A connection with the busy timeout that it has now, in milliseconds."""

    busy_timeout = -1


class Connections:
    """A pool of connections, and the lock by which this process's writers queue.

    SQLite's own waiting for a lock is a sleep with back-off; threads of one process do better with a mutex.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path
        self._identity = files.require_store(path)
        self._available = threading.Condition(threading.Lock())
        self._idle: list[_PooledConnection] = []
        self._lent = 0
        self._unusable = ""
        self._writer = threading.Lock()
        _fork_guard.pools.add(self)

    @contextmanager
    def lend(self, deadline: StoreDeadline) -> Iterator[sqlite3.Connection]:
        """A connection for this thread; SQLite's and the system's errors come out as ``KeystoreUnavailable``."""
        try:
            database = self._take(deadline)
        except (OSError, sqlite3.Error) as error:
            raise self._explain(error, deadline) from error
        healthy = True
        try:
            yield database
        except sqlite3.Error as error:
            healthy = False  # whatever state it is in, the next call gets a new one
            raise self._explain(error, deadline) from error
        finally:
            self._give_back(database, healthy)

    @contextmanager
    def reading(self, deadline: StoreDeadline) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction: all its reads see one state of the store."""
        with self.lend(deadline) as database, _transaction(database, "BEGIN"):
            yield database

    @contextmanager
    def writing(self, deadline: StoreDeadline) -> Iterator[sqlite3.Connection]:
        """A connection in a write transaction, rolled back unless the caller commits it."""
        if not self._writer.acquire(timeout=deadline.remaining()):
            raise self._locked(deadline, "other threads of this process")
        try:
            # A deferred BEGIN could not be upgraded once another process has written: SQLITE_BUSY at once, no waiting.
            with self.lend(deadline) as database, _transaction(database, "BEGIN IMMEDIATE"):
                yield database
        finally:
            self._writer.release()

    def close(self, why: str = "it is closed") -> None:
        """Close what is idle now, and what is lent when it comes back; later calls fail with ``why``."""
        with self._available:
            self._unusable = why
            self._close_idle()

    def _take(self, deadline: StoreDeadline) -> _PooledConnection:
        with self._available:
            if self._unusable:
                raise KeystoreUnavailable(where=self.where, why=self._unusable)
            self._require_same_file()
            self._lent += 1
            database = self._idle.pop() if self._idle else None
        try:
            if database is None:
                return self._connect(deadline)
            _set_busy_timeout(database, _milliseconds(deadline))
            return database
        except BaseException:
            self._give_back(database, healthy=False)
            raise

    def _require_same_file(self) -> None:
        # Without this, a daemon would go on writing into a file that was unlinked, and nobody would see it.
        try:
            same = files.identity(self._path) == self._identity
        except FileNotFoundError:
            same = False
        if not same:
            raise KeystoreUnavailable(where=self.where, why="the file was removed or replaced while it was in use: restart")

    def _connect(self, deadline: StoreDeadline) -> _PooledConnection:
        database = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",  # never creates
            uri=True,
            timeout=deadline.remaining(),
            isolation_level=None,
            check_same_thread=False,
            factory=_PooledConnection,
        )
        try:
            self._require_ours(database)
            database.execute("PRAGMA synchronous = FULL")
            database.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT}")
        except BaseException:
            database.close()
            raise
        return database

    def _require_ours(self, database: sqlite3.Connection) -> None:
        application, version, journal = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version", "journal_mode")
        )
        if application != APPLICATION_ID:
            raise KeystoreUnavailable(where=self.where, why="it is an empty file or another program's database, not a keystore")
        if version != SCHEMA_VERSION:
            why = f"it has schema version {version}, this program knows version {SCHEMA_VERSION}"
            raise KeystoreUnavailable(where=self.where, why=why)
        if journal != "wal":
            raise KeystoreUnavailable(where=self.where, why=f"its journal mode is {journal}, not wal: another program changed it")

    def _give_back(self, database: _PooledConnection | None, healthy: bool) -> None:
        with self._available:
            self._lent -= 1
            keep = healthy and not self._unusable and len(self._idle) < MAX_IDLE
            if database is not None and keep:
                self._idle.append(database)
            elif database is not None:
                _close_quietly(database)
            self._available.notify_all()

    def _explain(self, error: Exception, deadline: StoreDeadline) -> KeystoreUnavailable:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._locked(deadline, "another process")
        return files.unavailable(self._path, error)

    def _locked(self, deadline: StoreDeadline, by: str) -> KeystoreUnavailable:
        return KeystoreUnavailable(where=self.where, why=f"locked by {by} for {deadline.timeout:g} s", locked=True)

    def _close_idle(self) -> None:
        while self._idle:
            _close_quietly(self._idle.pop())

    def before_fork(self) -> None:
        """Close every connection and keep new ones from opening: SQLite's state must not be carried into a child."""
        self._available.acquire()
        self._available.wait_for(lambda: self._lent == 0, FORK_SECONDS)
        self._close_idle()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._available.release()

    def after_fork_in_child(self) -> None:
        """The child opens the store anew."""
        self._available = threading.Condition(threading.Lock())
        self._unusable = "it was opened before a fork: open it anew in the child"


def is_lock_timeout(error: KeystoreUnavailable) -> bool:
    """Whether a call failed only because others held the store until its deadline."""
    return bool(error.fields.get("locked"))


@contextmanager
def _transaction(database: sqlite3.Connection, begin: str) -> Iterator[None]:
    database.execute(begin)
    try:
        yield
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def _milliseconds(deadline: StoreDeadline) -> int:
    """What is left, in steps of 50 ms, so that it is the same for most transactions."""
    return ceil(deadline.remaining() * 20) * 50


def _set_busy_timeout(database: _PooledConnection, milliseconds: int) -> None:
    if database.busy_timeout != milliseconds:  # it would be the slowest statement of a short transaction
        database.execute(f"PRAGMA busy_timeout = {milliseconds}")
        database.busy_timeout = milliseconds


def _close_quietly(database: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        database.close()


class _ForkGuard:
    """Takes every pool through a fork; one fork at a time."""

    def __init__(self) -> None:
        self.pools: weakref.WeakSet[Connections] = weakref.WeakSet()
        self._held: list[Connections] = []
        self._lock = threading.Lock()

    def before(self) -> None:
        self._lock.acquire()
        self._held = list(self.pools)
        for pool in self._held:
            pool.before_fork()

    def in_parent(self) -> None:
        for pool in self._held:
            pool.after_fork_in_parent()
        self._held = []
        self._lock.release()

    def in_child(self) -> None:
        for pool in self._held:
            pool.after_fork_in_child()
        self._held = []
        self._lock = threading.Lock()


_fork_guard = _ForkGuard()
os.register_at_fork(before=_fork_guard.before, after_in_parent=_fork_guard.in_parent, after_in_child=_fork_guard.in_child)
