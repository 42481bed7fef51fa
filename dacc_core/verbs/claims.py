"""Making sessions: the claim of bricks for one, and the wait for its filesystem.

A claim is one transaction over the hosts' allocations and the session. etcd refuses more than 128 operations, so a session over more
hosts is claimed in parts: its record has the bricks that it holds so far, and the mark *claiming*, under which no coordinator builds
anything. A crash leaves it like that; the next setup goes on from there, and a teardown gives the bricks back.

Slurm gives a job's share back to the queue whatever its setup answers, and holds the job when that is an error. So what does not fit now
waits, until shortly before Slurm would end the call, with a record that is *claiming* and has no bricks: Slurm forgets what it is not told
of for a minute. Nobody ends a call that waits but the teardown of its session, after which it must not make the session anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from ..errors import (
    DaccError,
    Denied,
    DifferentRequest,
    NoSuchBuffer,
    NoSuchSession,
    PoolFull,
    SessionEnding,
    StepFailed,
    StillWorking,
    Superseded,
    from_record,
)
from ..registry import allocation
from ..registry.records import FIRST_PERSISTENT_ID, Attachment, Counters, Request, Session
from ..registry.transaction import TransactionBuilder
from ..registry.view import View
from . import goals, waiting
from .operations import AcquireClaimSlot, Sleep, Verb, Wait
from .sessions import BARRIER_SECONDS, VerbContext, backoffs, find, is_current, spread, submit_goal, vanished

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 2.0
"""Seconds between two looks at what a session waits for."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A session to be made. ``size`` is what to allocate, in bytes: what was asked for plus swap."""

    token: str
    kind: Literal["job", "persistent"]
    request: Request
    size: int


@dataclass(slots=True)
class _Effort:
    """One call's way to a session with all its bricks.

    ``mine``: when the session was created that this call made or joined, 0 before. ``user``: the owner, once somebody had to look.
    ``waited``: seconds, as its own pauses count them. ``barriers``: of buffers that are being destroyed, when that was said to have begun,
    and what had been waited when this was seen first.
    """

    context: VerbContext
    claim: Claim
    mine: float = 0.0
    waits: int = 0
    waited: float = 0.0
    barriers: dict[str, tuple[float, float]] = field(default_factory=dict)
    backoffs: Iterator[Sleep] = field(init=False)

    def __post_init__(self) -> None:
        self.backoffs = backoffs(self.claim.token)

    @property
    def session(self) -> Session | None:
        """The session of the token, as it is now."""
        return self.context.view.session(self.claim.token)

    @property
    def unattached(self) -> tuple[str, ...]:
        """The persistent buffers that the session is to use and is not attached to."""
        return waiting.unattached(self.context.view, self.claim.token, self.claim.request)


def set_up(context: VerbContext, claim: Claim) -> Verb[Session]:
    """Make the session and wait for its filesystem; the same request again resumes, a different one is refused.

    What does not fit now is waited for. Raises DifferentRequest, PoolTooSmall and NoSuchPool (it will never fit), StillWaiting, Superseded
    (by a teardown), NoSuchBuffer, Denied, or what the building of the filesystem raised.
    """
    session = yield from _claimed(context, claim)
    yield from submit_goal(context, claim.token, goals.SETUP, goals.built)
    return context.view.session(claim.token) or session


def _claimed(context: VerbContext, claim: Claim) -> Verb[Session]:
    """The session with all its bricks. Without them it stays where it may go on waiting, and is removed where it may not."""
    effort = _Effort(context, claim)
    try:
        return (yield from _claim_all(effort))
    except StillWorking:
        if effort.session is not None and effort.session.claiming:
            raise waiting.error(context.view, effort.session) from None
        raise
    except (DifferentRequest, Superseded):
        raise
    except DaccError:
        yield from withdraw(context, claim.token, effort.mine)
        raise


