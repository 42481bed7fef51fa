"""The verbs on sessions that a front end may ask for: each writes a goal (or joins the same one) and waits for its outcome.

None of them runs a step; the coordinators pursue what is recorded, whoever waits or does not.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from ..errors import (
    BufferInUse,
    Denied,
    DifferentRequest,
    NoSpace,
    NoSuchBuffer,
    NoSuchSession,
    SessionEnding,
    StepFailed,
    Superseded,
    from_record,
)
from ..model import FIRST_PERSISTENT_ID, Attachment, Counters, Eviction, Goal, Request, Session
from . import allocation, goals
from .ops import AskUser, Draft, Pause, Turn, User, Verb, Wait
from .view import View

BARRIER_SECONDS = 60.0
"""A destroy's barrier that is older was left by a crash; the next attach removes it."""


RETURN_SECONDS = 10.0
"""How long a claim that finds no space waits for hosts that are down: Slurm holds a job whose setup fails, and a daemon that was
restarted or taken over is back within a lease."""


BUFFER_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """What a verb sees: the view, the wall clock (seconds since the epoch) and the site's rules.

    ``buffer_wait``: seconds that a claim waits for a persistent buffer that does not exist. ``born_before``: a session that is younger
    (seconds since the epoch) cannot be meant, although it has the token.
    """

    view: View
    now: Callable[[], float]
    max_pre_run_failures: int = 3
    buffer_wait: float = 0.0
    born_before: float = math.inf


@dataclass(frozen=True, slots=True)
class Claim:
    """A session to be made. ``size`` is what to allocate, in bytes: what was asked for plus swap."""

    token: str
    kind: Literal["job", "persistent"]
    request: Request
    size: int


def find(scene: Scene, token: str) -> Verb[Session]:
    """The session of a token. Raises NoSuchSession when the store itself, not only our view of it, has none."""
    while True:
        session = scene.view.session(token)
        if session is not None and session.born > scene.born_before:
            raise NoSuchSession(token=token)
        if session is not None:
            return session
        # Another daemon may have made it a moment ago: an empty transaction brings the view up to the store's revision.
        result = yield Draft(scene.view).expect("sessions", token).commit()
        if result.ok:
            raise NoSuchSession(token=token)


# --- making a session ---


def set_up(scene: Scene, claim: Claim) -> Verb[Session]:
    """Make the session and wait for its filesystem; the same request again resumes, a different one is refused.

    Raises DifferentRequest, NoSpace, NoSuchBuffer, Denied, or what the building of the filesystem raised.
    """
    begun = scene.now()
    for attempt in range(1_000_000):
        session = scene.view.session(claim.token)
        if session is None:
            yield from _check_buffers(scene, claim.request, begun)
            yield Turn()
            try:
                session = yield from _try_claim(scene, claim)
            except NoSpace:
                if scene.now() - begun > RETURN_SECONDS or not _hosts_are_missing(scene.view, claim.request.pool):
                    raise
                yield Pause(RETURN_SECONDS / 20)  # longer than a jitter: nothing but a host's return helps
                continue
        elif session.goal.filesystem == "absent":
            yield Wait(claim.token, _vanished(scene.view, session), "tearing down the former session")
            session = None
        else:
            _check_same(session, claim)
            break
        if session is not None:
            break
        yield Pause(_jitter(claim.token, attempt))
    assert session is not None
    yield from pursue(scene, claim.token, goals.SETUP, goals.built)
    return scene.view.session(claim.token) or session


def _hosts_are_missing(view: View, pool: str) -> bool:
    hosts = (entry.record for entry in view.hosts.values() if entry.record.name not in view.alive)
    return any(brick.pool == pool for host in hosts for brick in host.bricks)


def _jitter(token: str, attempt: int) -> float:
    # Spread by the token, so that claims which met do not meet again; bounded, so that nobody waits long.
    spread = zlib.crc32(f"{token} {attempt}".encode()) % 1000 / 1000
    return float(min(0.001 * 2 ** min(attempt, 6), 0.05) * (0.5 + spread))


def _check_same(session: Session, claim: Claim) -> None:
    old, new = session.request, claim.request
    fields = [name for name in ("owner", "group", "capacity", "pool", "digest") if getattr(old, name) != getattr(new, name)]
    if session.kind != claim.kind:
        fields.append("kind")
    if fields:
        raise DifferentRequest(token=claim.token, what=", ".join(fields) + " differ" + ("s" if len(fields) == 1 else ""))


