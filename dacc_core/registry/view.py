"""The store as one program knows it: typed records in memory, kept current by a watch.

A view is changed by :meth:`View.load` and :meth:`View.apply` only, in one thread. Reading it costs no request.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

import msgspec

from ..keystore.base import Batch, Item, Snapshot
from ..values import Record
from . import keys
from .records import Alive, Allocations, Attachment, BrickHost, Cluster, Counters, History, Pool, Session, Status, VolumeUsage

log = logging.getLogger("dacc.view")
R = TypeVar("R", bound=Record)


class Entry(msgspec.Struct, Generic[R], frozen=True):
    """A record and the revision that wrote it, which a compare needs."""

    record: R
    revision: int


class View:
    """All records by kind and name. ``revision`` is how far the store has been seen."""

    def __init__(self) -> None:
        self.revision = 0
        self._tables: dict[str, dict[str, Entry[Any]]] = {kind: {} for kind in keys.KINDS}
        self._attached: dict[str, set[str]] = defaultdict(set)
        self._free: dict[str, dict[str, tuple[str, ...]]] = {}
        self._owners: dict[str, str] | None = None
        self._totals: Counter[str] | None = None
        self._free_totals: dict[str, int] = {}

    # --- what it holds ---

    @property
    def cluster(self) -> Entry[Cluster] | None:
        """The cluster record, once the first program has made it."""
        return self._tables["cluster"].get("")

    @property
    def counters(self) -> Entry[Counters] | None:
        """The counters, once something was counted."""
        return self._tables["counters"].get("")

    @property
    def pools(self) -> dict[str, Entry[Pool]]:
        """Pools by name."""
        return cast("dict[str, Entry[Pool]]", self._tables["pools"])

    @property
    def hosts(self) -> dict[str, Entry[BrickHost]]:
        """Every host that ever registered, by name."""
        return cast("dict[str, Entry[BrickHost]]", self._tables["hosts"])

    @property
    def alive(self) -> dict[str, Entry[Alive]]:
        """Hosts whose daemon holds its lease."""
        return cast("dict[str, Entry[Alive]]", self._tables["alive"])

    @property
    def allocations(self) -> dict[str, Entry[Allocations]]:
        """Who has which device, by host."""
        return cast("dict[str, Entry[Allocations]]", self._tables["allocations"])

    @property
    def sessions(self) -> dict[str, Entry[Session]]:
        """Sessions by token."""
        return cast("dict[str, Entry[Session]]", self._tables["sessions"])

    @property
    def statuses(self) -> dict[str, Entry[Status]]:
        """What is known of each session, by token."""
        return cast("dict[str, Entry[Status]]", self._tables["status"])

    @property
    def usages(self) -> dict[str, Entry[VolumeUsage]]:
        """How full volumes were when that was last measured, by token; of some nothing is known."""
        return cast("dict[str, Entry[VolumeUsage]]", self._tables["usage"])

    @property
    def attachments(self) -> dict[str, Entry[Attachment]]:
        """Attachments by ``<persistent>/<token>``."""
        return cast("dict[str, Entry[Attachment]]", self._tables["attachments"])

    @property
    def histories(self) -> dict[str, Entry[History]]:
        """What remains of ended sessions, by token."""
        return cast("dict[str, Entry[History]]", self._tables["history"])

    # --- questions ---

    def session(self, token: str) -> Session | None:
        """The session of a token."""
        entry = self.sessions.get(token)
        return entry.record if entry else None

    def status(self, token: str) -> Status:
        """What is known of a session; a new one has the default facts."""
        entry = self.statuses.get(token)
        return entry.record if entry else Status()

    def users_of(self, persistent: str) -> tuple[str, ...]:
        """The tokens of the jobs attached to a persistent session."""
        return tuple(sorted(self._attached.get(persistent, ())))

    def revision_of(self, kind: str, name: str = "") -> int:
        """The revision to compare with: 0 when the record is absent."""
        entry = self._tables[kind].get(name)
        return entry.revision if entry else 0

    def is_alive(self, host: str, incarnation: str) -> bool:
        """Whether this very incarnation of a host's daemon holds its lease."""
        entry = self.alive.get(host)
        return entry is not None and entry.record.incarnation == incarnation

    def owners_on(self, host: str) -> dict[str, str]:
        """The tokens of the sessions that have bricks on a host, by device."""
        if self._owners is None:
            sessions = (entry.record for entry in self.sessions.values())
            self._owners = {session.volume.name: session.token for session in sessions if session.volume}
        taken = self.allocations[host].record.taken if host in self.allocations else {}
        return {device: self._owners.get(volume, "") for device, volume in taken.items()}

    def free_devices(self, host: str, pool: str) -> tuple[str, ...]:
        """Devices of a pool on a host that a claim may take now, in the host's order."""
        if host not in self._free:
            self._free[host] = self._count_free(host)
        return self._free[host].get(pool, ())

    def quantity(self, pool: str) -> tuple[int, int]:
        """Bricks of a pool: (all that are registered, free)."""
        if self._totals is None:  # what is registered hardly ever changes, and is asked for by every poll and submit
            self._totals = Counter(brick.pool for entry in self.hosts.values() for brick in entry.record.bricks)
        if pool not in self._free_totals:  # every session that waits for bricks asks again and again
            self._free_totals[pool] = sum(len(self.free_devices(host, pool)) for host in self.hosts)
        return self._totals[pool], self._free_totals[pool]

    def _count_free(self, host: str) -> dict[str, tuple[str, ...]]:
        facts, held = self.hosts.get(host), self.allocations.get(host)
        if facts is None or held is None or host not in self.alive or held.record.draining:
            return {}
        busy = held.record.taken.keys() | held.record.quarantined.keys()
        free: dict[str, list[str]] = defaultdict(list)
        for brick in facts.record.bricks:
            if brick.device not in busy:
                free[brick.pool].append(brick.device)
        return {pool: tuple(devices) for pool, devices in free.items()}

    # --- changes ---

    def load(self, snapshot: Snapshot) -> None:
        """Forget everything and hold what the snapshot holds."""
        for table in self._tables.values():
            table.clear()
        self._attached.clear()
        self._free.clear()
        self._free_totals.clear()
        self._totals = self._owners = None
        for item in snapshot.items:
            self._put(item)
        self.revision = snapshot.revision

    def apply(self, batch: Batch) -> set[tuple[str, str]]:
        """Take in a batch of the watch; the (kind, name) of everything it changed."""
        changed = set()
        for change in batch.changes:
            if change.revision <= self.revision:
                continue
            changed.add(keys.split(change.key))
            if change.item is None:
                self._drop(change.key)
            else:
                self._put(change.item)
        self.revision = max(self.revision, batch.revision)
        return changed

    def _put(self, item: Item) -> None:
        kind, name = keys.split(item.key)
        if kind not in self._tables:
            return
        try:
            record = keys.decode(item.key, item.value)
        except msgspec.MsgspecError as error:
            log.error("unreadable record", extra={"key": item.key, "why": str(error)})
            return
        self._tables[kind][name] = Entry(record, item.mod_revision)
        self._index(kind, name, present=True)

    def _drop(self, full: str) -> None:
        kind, name = keys.split(full)
        if kind in self._tables and self._tables[kind].pop(name, None) is not None:
            self._index(kind, name, present=False)

    def _index(self, kind: str, name: str, *, present: bool) -> None:
        if kind in ("hosts", "alive", "allocations"):
            self._free.pop(name, None)
            self._free_totals.clear()
            if kind == "hosts":
                self._totals = None
        elif kind == "sessions":
            self._owners = None
        elif kind == "attachments":
            persistent, _, token = name.partition("/")
            (self._attached[persistent].add if present else self._attached[persistent].discard)(token)


def names(entries: Iterable[str]) -> str:
    """Names as a readable list."""
    return ", ".join(sorted(entries))
