"""What outcomes and passing time mean for a session's goal: retry, failure, giving up, reached. Pure, but for :class:`Budget`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from ..errors import DaccError, HostLost, HostUnreachable
from ..registry.records import Session, Status
from ..verbs import goals
from . import transitions
from .effects import Rules
from .plan import Step
from .transitions import StepOutcome


def asked(session: Session, status: Status) -> Status:
    """Staging that the request asks for counts as pending from the beginning."""
    request = session.request
    changed: dict[str, Any] = {}
    if request.stage_in and status.stage_in == "none":
        changed["stage_in"] = "pending"
    if request.stage_out and status.stage_out == "none":
        changed["stage_out"] = "pending"
    return msgspec.structs.replace(status, **changed) if changed else status


def reached(session: Session, status: Status) -> Status:
    """Nothing is left to do: the goal is reached, unless it failed."""
    if goals.failed(session, status):
        return status
    return msgspec.structs.replace(status, observed_revision=session.goal_revision, failure=None)


def resigned(step: Step, outcome: StepOutcome, attempts: int, rules: Rules) -> StepOutcome:
    """The outcome; of an unmount that was tried often enough, with nodes that are lost each time as gone.

    What answers there is out of order, or not ours, and would hold the session up for ever: the node stays dirty instead.
    """
    lost = {host: error for host, error in outcome.hosts.items() if isinstance(error, HostLost)}
    if not lost or attempts < rules.attempts or step.kind not in ("unmount", "evict"):
        return outcome
    hosts = dict(outcome.hosts) | {host: HostUnreachable(host=host, why=str(error)) for host, error in lost.items()}
    others = any(error is not None and not transitions.is_gone(error) for error in hosts.values())
    return replace(outcome, hosts=hosts, error=outcome.error if others else None)


def failing(session: Session, known: Status, step: Step, error: DaccError, attempts: int, rules: Rules) -> Status:
    """What a failed step means: the goal failed, or it is given up, or (``known`` itself) the step is tried again."""
    ending = session.goal.filesystem == "absent"
    if step.kind == "stage_out" and ending:
        return msgspec.structs.replace(known, tried_revision=session.goal_revision)
    # Nobody waits for the restore of what was reached before; it goes on until the hosts that were booted are fit again.
    patient = ending or (step.kind == "restore" and known.observed_revision >= session.goal_revision)
    if error.retryable and (patient or attempts < rules.attempts):
        return known
    if ending:
        return msgspec.structs.replace(known, gave_up=f"{step.kind}: {error}"[:400])
    return transitions.fail(known, session, error, step.kind)


# --- the budget of a teardown, which Slurm waits for ---


class Budget:
    """How long this host has been at a session's teardown. The record cannot tell: the time in it would be of another host's clock."""

    def __init__(self) -> None:
        self._began = ("", 0.0)

    def spent(self, session: Session, mono: float) -> float:
        """The seconds since this was first asked of the session while it was to end."""
        if session.goal.filesystem != "absent":
            return 0.0
        if session.key != self._began[0]:
            self._began = session.key, mono
        return mono - self._began[1]


def within_budget(session: Session, status: Status, spent: float, rules: Rules) -> Status:
    """The facts; given up when a teardown has used its time. ``spent``: the seconds for which this host has been at it."""
    if session.goal.filesystem != "absent" or status.gave_up or has_budget(session, spent, rules):
        return status
    why = next((event.error for event in reversed(status.events) if event.error), "no step ended")
    return msgspec.structs.replace(status, gave_up=f"teardown did not end within {rules.teardown_budget:g} s: {why}")


def has_budget(session: Session, spent: float, rules: Rules) -> bool:
    """Whether this is a teardown with time left."""
    return session.goal.filesystem == "absent" and spent < rules.teardown_budget


def seconds(session: Session, step: Step, spent: float, rules: Rules) -> float:
    """How long a step may take: its own deadline, and no longer than the budget that is left."""
    limit = rules.deadline("stage" if step.kind.startswith("stage") else step.kind)
    if session.goal.filesystem == "absent":
        return max(1.0, min(limit, rules.teardown_budget - spent))
    return limit
