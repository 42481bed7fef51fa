"""How the observed state of a session changes: by a step that begins, by its outcome, by what is concluded from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..errors import DaccError, HostLost, HostUnreachable
from ..names import fold, minus, shorten, union
from ..registry.records import Buffer, Event, Failure, Running, Session, Status
from ..values import Progress
from ..verbs import goals
from .plan import Step

MAX_EVENTS = 60
"""Events kept in a session's timeline; older ones make room."""
EVENT_TEXT = 400
"""Characters of an event's hosts, and of its error: many events are kept, and a set of hosts may have as many as a record can take."""

GAVE_UP_TEXT = 400
"""Characters of why a teardown was given up."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How a step ended. ``hosts``: the outcome per compute node; ``unsure``: a command may still run.

    ``state``, ``capacity``: what create returned.
    """

    error: DaccError | None = None
    hosts: Mapping[str, DaccError | None] = field(default_factory=dict)
    state: Mapping[str, Any] | None = None
    capacity: int = 0
    progress: Progress = field(default_factory=Progress)
    mover_left: bool = False
    unsure: bool = False


def expect_staging(session: Session, status: Status) -> Status:
    """Staging that the request asks for counts as pending from the beginning."""
    request = session.request
    changed: dict[str, Any] = {}
    if request.stage_in and status.stage_in == "none":
        changed["stage_in"] = "pending"
    if request.stage_out and status.stage_out == "none":
        changed["stage_out"] = "pending"
    return msgspec.structs.replace(status, **changed) if changed else status


def adopt(status: Status, host: str, incarnation: str) -> Status:
    """The status as that of another coordinator, or of the same one with a new fencing token: the generation is higher."""
    return msgspec.structs.replace(status, coordinator=host, incarnation=incarnation, generation=status.generation + 1)


def begin(step: Step, status: Status, *, at: float) -> Status:
    """The status while a step's effects may be under way."""
    changed: dict[str, Any] = {"running": Running(step=step.kind, hosts=step.hosts, started=at, boots=dict(step.boots))}
    match step.kind:
        case "create":
            changed["filesystem"] = "creating"
        case "delete":
            changed["filesystem"] = "deleting"
        case "stage_in" | "stage_out":
            # Only a copy that has begun before may go on where it was.
            again = getattr(status, step.kind) not in ("none", "pending")
            changed |= {step.kind: "running", "mover": step.mover, "progress": status.progress if again else Progress()}
            changed["buffers"] = _mounted(step)
        case "mount":
            # What nodes write from now on is not what a copy that failed has finished of the same files.
            changed |= {"touched": union(status.touched, step.targets), "used": True, "progress": Progress(), "buffers": _mounted(step)}
            if status.stage_out == "done":  # what was copied out before is not what nodes write from now on
                changed["stage_out"] = "pending"
    return msgspec.structs.replace(status, **changed)


def _mounted(step: Step) -> tuple[Buffer, ...]:
    """The persistent volumes that a step is about to mount.

    They are recorded because a buffer may be destroyed in a hurry while jobs use it: its records are gone then, its mounts perhaps not.
    """
    return tuple(
        Buffer(token=buffer.token, volume=buffer.volume, provider_state=status.provider_state)
        for buffer, status in step.buffers
        if buffer.volume is not None
    )


def finish(step: Step, status: Status, outcome: StepOutcome, *, at: float) -> Status:  # noqa: C901 - a table of the steps
    """The status that a step's outcome shows, successful or not. What a failure means is :mod:`.policy`'s to judge."""
    changed: dict[str, Any] = {"running": None, "events": _with_event(step, status, outcome, at)}
    done = outcome.error is None
    match step.kind:
        case "create" if done:
            returned = {"provider_state": dict(outcome.state or {}), "capacity": outcome.capacity}
            changed |= {"filesystem": "ready", "boots": _boots(status), **returned}
        case "restore" if done:
            changed["boots"] = status.boots | _boots(status)
        case "delete" if done:
            changed |= {"filesystem": "absent", "provider_state": {}, "capacity": 0, "boots": {}}
        case "stage_in" | "stage_out":
            reported = done or outcome.progress != Progress()  # a copy that failed early has reported nothing, and changed nothing
            changed |= {step.kind: "done" if done else "failed", "progress": outcome.progress if reported else status.progress}
            if not outcome.mover_left:
                changed["mover"] = ""
        case "mount":
            changed["mounts"] = union(status.mounts, _succeeded(outcome))
        case "unmount":
            changed |= _unmounted(status, outcome)
        case "unmount_mover" if done or is_gone(outcome.error):
            changed["mover"] = ""
            if not done:
                changed["dirty"] = union(status.dirty, status.mover)
        case "evict" if done:
            changed["evicted"] = True
    return msgspec.structs.replace(status, **changed)


