"""The tables of an SQLite keystore, and every statement on them. Each function runs inside a transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import NamedTuple

from ...errors import NotFound
from ..base import Change, Item, Op, PutKey
from ..shared import prefix_end

APPLICATION_ID = 0x64616363  # "dacc" in the file's header
SCHEMA_VERSION = 1

# AUTOINCREMENT: the number of an ended lease is never given again. Values in the log are NULL for a deletion.
SCHEMA = """
BEGIN;
CREATE TABLE meta (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    revision INTEGER NOT NULL,
    compacted INTEGER NOT NULL
);
INSERT INTO meta VALUES (1, 0, 0);
CREATE TABLE items (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    mod_revision INTEGER NOT NULL,
    lease INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX items_of_lease ON items (lease) WHERE lease != 0;
CREATE TABLE log (
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    lease INTEGER NOT NULL,
    PRIMARY KEY (revision, key)
) WITHOUT ROWID;
CREATE TABLE leases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ttl REAL NOT NULL,
    boot TEXT NOT NULL,
    ends REAL NOT NULL
);
COMMIT;
"""

# Compacting once per so many revisions keeps its cost out of most commits.
TRIM_EVERY = 500


class BootClock:
    """Seconds since this boot, sleep included, and which boot it is: what leases in a file are measured by."""

    def __init__(self) -> None:
        self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def now(self) -> float:
        """Seconds since the machine started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class StoreState(NamedTuple):
    """Where the store is. ``next_expiry`` is when the first lease ends (infinite without leases)."""

    revision: int
    compacted: int
    next_expiry: float


_READ_STATE = """
SELECT revision, compacted, (SELECT min(CASE WHEN boot = ? THEN ends ELSE 0 END) FROM leases) FROM meta
"""


def read_state(database: sqlite3.Connection, clock: BootClock) -> StoreState:
    """The store's state; leases of an earlier boot have ended long ago."""
    revision, compacted, next_expiry = database.execute(_READ_STATE, (clock.boot,)).fetchone()
    return StoreState(revision, compacted, inf if next_expiry is None else next_expiry)


def item(database: sqlite3.Connection, key: str) -> Item | None:
    """One key's item, or ``None`` when it is absent."""
    row = database.execute("SELECT key, value, mod_revision, lease FROM items WHERE key = ?", (key,)).fetchone()
    return None if row is None else Item(*row)


def items(database: sqlite3.Connection, prefix: str) -> tuple[Item, ...]:
    """All items under a prefix, in key order."""
    condition, values = _within(prefix)
    rows = database.execute(f"SELECT key, value, mod_revision, lease FROM items WHERE {condition} ORDER BY key", values)  # noqa: S608
    return tuple(Item(*row) for row in rows)


def changes(database: sqlite3.Connection, prefix: str, after_revision: int) -> tuple[Change, ...]:
    """The logged changes under a prefix since a revision, in revision order."""
    condition, values = _within(prefix)
    rows = database.execute(
        f"SELECT key, value, revision, lease FROM log WHERE revision > ? AND {condition} ORDER BY revision, key",  # noqa: S608
        (after_revision, *values),
    )
    return tuple(Change(key, None if value is None else Item(key, value, rev, lease), rev) for key, value, rev, lease in rows)


def _within(prefix: str) -> tuple[str, tuple[str, ...]]:
    end = prefix_end(prefix)
    return ("key >= ?", (prefix,)) if end is None else ("key >= ? AND key < ?", (prefix, end))


class WriteTransaction:
    """A write transaction that has begun: the keys of ended leases are deleted first, then come the caller's changes.

    ``revision`` is the store's latest one, ``touched`` whether there is anything to commit.
    """

    def __init__(self, database: sqlite3.Connection, clock: BootClock) -> None:
        self._database = database
        self._clock = clock
        self.before = read_state(database, clock)
        self.revision = self.before.revision
        self.touched = False
        self._expire_leases()

    def _expire_leases(self) -> None:
        now = self._clock.now()
        if self.before.next_expiry <= now:
            ended = self._database.execute("SELECT id FROM leases WHERE boot != ? OR ends <= ?", (self._clock.boot, now))
            self.end_leases([lease for (lease,) in ended])

    def item(self, key: str) -> Item | None:
        """One key's item, or ``None`` when it is absent."""
        return item(self._database, key)

    def apply(self, ops: Iterable[Op]) -> None:
        """Do every op at one new revision; without effect when nothing changes."""
        revision = self.revision + 1
        changed = [self._put(op, revision) if isinstance(op, PutKey) else self._delete(op.key, revision) for op in ops]
        self._advance(any(changed))

    def _advance(self, changed: bool) -> None:
        if changed:
            self.revision += 1
            self.touched = True
            self._database.execute("UPDATE meta SET revision = ?", (self.revision,))

    def _put(self, put: PutKey, revision: int) -> bool:
        if put.lease and not self._has_lease(put.lease):
            raise NotFound(why=f"lease {put.lease} of key {put.key} has ended")
        self._database.execute("REPLACE INTO items VALUES (?, ?, ?, ?)", (put.key, put.value, revision, put.lease))
        self._database.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (revision, put.key, put.value, put.lease))
        return True

    def _delete(self, key: str, revision: int) -> bool:
        if not self._database.execute("DELETE FROM items WHERE key = ?", (key,)).rowcount:
            return False
        self._database.execute("INSERT INTO log VALUES (?, ?, NULL, 0)", (revision, key))
        return True

    def _has_lease(self, lease: int) -> bool:
        return self._database.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).fetchone() is not None

    def grant(self, ttl: float) -> int:
        """Grant a lease; its number."""
        ends = self._clock.now() + ttl
        cursor = self._database.execute("INSERT INTO leases (ttl, boot, ends) VALUES (?, ?, ?)", (ttl, self._clock.boot, ends))
        self.touched = True
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def renew(self, lease: int) -> bool:
        """Start the lease's ttl anew; ``False`` when it has already ended."""
        renewed = self._database.execute("UPDATE leases SET ends = ? + ttl WHERE id = ?", (self._clock.now(), lease)).rowcount > 0
        self.touched |= renewed
        return renewed

    def end_leases(self, leases: Iterable[int]) -> None:
        """End leases and delete their keys, all at one new revision (none when they hold no key)."""
        revision, attached = self.revision + 1, []
        for lease in leases:
            self.touched |= self._database.execute("DELETE FROM leases WHERE id = ?", (lease,)).rowcount > 0
            attached += self._database.execute("SELECT key FROM items WHERE lease = ? AND lease != 0", (lease,)).fetchall()
        for (key,) in attached:
            self._delete(key, revision)
        self._advance(bool(attached))

    def compact(self, revision: int) -> None:
        """Forget the history up to and including ``revision``."""
        if revision > self.before.compacted:
            self._database.execute("DELETE FROM log WHERE revision <= ?", (revision,))
            self._database.execute("UPDATE meta SET compacted = ?", (revision,))
            self.touched = True

    def trim(self, history: int) -> None:
        """Compact to the newest ``history`` revisions, when there are enough older ones to be worth it."""
        if self.revision - self.before.compacted > history + min(history, TRIM_EVERY):
            self.compact(self.revision - history)
