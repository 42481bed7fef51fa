"""How a fault changes a call: before it, instead of it, half-way, or after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from dacc_core.sdk import Context, DaccError, Unavailable

from .faults import Fault, FaultPlan

T = TypeVar("T")
Outcomes = dict[str, DaccError | None]


def once(plan: FaultPlan, call: str, context: Context, hosts: Sequence[str], work: Callable[[str], T], *, key: str = "") -> T:
    """Do ``work``, with the fault that the plan has for this call. ``work`` gets the place to stop at, or an empty string."""
    context.cancel.check(call)
    context.deadline.check(call)
    fault = plan.take(call, context.token, hosts, key)
    if fault is None:
        return work("")
    if fault.when == "after":
        result = work("")
        fault.wait(context, time.monotonic())
        if fault.fails:
            raise fault.failure(_where(hosts))
        return result
    fault.wait(context, time.monotonic())
    if fault.partial:
        with suppress(DaccError):
            work(fault.partial)
        context.cancel.check(call)
    if fault.fails:
        raise fault.failure(_where(hosts))
    return work("")


def on_each_host(
    plan: FaultPlan, call: str, context: Context, hosts: Sequence[str], work: Callable[[Sequence[str], str], Outcomes]
) -> Outcomes:
    """Do ``work`` on all hosts that no fault hurts at once, and on the others as their faults say.

    A host that is made to wait delays no other. Raises Cancelled; a deadline that passes is the error of the hosts it stopped.
    """
    context.cancel.check(call)
    hurt = {host: plan.take(call, context.token, (host,), host) for host in hosts}
    groups: dict[Fault | None, list[str]] = {}
    for host, fault in hurt.items():
        groups.setdefault(fault, []).append(host)
    since = time.monotonic()
    outcomes: Outcomes = {}
    for fault, group in sorted(groups.items(), key=lambda item: _starts(item[0])):
        outcomes |= _until_deadline(group, partial(_before, fault, context, group, work, since))
    late = [(fault, group) for fault, group in groups.items() if fault is not None and fault.when == "after"]
    for fault, group in sorted(late, key=lambda item: item[0].seconds):
        outcomes |= _until_deadline(group, partial(_after, fault, context, group, outcomes, since))
    return {host: outcomes[host] for host in hosts}


def _starts(fault: Fault | None) -> float:
    return fault.seconds if fault is not None and fault.when == "before" else 0.0


def _until_deadline(group: Sequence[str], act: Callable[[], Outcomes]) -> Outcomes:
    try:
        return act()
    except Unavailable as error:
        return dict.fromkeys(group, error)


def _before(
    fault: Fault | None,
    context: Context,
    group: Sequence[str],
    work: Callable[[Sequence[str], str], Outcomes],
    since: float,
) -> Outcomes:
    if fault is None or fault.when == "after":
        return work(group, "")
    fault.wait(context, since)
    if fault.partial:
        work(group, fault.partial)
    if fault.fails:
        return {host: fault.failure(host) for host in group}
    return work(group, "")


def _after(fault: Fault, context: Context, group: Sequence[str], outcomes: Outcomes, since: float) -> Outcomes:
    fault.wait(context, since)
    return {host: fault.failure(host) if fault.fails else outcomes[host] for host in group}


def _where(hosts: Sequence[str]) -> str:
    return hosts[0] if hosts else "no host"
