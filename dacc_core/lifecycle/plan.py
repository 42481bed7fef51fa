"""What to do next for a session: a pure function of its goal and its facts, with an answer for every combination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..names import fold, minus
from ..registry.records import Session, Status
from ..verbs import goals
from ..verbs.goals import owes_stage_out

StepKind = Literal[
    "create",
    "restore",
    "stage_in",
    "mount",
    "unmount",
    "stage_out",
    "unmount_mover",
    "evict",
    "delete",
    "release",
    "keep",
    "quarantine",
    "refuse",
]

STORE_ONLY = frozenset({"release", "keep", "quarantine", "refuse"})
"""Steps without effects on hosts: one transaction each."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``hosts`` (folded) are the compute nodes it concerns; ``reason`` is for people."""

    kind: StepKind
    hosts: str = ""
    reason: str = ""


def plan(session: Session, status: Status, rebooted: str = "", *, detached: bool = False) -> Step | None:
    """The next step towards the session's goal; ``None`` when the goal is met, or failed and waits for a new one.

    ``rebooted`` (folded): brick hosts that were booted since they last served the filesystem. ``detached``: all data of the session
    was in persistent buffers, and those were destroyed, which needed someone to say --hurry.
    """
    if detached and session.kind == "kept":
        return Step("release", reason=_loss(session, detached))  # there is nothing left that could be copied out
    if goals.failed(session, status):
        return None
    if session.goal.filesystem == "absent":
        return _towards_absence(session, status, rebooted, detached)
    return _towards_presence(session, status, rebooted)


def _towards_presence(session: Session, status: Status, rebooted: str) -> Step | None:
    if status.filesystem in ("deleting", "quarantined"):
        return Step("refuse", reason=f"its filesystem is {status.filesystem}")
    if session.volume is not None and status.filesystem != "ready":
        return Step("create")
    if rebooted:
        return Step("restore", hosts=rebooted)
    wanted = session.goal.hosts if session.mountable else ""
    staging = _staging(session, status)
    # Data moves before any compute node has the mount and after the last one gave it back.
    if excess := (status.touched if staging else minus(status.touched, wanted)):
        return Step("unmount", hosts=excess)
    if status.mover and not (staging and _under_way(status, staging)):
        return Step("unmount_mover")
    if staging:
        return staging
    if missing := minus(wanted, status.mounts):
        return Step("mount", hosts=missing)
    return None


def _staging(session: Session, status: Status) -> Step | None:
    goal, request = session.goal, session.request
    if goal.stage_in and request.stage_in and status.stage_in != "done":
        return Step("stage_in")
    if goal.stage_out and request.stage_out and status.stage_out != "done":
        return Step("stage_out")
    return None


def _under_way(status: Status, step: Step) -> bool:
    """Whether the mover's mount is there because this very step runs; otherwise it was left over."""
    return status.running is not None and status.running.step == step.kind


def _towards_absence(session: Session, status: Status, rebooted: str, detached: bool) -> Step:
    owed = owes_stage_out(session, status)
    if status.gave_up:
        return _give_up(session, status, owed=owed and not detached)
    if session.goal.evict and not status.evicted:
        return Step("evict")
    if touched := minus(status.touched, fold(session.lost)):
        return Step("unmount", hosts=touched)
    payment = _pay(session, status) if owed and not detached else None
    if status.mover and status.mover not in session.lost and not (payment and _under_way(status, payment)):
        return Step("unmount_mover")
    if payment:
        # What is deleted anyway need not be served again.
        return Step("restore", hosts=rebooted) if payment.kind == "stage_out" and rebooted else payment
    if session.bricks and status.filesystem in ("creating", "ready", "deleting"):
        return Step("delete")
    return Step("release", reason=_loss(session, owed and detached))


def _loss(session: Session, detached: bool = False) -> str:
    if session.lost:
        return f"its data is lost: brick host {fold(session.lost)} was forgotten"
    return f"its data is lost: persistent buffer {', '.join(session.request.persistent)} was destroyed" if detached else ""


def _give_up(session: Session, status: Status, *, owed: bool) -> Step:
    """A teardown that only a person can finish: bricks go to quarantine, unless they hold data that is still owed."""
    if not owed:
        return Step("quarantine", reason="; ".join(filter(None, (_loss(session), status.gave_up))))
    return Step("refuse" if session.kind == "kept" else "keep", reason=status.gave_up)


def _pay(session: Session, status: Status) -> Step:
    if status.tried_revision < session.goal_revision:
        return Step("stage_out")
    if session.kind == "kept":
        return Step("refuse", reason="its stage-out failed again")
    return Step("keep", reason="its stage-out failed")