def _try_claim(scene: Scene, claim: Claim) -> Verb[Session | None]:
    """One attempt at the claim's transaction; ``None`` when another program was quicker at something it touches."""
    view = scene.view
    if view.session(claim.token) is not None:
        return None
    _check_history(scene, claim)
    draft = Draft(view)
    volume = allocation.claim(view, draft, claim.token, claim.request.pool, claim.size)
    session = Session(
        token=claim.token,
        id=_identity(view, draft, claim),
        kind=claim.kind,
        created=int(scene.now()),
        born=scene.now(),
        request=claim.request,
        volume=volume,
        goal=goals.SETUP,
    )
    draft.put(session, "sessions", claim.token)
    for name in claim.request.persistent:
        _attach(scene, draft, name, claim.token)
    result = yield draft.commit()
    return session if result.ok else None


def _identity(view: View, draft: Draft, claim: Claim) -> int:
    # Federated Slurm clusters put their own number above bit 26 of a job id; such a job's session is counted like a buffer's.
    if claim.kind == "job" and int(claim.token) < FIRST_PERSISTENT_ID:
        return int(claim.token)
    counters = view.counters.record if view.counters else Counters()
    draft.put(msgspec.structs.replace(counters, persistent=counters.persistent + 1), "counters")
    return max(counters.persistent, FIRST_PERSISTENT_ID)


def _check_history(scene: Scene, claim: Claim) -> None:
    # Slurm forgets how often pre_run failed at each teardown (dw.c deletes the bb_job and its retry_cnt), so a job that cannot
    # start would be requeued for ever; failing setup makes Slurm hold it.
    entry = scene.view.histories.get(claim.token)
    if entry is not None and entry.record.pre_run_failures >= scene.max_pre_run_failures:
        why = entry.record.status or "see the history of the session"
        text = (
            f"pre_run failed {entry.record.pre_run_failures} times in a row, so the job is held instead of being requeued for ever "
            f"(dacc retry {claim.token} lets it try again): {why}"
        )
        raise StepFailed(step="setup", token=claim.token, why=text)


def _check_buffers(scene: Scene, request: Request, begun: float) -> Verb[None]:
    user: User | None = None
    for name in request.persistent:
        session = yield from _find_buffer(scene, name, begun)
        if session.request.owner != request.owner and user is None:
            user = yield AskUser(uid=request.owner)
        _check_access(session, request, user)
        yield Wait(name, _usable(scene, name), "waiting for the persistent buffer")


def _find_buffer(scene: Scene, name: str, begun: float) -> Verb[Session]:
    """The session of a buffer, which the job that makes it may bring a moment later than the job that uses it."""
    while True:
        try:
            session = yield from find(scene, name)
        except NoSuchSession:
            if scene.now() - begun >= scene.buffer_wait:
                raise NoSuchBuffer(name=name) from None
            yield Pause(BUFFER_POLL_SECONDS)
            continue
        if session.kind != "persistent":
            raise NoSuchBuffer(name=name)
        return session


def _usable(scene: Scene, name: str) -> Callable[[], bool | None]:
    def ready() -> bool | None:
        session, status = scene.view.session(name), scene.view.status(name)
        if session is None or session.goal.filesystem == "absent":
            raise NoSuchBuffer(name=name)
        if goals.failed(session, status) and status.failure is not None:
            raise from_record(status.failure.kind, status.failure.text)
        return goals.built(session, status) or None

    return ready


def _check_access(session: Session, request: Request, user: User | None) -> None:
    shared = session.request.shared_group
    member = user is not None and shared in user.group_names
    if session.request.owner != request.owner and not (shared and member and session.request.mode & 0o050):
        why = f"it belongs to uid {session.request.owner}" + (f" and is shared with group {shared} only" if shared else "")
        raise Denied(who=f"uid {request.owner}", what=f"use persistent buffer {session.token}", why=why)


def _attach(scene: Scene, draft: Draft, name: str, token: str) -> None:
    session = scene.view.session(name)
    if session is None or session.goal.filesystem == "absent":
        raise NoSuchBuffer(name=name)
    if session.ending and scene.now() - session.ending < BARRIER_SECONDS:
        raise SessionEnding(token=name)
    if session.ending:
        draft.put(msgspec.structs.replace(session, ending=0.0), "sessions", name)
    draft.expect("sessions", name)
    draft.put(Attachment(persistent=name, token=token, since=scene.now()), "attachments", f"{name}/{token}")


# --- wishing something of a session ---


def pursue(scene: Scene, token: str, wish: Goal, enough: goals.Enough) -> Verb[None]:
    """Wish facts of a session and wait until ``enough`` of them is true.

    Writes nothing when it is true already, joins the same goal in progress, and gives a failed one a new try.
    Raises NoSuchSession, SessionEnding, Superseded, or the error of the step that failed.
    """
    seq = yield from _record(scene, token, wish, enough)
    if seq is not None:
        session = scene.view.session(token)
        yield Wait(token, _outcome(scene.view, session, token, wish, seq, enough), wish.verb)


