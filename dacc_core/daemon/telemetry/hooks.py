"""What happens to sessions, published to the hooks of provider packages."""

from __future__ import annotations

import time
from typing import Any

from ...lifecycle import effects as fx
from ...lifecycle.transitions import StepOutcome, state_name
from ...plugins import Observers
from ...registry.records import Session, Status
from ...verbs import goals
from .events import SessionRecords, TelemetryListener

CHANGED = "dacc_session_changed"
FINISHED = "dacc_step_finished"


class HookPublisher(TelemetryListener):
    """Publishes the changes of the sessions that ``host`` coordinates: each change is published once in the cluster."""

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

    def changed(self, before: SessionRecords, after: SessionRecords) -> None:
        """The records of a session have changed."""
        session = after[0] or before[0]
        if session is None or self._host not in (after[1].coordinator, before[1].coordinator if after[0] is None else ""):
            return
        event = _facts(*after)
        if event != _facts(*before) or before[1].coordinator != after[1].coordinator:
            self._observers.tell(CHANGED, {"time": time.time(), **_identity(session), **event})


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
