"""What happens to sessions as events for the observers of provider packages."""

from __future__ import annotations

import time
from typing import Any

from ...lifecycle import effects as fx
from ...lifecycle.transitions import StepOutcome, state_name
from ...plugins import Observers
from ...registry import keys
from ...registry.records import Session, Status
from ...registry.view import View
from ...verbs import goals
from .events import Known, Observer

CHANGED = "dacc_session_changed"
FINISHED = "dacc_step_finished"


class Announcer(Observer):
    """Tells ``observers`` of the sessions that ``host`` coordinates: of a change each observer in the cluster hears once."""

    def __init__(self, observers: Observers, host: str) -> None:
        self._observers, self._host = observers, host

    @property
    def following(self) -> bool:
        """Whether a loaded package observes sessions."""
        return self._observers.wants(CHANGED)

    def step(self, order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> None:
        """A step has ended."""
        if self._observers.wants(FINISHED):
            self._observers.tell(FINISHED, {"time": time.time(), **_identity(order.session), **_step(order, outcome, seconds)})

    def changed(self, before: Known, after: Known) -> None:
        """What is known of a session was the one and is the other."""
        session = after[0] or before[0]
        if session is None or self._host not in (after[1].coordinator, before[1].coordinator if after[0] is None else ""):
            return
        event = _facts(*after)
        if event != _facts(*before) or before[1].coordinator != after[1].coordinator:
            self._observers.tell(CHANGED, {"time": time.time(), **_identity(session), **event})


def known(view: View, event: fx.Event) -> dict[str, Known]:
    """What the view knows, before it takes the event in, of the sessions that the event concerns."""
    if not isinstance(event, fx.Watched):
        return {}
    concerned = (keys.split(change.key) for change in event.batch.changes)
    return {token: known_of(view, token) for kind, token in concerned if kind in ("sessions", "status")}


def known_of(view: View, token: str) -> Known:
    """What the view knows of a session."""
    return view.session(token), view.status(token)


def _identity(session: Session) -> dict[str, Any]:
    volume = session.volume
    return {
        "session": session.token,
        "id": session.id,
        "kind": session.kind,
        "owner": session.request.owner,
        "pool": volume.pool if volume else "",
        "provider": volume.provider if volume else "",
        "volume": volume.name if volume else "",
        "capacity": volume.capacity if volume else 0,
    }


def _facts(session: Session | None, status: Status) -> dict[str, Any]:
    failure = status.failure if session is not None and goals.failed(session, status) else None
    return {
        "goal": session.goal.verb if session else "",
        "state": state_name(session, status),
        "filesystem": status.filesystem,
        "stage_in": status.stage_in,
        "stage_out": status.stage_out,
        "mounts": status.mounts,
        "error": failure.kind if failure else "",
        "reason": failure.text if failure else "",
    }


def _step(order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> dict[str, Any]:
    running = order.status.running
    return {
        "step": order.step.kind,
        "hosts": order.step.targets or (running.hosts if running else ""),
        "seconds": round(seconds, 3),
        "error": outcome.error.kind if outcome.error else "",
        "reason": str(outcome.error or ""),
        "files": outcome.progress.files,
        "bytes": outcome.progress.bytes,
    }