def _record(scene: Scene, token: str, wish: Goal, enough: goals.Enough) -> Verb[int | None]:
    """The sequence number of the wish, recorded or joined; ``None`` when there is nothing to wait for."""
    for attempt in range(1_000_000):
        session = yield from find(scene, token)
        if session.goal.filesystem == "absent" and wish.filesystem == "ready":
            raise SessionEnding(token=token)
        status = scene.view.status(token)
        if enough(session, status):
            return None
        if _same(session.goal, wish) and not goals.failed(session, status):
            return session.goal_seq
        seq = session.goal_seq + 1
        result = yield Draft(scene.view).put(msgspec.structs.replace(session, goal=wish, goal_seq=seq), "sessions", token).commit()
        if result.ok:
            return seq
        yield Pause(_jitter(token, attempt))
    raise AssertionError("unreachable")


def _same(old: Goal, new: Goal) -> bool:
    if old.filesystem == new.filesystem == "absent":
        return old.hurry or not new.hurry  # a teardown in a hurry is not slowed down
    return msgspec.structs.replace(old, verb=new.verb) == new


def _outcome(view: View, born: Session | None, token: str, wish: Goal, seq: int, enough: goals.Enough) -> Callable[[], bool | None]:
    def ready() -> bool | None:
        session, status = view.session(token), view.status(token)
        if session is None or (born is not None and session.born != born.born):
            raise Superseded(verb=wish.verb, token=token, by="teardown")
        if status.done_seq >= seq or enough(session, status):
            return True
        if status.failed_seq >= seq and status.failure is not None:
            raise from_record(status.failure.kind, status.failure.text)
        if session.goal_seq > seq and goals.contrary(session.goal, wish):
            raise Superseded(verb=wish.verb, token=token, by=session.goal.verb)
        return None

    return ready


# --- ending a session ---


def tear_down(scene: Scene, token: str, *, hurry: bool) -> Verb[None]:
    """Wish the session gone and wait until it is. Raises NoSuchSession for an unknown token, BufferInUse for a buffer in use."""
    session = yield from find(scene, token)
    wish = goals.gone(hurry=hurry)
    if session.kind == "persistent":
        evict = yield from _barrier(scene, token, hurry=hurry)
        wish = msgspec.structs.replace(wish, evict=evict)
    try:
        yield from _record(scene, token, wish, lambda *_: False)
    except NoSuchSession:
        return
    yield Wait(token, _vanished(scene.view, session), "tearing down")


def _barrier(scene: Scene, name: str, *, hurry: bool) -> Verb[tuple[Eviction, ...]]:
    """Keep new jobs from attaching, then look who is attached: anyone there withdraws the barrier, or is evicted in a hurry."""
    if not (yield from raise_barrier(scene, name)):
        return ()
    users = scene.view.users_of(name)
    if users and not hurry:
        yield from withdraw_barrier(scene, name)
        raise BufferInUse(name=name, job=", ".join(users))
    touched = ((user, scene.view.status(user).touched) for user in users)
    evict = tuple(Eviction(token=user, hosts=hosts) for user, hosts in touched if hosts)
    yield from _detach(scene, name)
    return evict


def raise_barrier(scene: Scene, name: str) -> Verb[bool]:
    """Let no new job attach to a buffer; false when it ends already."""
    for attempt in range(1_000_000):
        session = scene.view.session(name)
        if session is None or session.goal.filesystem == "absent":
            return False
        result = yield Draft(scene.view).put(msgspec.structs.replace(session, ending=scene.now()), "sessions", name).commit()
        if result.ok:
            break
        yield Pause(_jitter(name, attempt))
    return True


def withdraw_barrier(scene: Scene, name: str) -> Verb[None]:
    """Let jobs attach to a buffer again."""
    session = scene.view.session(name)
    if session is not None:
        yield Draft(scene.view).put(msgspec.structs.replace(session, ending=0.0), "sessions", name).commit()


def _detach(scene: Scene, name: str) -> Verb[None]:
    """Remove all attachments of a buffer behind its barrier, also while their jobs end and do the same."""
    attempt = 0
    while users := scene.view.users_of(name):
        draft = Draft(scene.view)
        for user in users:
            draft.delete("attachments", f"{name}/{user}")
        result = yield draft.commit()
        if result.ok:
            return
        yield Pause(_jitter(name, attempt))
        attempt += 1


def _vanished(view: View, former: Session) -> Callable[[], bool | None]:
    def ready() -> bool | None:
        session = view.session(former.token)
        return True if session is None or session.born != former.born else None

    return ready


def check_attached(view: View, session: Session) -> None:
    """Before a job starts: everything it uses is still there. Raises NoSuchBuffer."""
    for name in session.request.persistent:
        if session.token not in view.users_of(name) or view.session(name) is None:
            raise NoSuchBuffer(name=name)
