"""A session in words: what was done, its desired state, and what that waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..registry.records import Event, Goal, History, Session, Status
from ..registry.view import View
from ..sizes import format_size
from ..values import Progress
from ..verbs import goals, waiting
from ..verbs.frontend import PeerCredentials
from ..verbs.operations import Verb
from ..verbs.operators import look_up
from ..verbs.sessions import VerbContext
from .plan import look_around, plan

WORDS = {
    "create": ("built the filesystem", "building the filesystem"),
    "restore": ("brought the filesystem back after a boot", "bringing the filesystem back after a boot"),
    "stage_in": ("copied the data in", "copying the data in"),
    "mount": ("mounted it", "mounting it"),
    "unmount": ("unmounted it", "unmounting it"),
    "stage_out": ("copied the data out", "copying the data out"),
    "unmount_mover": ("unmounted it where data is copied", "unmounting it where data is copied"),
    "evict": ("took it off the nodes of its users", "taking it off the nodes of its users"),
    "delete": ("deleted the filesystem", "deleting the filesystem"),
    "release": ("gave its bricks back", "giving its bricks back"),
    "keep": ("kept the data, which is still owed", "keeping the data, which is still owed"),
    "quarantine": ("put its bricks into quarantine", "putting its bricks into quarantine"),
    "refuse": ("refused", "refusing"),
}
"""Each step as something done, and as something under way."""

_ENDINGS = ("release", "keep", "quarantine")


def why(context: VerbContext, name: str, caller: PeerCredentials) -> Verb[dict[str, Any]]:
    """The timeline of a session for its owner or an operator, also of one that has ended. Raises NotFound and Denied."""
    record = yield from look_up(context, name, caller)
    return ended(record) if isinstance(record, History) else explain(context.view, record, context.now())


def ended(record: History) -> dict[str, Any]:
    """A session that has ended."""
    return {
        "token": record.token,
        "owner": record.owner,
        "outcome": record.outcome,
        "ended": record.ended,
        "reason": record.status,
        "kept": record.kept,
        "pre_run_failures": record.pre_run_failures,
        "events": _lines(record.events),
    }


def explain(view: View, session: Session, now: float) -> dict[str, Any]:
    """A session that there is."""
    status, former = view.status(session.token), view.histories.get(session.token)
    bricks = [str(brick) for brick in session.volume.bricks] if session.volume else []
    begun = Event(at=session.created_at, what="setup")
    return {
        "token": session.token,
        "owner": session.request.owner,
        "kind": session.kind,
        "bricks": bricks,
        "goal": session.goal.verb,
        "desired": desired(session.goal),
        "waits_for": waits_for(view, session, now),
        "used_by": list(view.users_of(session.token)),
        "events": [_line(begun, _beginning(session, bricks)), *_lines(status.events)],
        "before": ended(former.record) if former else None,
    }


def desired(goal: Goal) -> str:
    """The desired state of a goal, in words."""
    if goal.filesystem == "absent":
        return "its end, without copying out what is owed" if goal.hurry else "its end"
    words = ["a filesystem"]
    if goal.stage_in:
        words.append("the data copied in")
    words.append(f"mounted on {goal.hosts}" if goal.hosts else "mounted nowhere")
    if goal.stage_out:
        words.append("the data copied out")
    return ", ".join(words)


def waits_for(view: View, session: Session, now: float) -> str:
    """What must happen before the session's goal is reached, or ``nothing``."""
    status = view.status(session.token)
    if goals.failed(session, status) and status.failure is not None:
        return f"the next call: {session.goal.verb} failed: {status.failure.text}"
    if waiting.needs(view, session):
        return waiting.obstacle(view, session)
    if session.kind == "kept" and goals.met(session, status):
        return f"someone to copy out what is owed (dacc stage-out {session.token}) or to give it up (dacc discard {session.token})"
    if status.coordinator and not view.is_alive(status.coordinator, status.incarnation):
        return f"a living daemon to take it over: the one of {status.coordinator} is gone"
    if not view.alive:
        return "a daemon: none is alive"
    if status.running is not None:
        where = f" on {status.running.hosts}" if status.running.hosts else ""
        since = f", for {max(0.0, now - status.running.started):.0f} s now"
        return WORDS[status.running.step][1] + where + since + _copied(status.progress)
    return _next(view, session, status)


def _next(view: View, session: Session, status: Status) -> str:
    step = plan(session, status, look_around(view, session, status))
    if step is None:
        return "nothing" if status.observed_revision >= session.goal_revision else "its coordinator to record that it is reached"
    last = status.events[-1] if status.events else None
    again = f", again: {last.error}" if last is not None and last.error and last.what == step.kind else ""
    return WORDS[step.kind][1] + (f" on {step.targets}" if step.targets else "") + again


def _copied(progress: Progress) -> str:
    if not progress.files and not progress.bytes:
        return ""
    return f", {progress.files} files and {format_size(progress.bytes)} so far"


def _beginning(session: Session, bricks: list[str]) -> str:
    if session.claiming:
        return f"asked for {format_size(session.wanted)} of pool {session.request.pool}" if session.wanted else "asked for"
    if session.volume is None:
        return "asked for, without bricks of its own"
    return f"got {format_size(session.volume.capacity)} of pool {session.volume.pool}: {', '.join(bricks)}"


def _lines(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [_line(event, sentence(event)) for event in events]


def _line(event: Event, text: str) -> dict[str, Any]:
    return {"at": event.at, "what": event.what, "host": event.host, "seconds": event.seconds, "error": event.error, "text": text}


def sentence(event: Event) -> str:
    """One line of a timeline: what was done where and how long it took, or that it failed and why."""
    done, doing = WORDS.get(event.what, (event.what, event.what))
    if event.what in _ENDINGS:
        return f"{done}: {event.error}" if event.error else done
    where = f" on {event.host}" if event.host else ""
    if event.error:
        return f"{doing}{where} failed after {event.seconds:.1f} s: {event.error}"
    return f"{done}{where} in {event.seconds:.1f} s"
