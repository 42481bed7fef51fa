"""Verbs for people: finish what is owed, free what is quarantined, look at what there is."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import Denied, InvalidRequest, NotFound
from ..registry.records import History, Session
from ..registry.transaction import TransactionBuilder
from ..registry.view import View
from . import goals, waiting
from . import hosts as brick_hosts
from .frontend import PeerCredentials
from .operations import Sleep, Verb
from .sessions import VerbContext, find, submit_goal, tear_down


def resolve(view: View, name: str) -> str:
    """The token that a person means: a token, a session id, a kept volume's name, or the former token of a kept session.

    Raises NotFound, or InvalidRequest when several sessions are meant.
    """
    tokens = [token for token, entry in view.sessions.items() if name in _names(entry.record)]
    kept = [token for token in tokens if view.sessions[token].record.kind == "kept"]
    if len(tokens) > 1 and kept:
        tokens = kept
    if len(tokens) > 1:
        raise InvalidRequest(why=f"{name} means several sessions: {', '.join(sorted(tokens))}; name one of them")
    if not tokens:
        raise NotFound(why=f"no session is called {name}: see dacc status")
    return tokens[0]


def _names(session: Session) -> tuple[str, ...]:
    volume = session.volume.name if session.volume else ""
    return (session.token, str(session.id), session.origin, volume)


def check_owner(caller: PeerCredentials, session: Session, what: str) -> None:
    """Raises Denied unless the caller owns the session or is trusted."""
    if not caller.trusted and caller.uid != session.request.owner:
        raise Denied(who=f"uid {caller.uid}", what=f"{what} session {session.token}", why=f"it belongs to uid {session.request.owner}")


def look_up(context: VerbContext, name: str, caller: PeerCredentials) -> Verb[Session | History]:
    """A session for its owner or an operator; of one that has ended, what is remembered. Raises NotFound and Denied."""
    try:
        session = yield from find(context, resolve(context.view, name))
    except NotFound:
        ended = context.view.histories.get(name)
        if ended is None or not (caller.trusted or caller.uid == ended.record.owner):
            raise
        return ended.record
    check_owner(caller, session, "look into")
    return session


def stage_out(context: VerbContext, name: str, caller: PeerCredentials) -> Verb[str]:
    """Copy out what a session still owes; a kept one is freed afterwards. Raises Busy while nodes have it, and what the copy raised."""
    session = yield from find(context, resolve(context.view, name))
    check_owner(caller, session, "stage out")
    yield from submit_goal(context, session.token, goals.DATA_OUT, goals.staged_out, goals.check_unmounted)
    if session.kind == "kept":
        yield from tear_down(context, session.token, hurry=False)
    return session.token


def discard(context: VerbContext, name: str, caller: PeerCredentials) -> Verb[str]:
    """Delete what a kept session holds without copying it. Raises InvalidRequest for a session of another kind."""
    session = yield from find(context, resolve(context.view, name))
    check_owner(caller, session, "discard")
    if session.kind != "kept":
        raise InvalidRequest(why=f"session {session.token} is not a kept one: jobs end by scancel, buffers by #BB destroy_persistent")
    yield from tear_down(context, session.token, hurry=True)
    return session.token


def release(context: VerbContext, host: str, device: str, caller: PeerCredentials) -> Verb[tuple[str, ...]]:
    """Free a host's quarantined bricks (or the one named); what was freed. Whoever calls has made sure that they are clean."""
    brick_hosts.check_operator(caller, "release bricks")
    while True:
        entry = context.view.allocations.get(host)
        if entry is None:
            raise NotFound(why=f"host {host} has never registered: see dacc status")
        if device and entry.record.forgotten:
            raise InvalidRequest(why=f"host {host} is forgotten: release all of it, or one brick when it is back")
        freed = tuple(brick for brick in entry.record.quarantined if device in ("", brick))
        if not freed:
            raise NotFound(why=f"host {host} has no such brick in quarantine")
        left = {brick: why for brick, why in entry.record.quarantined.items() if brick not in freed}
        released = msgspec.structs.replace(entry.record, quarantined=left, forgotten=0.0)
        result = yield TransactionBuilder(context.view).put(released, "allocations", host).commit()
        if result.ok:
            return freed
        yield Sleep(0.01)