def _claim_all(effort: _Effort) -> Verb[Session]:
    while True:
        session = yield from _present(effort)
        if session is not None and not session.claiming:
            return session
        if not (yield from _are_usable(effort)):
            yield from _wait(effort, attach=False)
            continue
        yield AcquireClaimSlot()
        if _is_full(effort):
            yield from _wait(effort, attach=True)
            continue
        session = yield from _claim_some(effort)
        if session is None:
            yield next(effort.backoffs)
        elif not session.claiming:
            return session


def _present(effort: _Effort) -> Verb[Session | None]:
    """The session that is to have bricks, if there is one already; a former one that was ending when the call came is waited for."""
    context, claim = effort.context, effort.claim
    while True:
        session = effort.session
        if session is not None and session.goal.filesystem == "absent" and not effort.mine:
            yield Wait(claim.token, _gone(context.view, session), "tearing down the former session")
            continue
        _check_not_ended(effort, session)
        if session is None:
            return None
        _check_same(session, claim)
        if effort.mine or not session.claiming or (yield from is_current(context, claim.token)):
            effort.mine = session.created_at
            return session


def _gone(view: View, former: Session) -> Callable[[], bool | None]:
    """Whether the former session has gone. Raises Superseded when it is torn down once more: that can only be about this call's session."""

    def ready() -> bool | None:
        session = view.session(former.token)
        if session is not None and session.identity == former.identity and session.goal_revision > former.goal_revision:
            raise Superseded(verb=goals.SETUP.verb, token=former.token, by=session.goal.verb)
        return vanished(view, former)()

    return ready


def _check_not_ended(effort: _Effort, session: Session | None) -> None:
    """Raises Superseded when the session of this call has ended: whoever tore it down does not expect another."""
    if effort.mine and (session is None or session.goal.filesystem == "absent" or session.created_at != effort.mine):
        by = session.goal.verb if session is not None and session.goal.filesystem == "absent" else "teardown"
        raise Superseded(verb=goals.SETUP.verb, token=effort.claim.token, by=by)


def _is_full(effort: _Effort) -> bool:
    claim, session = effort.claim, effort.session
    held = len(session.bricks) if session is not None else 0
    return claim.size > 0 and allocation.is_full(effort.context.view, claim.request.pool, claim.size, held)


# --- waiting ---


def _wait(effort: _Effort, *, attach: bool) -> Verb[None]:
    """Wait a while, listed and without bricks: two large sessions must not hold parts that the other one needs."""
    token = effort.claim.token
    yield from _give_back(effort.context, token, effort.mine)
    if not (yield from _list(effort, attach=attach)):
        yield next(effort.backoffs)
        return
    effort.waits += 1
    pause = min(SHORTEST_PAUSE * 1.5 ** min(effort.waits - 1, 10), LONGEST_PAUSE) * (0.75 + 0.5 * spread(token, effort.waits))
    yield Sleep(pause)
    effort.waited += pause


def _list(effort: _Effort, *, attach: bool) -> Verb[bool]:
    """Write the record of the session that waits, if there is none; ``attach`` it to its buffers. Whether that is done."""
    session, names = effort.session, effort.unattached if attach else ()
    if _has_changed(effort):
        return False
    if session is not None and not names:
        return True
    draft = TransactionBuilder(effort.context.view)
    session = session or _new(effort.context, draft, effort.claim)
    try:
        _attach_all(effort.context, draft, names, session.token)
    except SessionEnding:  # somebody wants to destroy a buffer, since the look before: what becomes of that is waited for
        return False
    session = msgspec.structs.replace(session, claiming=True, wanted=effort.claim.size)
    return (yield from _put(effort, draft, session)) is not None


def _has_changed(effort: _Effort) -> bool:
    """Whether there is a session now that was not looked at, or the one that waited does so no more."""
    present = effort.session is not None or effort.mine
    return bool(present) and _waiting(effort.context.view, effort.claim.token, effort.mine) is None


