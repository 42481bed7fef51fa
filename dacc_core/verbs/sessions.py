"""The verbs on sessions that a front end may ask for: each writes a goal (or joins the same one) and waits for its outcome.

None of them runs a step: the coordinators reconcile what is recorded, whether or not anyone waits.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec

from ..errors import BufferInUse, BufferOwed, NoSuchBuffer, NoSuchSession, SessionEnding, Superseded, from_record
from ..registry.records import Eviction, Goal, Session
from ..registry.transaction import MOST_CHANGES, TransactionBuilder
from ..registry.view import View
from . import goals, waiting
from .operations import Sleep, Verb, Wait
from .subject import Subject

BARRIER_SECONDS = 60.0
"""A destroy's barrier that stays for longer was left by a crash; who waits to attach removes it."""


@dataclass(frozen=True, slots=True)
class VerbContext:
    """What a verb sees: the view, the wall clock (seconds since the epoch, for people) and the site's rules.

    ``buffer_wait``: seconds that a claim waits for a persistent buffer that does not exist. ``subject``: the session that the call is
    about, when any other one that has its token is not meant. ``most_changes``: what one transaction changes at most.
    """

    view: View
    now: Callable[[], float]
    max_pre_run_failures: int = 3
    buffer_wait: float = 0.0
    subject: Subject | None = None
    most_changes: int = MOST_CHANGES


def present(context: VerbContext, token: str) -> Session | None:
    """The session that our view has under a token, if the call can be about it. Raises Unavailable when nobody can say."""
    session = context.view.session(token)
    return session if session is None or context.subject is None or context.subject.may_be(session) else None


def find(context: VerbContext, token: str) -> Verb[Session]:
    """The session of a token. Raises NoSuchSession when the store itself, not only our view of it, has none that can be meant."""
    while True:
        session = present(context, token)
        if session is not None:
            return session
        # Another daemon may have made it a moment ago: an empty transaction brings the view up to the store's revision.
        result = yield TransactionBuilder(context.view).expect("sessions", token).commit()
        if result.ok:
            raise NoSuchSession(token=token)


def is_current(context: VerbContext, token: str) -> Verb[bool]:
    """Whether the session is as our view has it: another daemon may have changed it a moment ago."""
    result = yield TransactionBuilder(context.view).expect("sessions", token).commit()
    return bool(result.ok)


def backoffs(token: str) -> Iterator[Sleep]:
    """The waits between attempts at a transaction that other programs won: growing, jittered by the token, never long."""
    for attempt in itertools.count():
        yield Sleep(min(0.001 * 2 ** min(attempt, 6), 0.05) * (0.5 + spread(token, attempt)))


def spread(token: str, attempt: int) -> float:
    """A number from 0 to 1 of the token's own, so that claims which met do not meet again."""
    return zlib.crc32(f"{token} {attempt}".encode()) % 1000 / 1000


# --- the desired state of a session ---


def submit_goal(
    context: VerbContext, token: str, desired: Goal, satisfied: goals.Satisfied, check: goals.Check = goals.anything
) -> Verb[None]:
    """Write the desired state of a session and wait until the observed state is ``satisfied``.

    Writes nothing when it is already, joins the same goal in progress, and gives a failed one a new try. ``check`` may object to
    what the session is at the moment when the goal is recorded.
    Raises NoSuchSession, SessionEnding, StillWaiting, Superseded, what ``check`` raises, or the error of the step that failed.
    """
    session, revision = yield from _record(context, token, desired, satisfied, check)
    if revision is not None:
        yield Wait(token, _outcome(context.view, session, desired, revision, satisfied), desired.verb)


def _record(
    context: VerbContext, token: str, desired: Goal, satisfied: goals.Satisfied, check: goals.Check = goals.anything
) -> Verb[tuple[Session, int | None]]:
    """The session, and the revision of the goal, recorded or joined; ``None`` when there is nothing to wait for."""
    waits = backoffs(token)
    while True:
        session = yield from find(context, token)
        if session.goal.filesystem == "absent" and desired.filesystem == "ready":
            _settle(context, session)
            raise SessionEnding(token=token)
        status = context.view.status(token)
        check(session, status)
        done = satisfied(session, status)
        if not done and desired.filesystem == "ready":
            waiting.check_waits_no_more(context.view, session)
        joined = _same(session.goal, desired) and not goals.failed(session, status)
        # A teardown counts each time: a setup that waits for the former session's end must know that it is given up, too.
        if done or (joined and desired.filesystem == "ready"):
            if context.subject is not None and not (yield from is_current(context, token)):
                continue  # a call that ends a session succeeds for what the store has, not for what our view was told last
            return _settle(context, session), None if done else session.goal_revision
        revision = session.goal_revision + 1
        changed = msgspec.structs.replace(session, goal=session.goal if joined else desired, goal_revision=revision)
        result = yield TransactionBuilder(context.view).put(changed, "sessions", token).commit()
        if result.ok:
            return _settle(context, session), revision
        yield next(waits)


def _settle(context: VerbContext, session: Session) -> Session:
    if context.subject is not None:
        context.subject.settle(session)
    return session


def _same(old: Goal, new: Goal) -> bool:
    if old.filesystem == new.filesystem == "absent":
        return old.hurry or not new.hurry  # a teardown in a hurry is not slowed down
    return msgspec.structs.replace(old, verb=new.verb) == new


