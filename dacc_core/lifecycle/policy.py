"""What failures and passing time mean for a session: retry, fail, give up, wait; and whose session it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, assert_never

import msgspec

from ..errors import DaccError, HostLost, HostUnreachable
from ..registry.records import Session, Status
from ..registry.view import View
from . import transitions
from .plan import Step
from .rules import Rules
from .transitions import StepOutcome

MAX_WAIT = 15.0

Verdict = Literal["retry", "fail", "give up", "stop paying"]
"""What a failure leads to: the step is tried again; the goal failed; the teardown is given up; what is owed is not copied out any more."""
FenceVerdict = Literal["retry", "fail", "give up", "go on"]
"""What a fence that failed leads to; to *go on* is right where nobody needs to be waited for."""


# --- steps that fail ---


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


def judge(session: Session, status: Status, step: Step, error: DaccError, attempts: int, rules: Rules) -> Verdict:
    """What a failed step leads to. ``attempts``: how often this kind of step failed since it last succeeded."""
    ending = session.goal.filesystem == "absent"
    if step.kind == "stage_out" and ending:
        return "stop paying"
    # Nobody waits for the restore of what was reached before; it goes on until the hosts that were booted are fit again.
    patient = ending or (step.kind == "restore" and status.observed_revision >= session.goal_revision)
    if error.retryable and (patient or attempts < rules.attempts):
        return "retry"
    return "give up" if ending else "fail"


def conclude(verdict: Verdict, session: Session, status: Status, step: Step, error: DaccError) -> Status:
    """The status after a failed step, with what it leads to."""
    match verdict:
        case "retry":
            return status
        case "fail":
            return transitions.fail(session, status, error, step.kind)
        case "give up":
            return transitions.give_up(status, f"{step.kind}: {error}")
        case "stop paying":
            return msgspec.structs.replace(status, tried_revision=session.goal_revision)
        case _:
            assert_never(verdict)


def wait(attempts: int, rules: Rules) -> float:
    """How long to wait before something is tried again that failed so often; longer each time."""
    return min(rules.first_wait * 2.0 ** min(max(0, attempts - 1), 30), MAX_WAIT)


def still_desired(step: Step, planned: Step | None) -> bool:
    """Whether a step that runs is what would be planned now."""
    if planned is None or planned.kind != step.kind:
        return False
    # An unmount or a restore that has become larger or smaller may end first; what it did is desired or will be done again.
    return step.kind in ("unmount", "restore") or planned.targets == step.targets


# --- fences that fail ---


def judge_fence(session: Session, failures: Mapping[str, DaccError], attempts: int, spent: float, rules: Rules) -> FenceVerdict:
    """What hosts that could not be fenced lead to."""
    only_nodes = not set(failures) & set(session.brick_hosts)
    # A teardown waits for a storage host that it must fence as long as its budget lasts.
    if attempts < rules.attempts or (not only_nodes and has_budget(session, spent, rules)):
        return "retry"
    if only_nodes:
        # Compute nodes and movers that are gone hold nobody up; whatever ran there cannot reach the storage hosts' state.
        return "go on"
    return "give up" if session.goal.filesystem == "absent" else "fail"


# --- the budget of a teardown, which Slurm waits for ---


def within_budget(session: Session, status: Status, spent: float, rules: Rules) -> Status:
    """The status; given up when a teardown has used its time. ``spent``: the seconds for which this host has been at it."""
    if session.goal.filesystem != "absent" or status.gave_up or has_budget(session, spent, rules):
        return status
    why = next((event.error for event in reversed(status.events) if event.error), "no step ended")
    return transitions.give_up(status, f"teardown did not end within {rules.teardown_budget:g} s: {why}")


def has_budget(session: Session, spent: float, rules: Rules) -> bool:
    """Whether this is a teardown with time left."""
    return session.goal.filesystem == "absent" and spent < rules.teardown_budget


# --- whose session it is ---


def is_waiting_for_bricks(session: Session) -> bool:
    """Whether its setup still claims bricks: then there is nothing to coordinate yet."""
    return session.claiming and session.goal.filesystem == "ready"


def coordinates(view: View, session: Session, status: Status, host: str, incarnation: str) -> bool:
    """Whether this daemon is the session's coordinator, or should become it."""
    if status.coordinator and view.is_alive(status.coordinator, status.incarnation):
        return (status.coordinator, status.incarnation) == (host, incarnation)
    return next_coordinator(view, session) == host


def next_coordinator(view: View, session: Session) -> str:
    """Which host should coordinate a session that has no living coordinator."""
    alive, hosts = view.alive, view.hosts
    for host in session.brick_hosts:
        if host in alive:
            return host
    pool = session.volume.pool if session.volume else session.request.pool
    serving = sorted(host for host in alive if host in hosts and hosts[host].record.bricks)
    for host in serving:
        if any(brick.pool == pool for brick in hosts[host].record.bricks):
            return host
    return min(serving, default=min(alive, default=""))
