"""Giving up a host that will not come back: what is lost with it, and the transactions that say so.

The verb writes what verbs may write: goals, allocations, the host's record. The coordinators then end the sessions that had bricks there,
without touching the host. Its bricks leave their sessions in the transaction that gives those the goal to end, so that no brick is ever
without an owner, or has two.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from ..errors import Busy, DaccError, InvalidRequest, NotFound
from ..registry import allocation
from ..registry.records import Allocations, Eviction, Goal, Session
from ..registry.transaction import TransactionBuilder
from ..registry.view import View
from .frontend import PeerCredentials
from .goals import owes_stage_out
from .hosts import check_operator
from .operations import Sleep, Verb
from .sessions import VerbContext, raise_barrier, withdraw_barrier


def losses(view: View, host: str, caller: PeerCredentials) -> dict[str, Any]:
    """What forgetting a host loses, for the person who is to agree. Raises Denied, NotFound, and Busy while it is alive."""
    check_operator(caller, "forget hosts")
    _check(view, host)
    held, facts = view.allocations.get(host), view.hosts[host].record
    return {
        "host": host,
        "bricks": len(facts.bricks),
        "quarantined": dict(held.record.quarantined) if held else {},
        "sessions": [_loss(view, session, host) for session in _sessions_on(view, host)],
    }


def _loss(view: View, session: Session, host: str) -> dict[str, Any]:
    status = view.status(session.token)
    users = view.users_of(session.token)
    owed = owes_stage_out(session, status) or any(
        owes_stage_out(user, view.status(user.token)) for token in users if (user := view.session(token)) is not None
    )
    return {
        "token": session.token,
        "kind": session.kind,
        "owner": session.request.owner,
        "bricks": [brick.device for brick in session.bricks if brick.host == host],
        "elsewhere": sum(brick.host != host for brick in session.bricks),
        "stage_out": "owed" if owed else "done" if status.stage_out == "done" else "not owed" if session.request.stage_out else "not asked",
        "mounts": status.mounts,
        "used_by": list(users),
    }


def forget(context: VerbContext, host: str, caller: PeerCredentials, agreed: Collection[str]) -> Verb[dict[str, Any]]:
    """Forget a dead host and give up the sessions that have bricks there; what was lost.

    ``agreed``: the sessions that the caller knows to be lost; another one there is an error. Raises Denied, NotFound, Busy (the host is
    alive) and InvalidRequest.
    """
    losses(context.view, host, caller)
    _check_agreed(context.view, host, agreed)
    raised: list[str] = []
    try:
        for session in _sessions_on(context.view, host):
            # Without new users of its buffers, those that there are can be told and evicted.
            if session.kind == "persistent" and (yield from raise_barrier(context, session.token)):
                raised.append(session.token)
        lost = losses(context.view, host, caller)
        while not (yield from _forget_some(context, host, agreed)):
            yield Sleep(0.01)
        return lost
    except DaccError:
        for name in raised:
            yield from withdraw_barrier(context, name)
        raise


def _forget_some(context: VerbContext, host: str, agreed: Collection[str]) -> Verb[bool]:
    """One transaction, with as many of the sessions as it may hold; whether the host is forgotten now."""
    view = context.view
    _check(view, host)
    _check_agreed(view, host, agreed)
    sessions = _sessions_on(view, host)
    part = _first_part(view, sessions, context.most_changes)
    draft = TransactionBuilder(view).expect("alive", host)
    for session in part:
        _give_up(view, draft, session, host, context.most_changes)
    if len(part) == len(sessions):
        _remove(view, draft, host, context.now())
    else:
        _put_aside(view, draft, host, {session.token for session in part}, context.now())
    result = yield draft.commit()
    return result.ok and len(part) == len(sessions)


def _put_aside(view: View, draft: TransactionBuilder, host: str, tokens: Collection[str], at: float) -> None:
    """Should the host come back before all of it is forgotten, nothing of these sessions' is free."""
    held = view.allocations[host].record
    owners = {device: token for device, token in view.owners_on(host).items() if token in tokens}
    draft.put(allocation.put_aside(held, owners, (), at), "allocations", host)


def _remove(view: View, draft: TransactionBuilder, host: str, at: float) -> None:
    """The host's records; of one that had bricks stays that none of them may be given out when it comes back."""
    held = view.allocations[host].record if host in view.allocations else Allocations()
    left = allocation.forgotten(held, view.owners_on(host), [brick.device for brick in view.hosts[host].record.bricks], at)
    draft.delete("hosts", host)
    if left.quarantined:
        draft.put(left, "allocations", host)
    else:
        draft.delete("allocations", host)


def _give_up(view: View, draft: TransactionBuilder, session: Session, host: str, most: int) -> None:
    """Add to ``draft`` that a session's bricks on the host are no longer its own, and that it is to end.

    Of its users' attachments, too many for a transaction go when it ends.
    """
    users = view.users_of(session.token)
    for user in users[:most]:
        draft.delete("attachments", f"{session.token}/{user}")
    touched = ((user, view.status(user).touched) for user in users)
    evict = session.goal.evict + tuple(Eviction(token=user, hosts=hosts) for user, hosts in touched if hosts)
    goal = Goal(verb="forget", filesystem="absent", hurry=True, evict=evict)
    given_up = msgspec.structs.replace(session, goal=goal, goal_revision=session.goal_revision + 1, lost=(*session.lost, host))
    draft.put(given_up, "sessions", session.token)


def _sessions_on(view: View, host: str) -> list[Session]:
    entries = (view.sessions[token].record for token in sorted(view.sessions))
    return [session for session in entries if host in session.brick_hosts]


def _first_part(view: View, sessions: list[Session], most: int) -> list[Session]:
    """The first sessions that fit into one transaction, one of them at least."""
    part: list[Session] = []
    ops = 2
    for session in sessions:
        ops += 1 + len(view.users_of(session.token))
        if part and ops > most:
            break
        part.append(session)
    return part


def _check(view: View, host: str) -> None:
    if host in view.alive:
        hint = "forget only a host that will not come back; stop its dacd and wait until its lease has ended"
        raise Busy(why=f"host {host} is alive: {hint}")
    if host not in view.hosts:
        held = view.allocations.get(host)
        why = "has been forgotten already" if held and held.record.forgotten else "is unknown"
        raise NotFound(why=f"host {host} {why}: see dacc hosts")


def _check_agreed(view: View, host: str, agreed: Collection[str]) -> None:
    more = [session.token for session in _sessions_on(view, host) if session.token not in agreed]
    if more:
        raise InvalidRequest(why=f"more is lost with host {host} than was agreed to: {', '.join(more)}; look again")