def _put(effort: _Effort, draft: TransactionBuilder, session: Session) -> Verb[Session | None]:
    result = yield draft.put(session, "sessions", session.token).commit()
    if not result.ok:
        return None
    effort.mine = session.created_at
    return session


def _give_back(context: VerbContext, token: str, created_at: float) -> Verb[None]:
    """The rest of the bricks cannot be had: give back those that were."""
    waits = backoffs(token)
    while (session := _waiting(context.view, token, created_at)) is not None and session.volume is not None:
        draft = TransactionBuilder(context.view)
        hosts = session.brick_hosts[-context.most_changes :]
        allocation.release(context.view, draft, tuple(brick for brick in session.bricks if brick.host in hosts))
        left = tuple(brick for brick in session.bricks if brick.host not in hosts)
        volume = msgspec.structs.replace(session.volume, bricks=left) if left else None
        fewer = msgspec.structs.replace(session, volume=volume, wanted=session.wanted or session.volume.capacity)
        result = yield draft.put(fewer, "sessions", token).commit()
        if not result.ok:
            yield next(waits)


def withdraw(context: VerbContext, token: str, created_at: float) -> Verb[None]:
    """Remove the record of a session that waits, of which there is nothing else; one that got its bricks meanwhile stays."""
    yield from _give_back(context, token, created_at)
    waits = backoffs(token)
    while (session := _waiting(context.view, token, created_at)) is not None and session.volume is None:
        draft = TransactionBuilder(context.view).delete("sessions", token).expect("status", token)
        for name in session.request.persistent:
            if token in context.view.users_of(name):
                draft.delete("attachments", f"{name}/{token}")
        result = yield draft.commit()
        if not result.ok:
            yield next(waits)


def _waiting(view: View, token: str, created_at: float) -> Session | None:
    """This very session, while it waits and nobody ends it."""
    session = view.session(token)
    waits = session is not None and session.created_at == created_at and session.claiming and session.goal.filesystem == "ready"
    return session if waits else None


# --- claiming ---


def _check_same(session: Session, claim: Claim) -> None:
    old, new = session.request, claim.request
    fields = [name for name in ("owner", "group", "capacity", "pool", "digest") if getattr(old, name) != getattr(new, name)]
    if session.kind != claim.kind:
        fields.append("kind")
    if fields:
        raise DifferentRequest(token=claim.token, what=", ".join(fields) + " differ" + ("s" if len(fields) == 1 else ""))


def _claim_some(effort: _Effort) -> Verb[Session | None]:
    """One transaction of the claim: all of it, or as many hosts' bricks as a transaction holds. The session is *claiming* until the last.

    ``None`` when another program was quicker at something it touches. Whoever calls next goes on from what is recorded.
    """
    context, claim, session = effort.context, effort.claim, effort.session
    if _has_changed(effort):
        return None
    draft = TransactionBuilder(context.view)
    session = session or _new(context, draft, claim)
    try:
        _attach_all(context, draft, effort.unattached, claim.token)
        volume, complete = allocation.claim(context.view, draft, session, claim.size, context.most_changes)
    except (PoolFull, SessionEnding):  # since the look before
        return None
    session = msgspec.structs.replace(session, volume=volume, claiming=not complete, wanted=0 if complete else claim.size)
    return (yield from _put(effort, draft, session))


def _new(context: VerbContext, draft: TransactionBuilder, claim: Claim) -> Session:
    _check_history(context, claim)
    return Session(
        token=claim.token,
        id=_identity(context.view, draft, claim),
        kind=claim.kind,
        created_at=context.now(),
        request=claim.request,
        goal=goals.SETUP,
    )