def _boots(status: Status) -> dict[str, str]:
    return status.running.boots if status.running else {}


def is_gone(error: DaccError | None) -> bool:
    """Whether a host cannot be reached at all. One that was lost in the middle is fenced, and the step tried again."""
    return isinstance(error, HostUnreachable) and not isinstance(error, HostLost)


def _succeeded(outcome: StepOutcome) -> str:
    return fold(host for host, error in outcome.hosts.items() if error is None)


def _unmounted(status: Status, outcome: StepOutcome) -> dict[str, str]:
    # A node that cannot be reached does not hold a job's end up: it is written down as dirty and its own prolog cleans it.
    lost = fold(host for host, error in outcome.hosts.items() if is_gone(error))
    away = union(_succeeded(outcome), lost)
    return {
        "touched": minus(status.touched, away),
        "mounts": minus(status.mounts, away),
        "dirty": minus(union(status.dirty, lost), _succeeded(outcome)),
    }


def _with_event(step: Step, status: Status, outcome: StepOutcome, at: float) -> tuple[Event, ...]:
    started = status.running.started if status.running else at
    error = str(outcome.error) if outcome.error else ""
    acted = status.running.hosts if status.running else ""
    where = shorten(step.targets or acted or status.mover, EVENT_TEXT)
    event = Event(at=at, what=step.kind, host=where, seconds=round(at - started, 3), error=error[:EVENT_TEXT])
    return (*status.events, event)[-MAX_EVENTS:]


def note(status: Status, what: str, at: float, *, error: str = "", host: str = "") -> Status:
    """The status with one more line in the timeline."""
    event = Event(at=at, what=what, error=error[:EVENT_TEXT], host=host)
    return msgspec.structs.replace(status, events=(*status.events, event)[-MAX_EVENTS:])


def reach(session: Session, status: Status) -> Status:
    """Nothing is left to do: the goal is reached, unless it failed."""
    if goals.failed(session, status):
        return status
    return msgspec.structs.replace(status, observed_revision=session.goal_revision, failure=None)


def clear_old_failure(session: Session, status: Status) -> Status:
    """After a success an error of an earlier goal is no longer one."""
    if status.failure is not None and not goals.failed(session, status):
        return msgspec.structs.replace(status, failure=None)
    return status


def fail(session: Session, status: Status, error: DaccError, step: str) -> Status:
    """The goal as failed: nothing more is tried until a verb sets a new one."""
    failure = Failure(kind=error.kind, text=str(error), step=step, retryable=error.retryable)
    return msgspec.structs.replace(status, failure=failure, failed_revision=session.goal_revision)


def give_up(status: Status, why: str) -> Status:
    """A teardown that does not end by itself any more; what was under way is not waited for."""
    return msgspec.structs.replace(status, running=None, gave_up=why[:GAVE_UP_TEXT])


def state_name(session: Session | None, status: Status) -> str:
    """The session's state in data-acc's words, for people."""
    if session is None:
        return "bricks_deleted"
    if status.stage_out == "done":
        return "data_out_complete"
    if status.mounts and status.mounts == status.touched:
        return "mount_complete"
    if status.used and not status.touched:
        return "unmount_complete"
    if status.stage_in == "done":
        return "data_in_complete"
    if status.filesystem == "ready" or (session.volume is None and status.observed_revision):
        return "bricks_provisioned"
    return "registered"
