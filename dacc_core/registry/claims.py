"""Making sessions: the claim of bricks for one, and the wait for its filesystem.

A claim is one transaction over the hosts' allocations and the session. etcd refuses more than 128 operations, so a session over more
hosts is claimed in parts: its record has the bricks that it holds so far, and the mark *claiming*, under which no coordinator builds
anything. A crash leaves it like that; the next setup goes on from there, and a teardown gives the bricks back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from ..errors import Denied, DifferentRequest, NoSpace, NoSuchBuffer, NoSuchSession, SessionEnding, StepFailed, from_record
from ..model import FIRST_PERSISTENT_ID, Attachment, Counters, Request, Session
from . import allocation, goals
from .ops import AskUser, Draft, Pause, Turn, User, Verb, Wait
from .verbs import BARRIER_SECONDS, Scene, find, jitter, pursue, tear_down, vanished
from .view import View

RETURN_SECONDS = 10.0
"""How long a claim that finds no space waits for hosts that are down: Slurm holds a job whose setup fails, and a daemon that was
restarted or taken over is back within a lease."""


BUFFER_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Claim:
    """A session to be made. ``size`` is what to allocate, in bytes: what was asked for plus swap."""

    token: str
    kind: Literal["job", "persistent"]
    request: Request
    size: int


def set_up(scene: Scene, claim: Claim) -> Verb[Session]:
    """Make the session and wait for its filesystem; the same request again resumes, a different one is refused.

    Raises DifferentRequest, NoSpace, NoSuchBuffer, Denied, or what the building of the filesystem raised.
    """
    session = yield from _claimed(scene, claim)
    yield from pursue(scene, claim.token, goals.SETUP, goals.built)
    return scene.view.session(claim.token) or session


def _claimed(scene: Scene, claim: Claim) -> Verb[Session]:
    """The session with all its bricks."""
    begun = scene.now()
    for attempt in range(1_000_000):
        session = scene.view.session(claim.token)
        if session is None:
            yield from _check_buffers(scene, claim.request, begun)
        elif session.goal.filesystem == "absent":
            yield Wait(claim.token, vanished(scene.view, session), "tearing down the former session")
            continue
        else:
            _check_same(session, claim)
            if not session.claiming:
                return session
        yield Turn()
        try:
            session = yield from _claim_some(scene, claim)
        except NoSpace:
            if scene.now() - begun > RETURN_SECONDS or not _hosts_are_missing(scene.view, claim.request.pool):
                yield from _roll_back(scene, claim)
                raise
            yield Pause(RETURN_SECONDS / 20)  # longer than a jitter: nothing but a host's return helps
            continue
        if session is None:
            yield Pause(jitter(claim.token, attempt))
        elif not session.claiming:
            return session
    raise AssertionError("unreachable")


def _roll_back(scene: Scene, claim: Claim) -> Verb[None]:
    """The rest of the bricks cannot be had: give back those that were."""
    session = scene.view.session(claim.token)
    if session is not None and session.claiming:
        yield from tear_down(scene, claim.token, hurry=True)


def _hosts_are_missing(view: View, pool: str) -> bool:
    hosts = (entry.record for entry in view.hosts.values() if entry.record.name not in view.alive)
    return any(brick.pool == pool for host in hosts for brick in host.bricks)


def _check_same(session: Session, claim: Claim) -> None:
    old, new = session.request, claim.request
    fields = [name for name in ("owner", "group", "capacity", "pool", "digest") if getattr(old, name) != getattr(new, name)]
    if session.kind != claim.kind:
        fields.append("kind")
    if fields:
        raise DifferentRequest(token=claim.token, what=", ".join(fields) + " differ" + ("s" if len(fields) == 1 else ""))


def _claim_some(scene: Scene, claim: Claim) -> Verb[Session | None]:
    """One transaction of the claim: all of it, or as many hosts' bricks as a transaction holds. The session is *claiming* until the last.

    ``None`` when another program was quicker at something it touches. Whoever calls next goes on from what is recorded.
    """
    session = scene.view.session(claim.token)
    if session is not None and (session.goal.filesystem == "absent" or not session.claiming):
        return None
    draft = Draft(scene.view)
    if session is None:
        _check_history(scene, claim)
        session = _new(scene, draft, claim)
    volume, complete = allocation.claim(scene.view, draft, session, claim.size, scene.most_changes)
    session = msgspec.structs.replace(session, volume=volume, claiming=not complete)
    result = yield draft.put(session, "sessions", claim.token).commit()
    return session if result.ok else None


def _new(scene: Scene, draft: Draft, claim: Claim) -> Session:
    for name in claim.request.persistent:
        _attach(scene, draft, name, claim.token)
    return Session(
        token=claim.token,
        id=_identity(scene.view, draft, claim),
        kind=claim.kind,
        created=int(scene.now()),
        born=scene.now(),
        request=claim.request,
        goal=goals.SETUP,
    )


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
