"""What a step acts on: its hosts, and the persistent volumes that a job mounts beside its own. Pure."""

from __future__ import annotations

import msgspec

from ..names import expand, fold
from ..registry.records import Buffer, Request, Session, Status
from ..registry.view import View
from .plan import Step

BOOT_ID = 8
"""Characters of a boot's id that tell it from a host's other boots."""


def hosts_of(session: Session, step: Step, mover: str) -> str:
    """Every host on which a step acts (folded): where it must be fenced if its coordinator dies."""
    match step.kind:
        case "create" | "restore" | "delete":
            return fold(session.brick_hosts)
        case "stage_in" | "stage_out" | "unmount_mover":
            return mover
        case "evict":
            return fold(host for eviction in session.goal.evict for host in expand(eviction.hosts))
        case _:
            return step.hosts


def boots_of(view: View, session: Session) -> dict[str, str]:
    """The present boot of each brick host whose daemon tells it; the beginning of its id, since a volume may have thousands of hosts."""
    alive = {host: view.alive[host].record.boot for host in session.brick_hosts if host in view.alive}
    return {host: boot[:BOOT_ID] for host, boot in alive.items() if boot}


def rebooted(view: View, session: Session, status: Status) -> str:
    """The brick hosts (folded) that are up, but were booted since they last served the session's filesystem."""
    if status.filesystem != "ready":
        return ""
    return fold(host for host, boot in boots_of(view, session).items() if status.boots.get(host) != boot)


def detached(view: View, session: Session) -> bool:
    """Whether a session without a filesystem of its own uses none of its persistent buffers any more: they were destroyed in a hurry."""
    names = session.request.persistent
    return session.volume is None and bool(names) and not any(session.token in view.users_of(name) for name in names)


def with_buffers(view: View, session: Session, status: Status, step: Step) -> Status:
    """The facts, with the persistent volumes that the step is about to mount.

    They are written down because a buffer may be destroyed in a hurry while jobs use it: its records are gone then, its mounts perhaps not.
    """
    if step.kind not in ("mount", "stage_in", "stage_out"):
        return status
    found = ((view.session(name), view.status(name)) for name in session.request.persistent)
    buffers = tuple(
        Buffer(token=one.token, volume=one.volume, provider_state=facts.provider_state)
        for one, facts in found
        if one is not None and one.volume is not None
    )
    return msgspec.structs.replace(status, buffers=buffers)


def buffers_of(view: View, session: Session, status: Status, step: Step) -> tuple[tuple[Session, Status], ...]:
    """The persistent sessions that a step needs, each with its facts; one that is gone, as it was when it was mounted."""
    if step.kind == "evict":
        return ()
    known = {buffer.token: buffer for buffer in status.buffers}
    found = []
    # The job of a kept session may run again under its former token: what is mounted at these paths is its, if it uses the same buffer.
    heir = view.session(session.origin) if step.kind == "unmount" and session.kind == "kept" else None
    for name in session.request.persistent:
        if heir is not None and name in heir.request.persistent:
            continue
        one = view.session(name)
        if one is not None and (name not in known or one.volume == known[name].volume):
            found.append((one, view.status(name)))
        elif name in known:
            found.append(_as_it_was(known[name], session))
    return tuple(found)


def _as_it_was(buffer: Buffer, job: Session) -> tuple[Session, Status]:
    request = Request(owner=job.request.owner, group=job.request.group)
    former = Session(token=buffer.token, id=0, kind="persistent", created_at=0.0, request=request, volume=buffer.volume)
    return former, Status(filesystem="ready", provider_state=buffer.provider_state)