def _identity(view: View, draft: TransactionBuilder, claim: Claim) -> int:
    # Federated Slurm clusters put their own number above bit 26 of a job id; such a job's session is counted like a buffer's.
    if claim.kind == "job" and int(claim.token) < FIRST_PERSISTENT_ID:
        return int(claim.token)
    counters = view.counters.record if view.counters else Counters()
    draft.put(msgspec.structs.replace(counters, persistent=counters.persistent + 1), "counters")
    return max(counters.persistent, FIRST_PERSISTENT_ID)


def _check_history(context: VerbContext, claim: Claim) -> None:
    # Slurm forgets how often pre_run failed at each teardown (dw.c deletes the bb_job and its retry_cnt), so a job that cannot
    # start would be requeued for ever; failing setup makes Slurm hold it.
    entry = context.view.histories.get(claim.token)
    if entry is not None and entry.record.pre_run_failures >= context.max_pre_run_failures:
        why = entry.record.status or "see the history of the session"
        text = (
            f"pre_run failed {entry.record.pre_run_failures} times in a row, so the job is held instead of being requeued for ever "
            f"(dacc retry {claim.token} lets it try again): {why}"
        )
        raise StepFailed(step="setup", token=claim.token, why=text)


# --- persistent buffers ---


def _are_usable(effort: _Effort) -> Verb[bool]:
    """Whether all buffers are there that the session is to use. Raises NoSuchBuffer, Denied, or what the building of one raised."""
    for name in effort.unattached:
        session = yield from _find_buffer(effort, name)
        if session is None:
            return False
        _check_access(session, effort.claim.request)
        if not _is_usable(effort.context, name) or (yield from _is_barred(effort, session)):
            return False
    return True


def _find_buffer(effort: _Effort, name: str) -> Verb[Session | None]:
    """The session of a buffer; ``None`` while the job that makes it may still bring it, a moment after the job that uses it."""
    try:
        session = yield from find(effort.context, name)
    except NoSuchSession:
        if effort.waited >= effort.context.buffer_wait:
            raise NoSuchBuffer(name=name) from None
        return None
    if session.kind != "persistent":
        raise NoSuchBuffer(name=name)
    return session


def _is_usable(context: VerbContext, name: str) -> bool:
    session, status = context.view.session(name), context.view.status(name)
    if session is None or session.goal.filesystem == "absent":
        raise NoSuchBuffer(name=name)
    if goals.failed(session, status) and status.failure is not None:
        raise from_record(status.failure.kind, status.failure.text)
    return goals.built(session, status)


def _is_barred(effort: _Effort, session: Session) -> Verb[bool]:
    """Whether a destroy keeps new users from a buffer. A barrier that stays was left by a crash, and is removed.

    How long it stays is counted here: when it was raised is told by another machine's clock.
    """
    name = session.token
    if not session.ending:
        effort.barriers.pop(name, None)
        return False
    raised, since = effort.barriers.get(name, (0.0, 0.0))
    if raised != session.ending:
        effort.barriers[name] = (session.ending, effort.waited)
    elif effort.waited - since >= BARRIER_SECONDS:
        yield TransactionBuilder(effort.context.view).put(msgspec.structs.replace(session, ending=0.0), "sessions", name).commit()
    return True


def _check_access(session: Session, request: Request) -> None:
    if session.request.owner != request.owner:
        why = f"it belongs to uid {session.request.owner}"
        raise Denied(who=f"uid {request.owner}", what=f"use persistent buffer {session.token}", why=why)


def _attach_all(context: VerbContext, draft: TransactionBuilder, names: tuple[str, ...], token: str) -> None:
    for name in names:
        _attach(context, draft, name, token)


def _attach(context: VerbContext, draft: TransactionBuilder, name: str, token: str) -> None:
    session = context.view.session(name)
    if session is None or session.goal.filesystem == "absent":
        raise NoSuchBuffer(name=name)
    if session.ending:
        raise SessionEnding(token=name)
    draft.expect("sessions", name)
    draft.put(Attachment(persistent=name, token=token, since=context.now()), "attachments", f"{name}/{token}")