def retry(context: VerbContext, job: str, caller: PeerCredentials) -> Verb[int]:
    """Forget how often a job's pre_run failed, so that its setup is no longer refused; how often it was."""
    brick_hosts.check_operator(caller, "let a job try again")
    while True:
        entry = context.view.histories.get(job)
        if entry is None or not entry.record.pre_run_failures:
            raise NotFound(why=f"no pre_run of job {job} is remembered to have failed")
        forgiven = msgspec.structs.replace(entry.record, pre_run_failures=0)
        result = yield TransactionBuilder(context.view).put(forgiven, "history", job).commit()
        if result.ok:
            return entry.record.pre_run_failures
        yield Sleep(0.01)


def overview(view: View, caller: PeerCredentials) -> dict[str, Any]:
    """Pools, hosts and sessions, for ``dacc status``. What failed and why may name paths: strangers do not read it."""
    return {
        "cluster": view.cluster.record.id if view.cluster else "",
        "pools": [_pool(view, name) for name in sorted(view.pools)],
        "hosts": [_host(view, name, caller) for name in sorted(view.hosts)],
        "sessions": [_session(view, token, caller) for token in sorted(view.sessions)],
    }


def _pool(view: View, name: str) -> dict[str, Any]:
    total, free = view.quantity(name)
    pool = view.pools[name].record
    return {"name": name, "granularity": pool.granularity, "provider": pool.provider, "bricks": total, "free": free}


def _host(view: View, name: str, caller: PeerCredentials) -> dict[str, Any]:
    held = view.allocations[name].record if name in view.allocations else None
    return {
        "name": name,
        "alive": name in view.alive,
        "draining": bool(held and held.draining),
        "state": brick_hosts.state_of(view, name),
        "bricks": len(view.hosts[name].record.bricks),
        "taken": view.owners_on(name),
        "quarantined": {device: brick_hosts.told_to(caller, why) for device, why in held.quarantined.items()} if held else {},
    }


def _session(view: View, token: str, caller: PeerCredentials) -> dict[str, Any]:
    session, status = view.sessions[token].record, view.status(token)
    stranger = not (caller.trusted or caller.uid == session.request.owner)
    failure = "" if status.failure is None else status.failure.kind if stranger else status.failure.text
    return {
        "token": token,
        "id": session.id,
        "kind": session.kind,
        "owner": session.request.owner,
        "created": session.created,
        "capacity": session.volume.capacity if session.volume else 0,
        "usage": _usage(view, token),
        "goal": session.goal.verb,
        "met": goals.met(session, status),
        "waits_for": waiting.needs(view, session),
        "filesystem": status.filesystem,
        "mounts": status.mounts,
        "running": status.running.step if status.running else "",
        "failure": failure,
    }


def _usage(view: View, token: str) -> dict[str, Any] | None:
    """How full the volume was when it was last measured; ``None``: unknown."""
    entry = view.usages.get(token)
    return msgspec.to_builtins(entry.record) if entry else None


def show(context: VerbContext, name: str, caller: PeerCredentials) -> Verb[dict[str, Any]]:
    """All that is known of a session, for ``dacc show``; of one that has ended, what is remembered."""
    session = yield from look_up(context, name, caller)
    if isinstance(session, History):
        return _remembered(session)
    status = context.view.status(session.token)
    return {
        "token": session.token,
        "outcome": "",
        "session": msgspec.to_builtins(session),
        "status": msgspec.to_builtins(status),
        "events": msgspec.to_builtins(status.events),
        "usage": _usage(context.view, session.token),
        "used_by": list(context.view.users_of(session.token)),
    }


def _remembered(record: History) -> dict[str, Any]:
    outcome = f"{record.outcome}: {record.status}" if record.status else record.outcome
    return {
        "token": record.token,
        "outcome": outcome,
        "session": {},
        "status": {},
        "events": msgspec.to_builtins(record.events),
        "used_by": [],
    }