def _outcome(view: View, former: Session, desired: Goal, revision: int, satisfied: goals.Satisfied) -> Callable[[], bool | None]:
    token = former.token

    def ready() -> bool | None:
        session, status = view.session(token), view.status(token)
        if session is None or session.identity != former.identity:
            raise Superseded(verb=desired.verb, token=token, by="teardown")
        if status.observed_revision >= revision or satisfied(session, status):
            return True
        if status.failed_revision >= revision and status.failure is not None:
            raise from_record(status.failure.kind, status.failure.text)
        if session.goal_revision > revision and goals.contrary(session.goal, desired):
            raise Superseded(verb=desired.verb, token=token, by=session.goal.verb)
        return None

    return ready


# --- ending a session ---


def tear_down(context: VerbContext, token: str, *, hurry: bool) -> Verb[None]:
    """Set the goal that the session is gone, and wait until it is.

    Raises NoSuchSession for an unknown token, BufferInUse for a buffer in use.
    """
    if context.subject is None:  # it takes several transactions, which must be about one session
        context = replace(context, subject=Subject())
    session = yield from find(context, token)
    if session.kind == "persistent":
        yield from _destroy(context, token, hurry=hurry)
        if present(context, token) is None:
            return
    try:
        session, _ = yield from _record(context, token, goals.gone(hurry=hurry), lambda *_: False)
    except NoSuchSession:
        return
    yield Wait(token, vanished(context.view, session), "tearing down")


def _destroy(context: VerbContext, name: str, *, hurry: bool) -> Verb[None]:
    """Set the goal that a persistent buffer is gone, while nobody is attached to it.

    Anyone there withdraws the barrier, or is evicted in a hurry.
    """
    evicted: dict[str, Eviction] = {}
    waits = backoffs(name)
    while True:
        if not (yield from raise_barrier(context, name)):
            return
        evicted |= yield from _clear(context, name, hurry=hurry)
        session = present(context, name)
        # Whoever took the barrier for one that a crash has left has written this record: then there may be new users.
        if session is not None and session.ending and not context.view.users_of(name):
            desired = msgspec.structs.replace(goals.gone(hurry=hurry), evict=tuple(evicted.values()))
            changed = msgspec.structs.replace(session, goal=desired, goal_revision=session.goal_revision + 1)
            result = yield TransactionBuilder(context.view).put(changed, "sessions", name).commit()
            if result.ok:
                return
        yield next(waits)


def _clear(context: VerbContext, name: str, *, hurry: bool) -> Verb[dict[str, Eviction]]:
    """Behind the barrier: see that nobody is attached, in a hurry by detaching everybody; what is to be unmounted then."""
    users = context.view.users_of(name)
    if users and not hurry:
        yield from withdraw_barrier(context, name)
        raise _in_use(context.view, name, users)
    touched = {user: context.view.status(user).touched for user in users}
    yield from _detach(context, name)
    return {user: Eviction(token=user, hosts=hosts) for user, hosts in touched.items() if hosts}


def _in_use(view: View, name: str, users: tuple[str, ...]) -> BufferInUse:
    """Why a buffer cannot be destroyed: by jobs that use it, else by what jobs that have ended were promised from it."""
    kept = {user: session.mounted_as for user in users if (session := view.session(user)) and session.kind == "kept"}
    jobs = [user for user in users if user not in kept]
    if jobs:
        return BufferInUse(name=name, job=", ".join(jobs))
    return BufferOwed(name=name, job=", ".join(kept.values()))


def raise_barrier(context: VerbContext, name: str) -> Verb[bool]:
    """Let no new job attach to a buffer; false when it ends already."""
    for wait in backoffs(name):
        session = present(context, name)
        if session is None or session.goal.filesystem == "absent":
            return False
        barred = msgspec.structs.replace(session, ending=context.now())
        result = yield TransactionBuilder(context.view).put(barred, "sessions", name).commit()
        if result.ok:
            _settle(context, session)
            break
        yield wait
    return True


def withdraw_barrier(context: VerbContext, name: str) -> Verb[None]:
    """Let jobs attach to a buffer again."""
    session = present(context, name)
    if session is not None:
        yield TransactionBuilder(context.view).put(msgspec.structs.replace(session, ending=0.0), "sessions", name).commit()


def _detach(context: VerbContext, name: str) -> Verb[None]:
    """Remove all attachments of a buffer behind its barrier, also while their jobs end and do the same."""
    waits = backoffs(name)
    while (users := context.view.users_of(name)) and (session := present(context, name)) is not None and session.ending:
        draft = TransactionBuilder(context.view).expect("sessions", name)
        for user in users[: context.most_changes]:
            draft.delete("attachments", f"{name}/{user}")
        result = yield draft.commit()
        if not result.ok:
            yield next(waits)


def vanished(view: View, former: Session) -> Callable[[], bool | None]:
    """What a :class:`Wait` asks: whether this very session is gone."""

    def ready() -> bool | None:
        session = view.session(former.token)
        return True if session is None or session.identity != former.identity else None

    return ready


def check_attached(view: View, session: Session) -> None:
    """Before a job starts: everything it uses is still there. Raises NoSuchBuffer."""
    for name in session.request.persistent:
        if session.token not in view.users_of(name) or view.session(name) is None:
            raise NoSuchBuffer(name=name)
