"""The rules of docs/concepts/rules.md, read from the store as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..keystore.base import DeleteKey, Keystore, Op, PutKey
from ..names import KEPT_PREFIX, expand
from ..registry import keys
from ..registry.records import Session, Status
from ..registry.view import View
from .world import World


def broken_rules(view: View) -> Iterator[str]:  # noqa: C901 - a list of the rules
    """Every rule that these records break."""
    owners: dict[str, str] = {}
    for token, entry in view.sessions.items():
        for brick in entry.record.bricks:
            if str(brick) in owners:
                yield f"rule 1: brick {brick} belongs to {owners[str(brick)]} and {token}"
            owners[str(brick)] = entry.record.key
    for host, held in view.allocations.items():
        for device, volume in held.record.taken.items():
            if owners.pop(f"{host}:{device}", None) != volume:
                yield f"rule 2: {host}:{device} is taken by {volume}, which has no such session or brick"
        if held.record.forgotten and (held.record.taken or host in view.hosts):
            yield f"host {host} is forgotten and has {held.record.taken or 'a record'}"
        both = held.record.taken.keys() & held.record.quarantined.keys()
        if both:
            yield f"rule 1: {host}:{sorted(both)} taken and quarantined"
    for place, volume in owners.items():
        yield f"rule 2: volume {volume} has brick {place} without an allocation"
    for token in view.statuses:
        if token not in view.sessions:
            yield f"rule 2: status of {token} outlives its session"
    for name in view.attachments:
        persistent, _, token = name.partition("/")
        if token not in view.sessions:
            yield f"attachment {name} outlives its job"
        if persistent not in view.sessions:
            yield f"attachment {name} outlives its buffer"


class Invariants:
    """Checks that need the store and the world."""

    def __init__(self, store: Keystore, world: World) -> None:
        self._store, self._world = store, world
        self._view = View()
        self._watch = store.watch(keys.PREFIX, 0)
        self._given_up: set[str] = set()  # volumes of sessions that ended in a hurry, or with hosts that were forgotten

    def revision(self) -> int:
        """The revision that has been taken in; every change up to now is."""
        batch = self._watch.next(0)
        if batch is not None:
            self._view.apply(batch)
        return self._view.revision

    def records(self) -> View:
        """The records as they are."""
        return self._view

    def check_writer(self, host: str, incarnation: str, ops: tuple[Op, ...]) -> Iterator[str]:
        """Rule 3, for a write that comes next: a status is written only by its coordinator, whose incarnation is alive; it follows a
        dead one, with a higher generation.
        """
        self.revision()
        for op in ops:
            kind, token = keys.split(op.key)
            if kind == "status" and isinstance(op, PutKey):
                status: Any = keys.decode(op.key, op.value)
                if status.coordinator != host or not status.incarnation.startswith(incarnation):
                    yield f"rule 3: {incarnation} wrote the status of {token}, coordinated by {status.incarnation}"
                elif not self._view.is_alive(host, status.incarnation):
                    yield f"rule 3: {incarnation} wrote the status of {token} without being alive"
                else:
                    yield from self._takeover(token, status)

    def _takeover(self, token: str, status: Status) -> Iterator[str]:
        former = self._view.status(token)
        if not former.coordinator or former.incarnation == status.incarnation:
            return
        if self._view.is_alive(former.coordinator, former.incarnation):
            yield f"rule 3: {status.incarnation} took {token} over from {former.incarnation}, which is alive"
        if status.generation <= former.generation:
            yield f"rule 3: {status.incarnation} took {token} over from {former.incarnation} without a higher generation"

    def check_owed(self, ops: tuple[Op, ...]) -> Iterator[str]:
        """Rule 5, for a write that comes next: a session whose stage-out is owed, wherever its data lies, ends only by being kept.

        Not when nothing is left that could be copied: the buffers that it was in were destroyed by somebody who said --hurry.
        """
        self.revision()
        kept = any(op.key.startswith(keys.key("sessions", KEPT_PREFIX)) for op in ops if isinstance(op, PutKey))
        ended = [keys.split(op.key)[1] for op in ops if isinstance(op, DeleteKey) and keys.split(op.key)[0] == "sessions"]
        for token in () if kept else ended:
            session = self._view.session(token)
            if session is not None and session.volume is not None and (session.goal.hurry or session.lost):
                self._given_up.add(session.volume.name)
            if session is None or session.goal.hurry or session.lost or session.key in self._world.copied_out:
                continue
            held = session.volume is not None or any(token in self._view.users_of(name) for name in session.request.persistent)
            if held and session.request.stage_out and self._view.status(token).used:
                yield f"rule 5: session {token} ends and its stage-out is owed"

    def is_owned(self, volume: str) -> bool:
        """Whether a session has this volume."""
        self.revision()
        sessions = (entry.record for entry in self._view.sessions.values())
        return any(session.volume is not None and session.volume.name == volume for session in sessions)

    def dirty(self, key: str) -> tuple[str, ...]:
        """The nodes that a session is known to have left with its mount."""
        self.revision()
        tokens = [token for token, entry in self._view.sessions.items() if entry.record.key == key]
        return tuple(host for token in tokens for host in expand(self._view.status(token).dirty))

    def may_delete(self, volume: str) -> bool:
        """Rule 5: whether this volume's data may go although it was not staged out."""
        self.revision()
        for entry in self._view.sessions.values():
            session: Session = entry.record
            if session.volume is not None and session.volume.name == volume:
                status: Status = self._view.status(session.token)
                return not session.request.stage_out or session.goal.hurry or status.stage_out == "done"
        return volume in self._given_up  # a command that outlived its session
