"""What to do next for a session: a pure function of its goal, its observed state and its surroundings, with an answer for each combination.

A :class:`Step` is resolved: it names everything that is recorded of it, that its runner needs and that must be fenced after a crash.
Nothing is added to it later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..names import expand, fold, minus
from ..registry.records import Buffer, Request, Session, Status
from ..registry.view import View
from ..verbs import goals
from ..verbs.goals import owes_stage_out
from .rules import Rules

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
BOOT_ID = 8
"""Characters of a boot's id that distinguish it from a host's other boots."""

UsedBuffer = tuple[Session, Status]
"""A persistent session that a step mounts or unmounts beside the session's own filesystem, with its observed state."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``reason`` is for people; hosts are folded.

    ``targets``: the hosts it is for, where that is not the whole filesystem: compute nodes to mount on or to unmount, brick hosts to
    restore. ``hosts``: every host on which it acts, to be fenced if its coordinator dies. ``mover``: where data is copied. ``buffers``: the
    persistent sessions that it mounts or unmounts. ``boots``: the present boots of brick hosts that it makes serve the filesystem.
    ``seconds``: how long it may take.
    """

    kind: StepKind
    targets: str = ""
    reason: str = ""
    hosts: str = ""
    mover: str = ""
    buffers: tuple[UsedBuffer, ...] = ()
    boots: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a plan depends on beside the session's own records.

    ``rebooted`` (folded): brick hosts that were booted since they last served the filesystem. ``detached``: all data of the session was in
    persistent buffers, and those were destroyed, which takes --hurry. ``mover``: the host for copies. ``boots``: the
    present boot of each brick host. ``buffers``: the persistent sessions of the request that exist. ``in_use``: those whose mounts belong
    to the next run of a kept session's job. ``spent``: for how long this host has been at the session's teardown.
    """

    rebooted: str = ""
    detached: bool = False
    mover: str = ""
    boots: Mapping[str, str] = field(default_factory=dict)
    buffers: tuple[UsedBuffer, ...] = ()
    in_use: tuple[str, ...] = ()
    spent: float = 0.0
    rules: Rules = field(default_factory=Rules)


def plan(session: Session, status: Status, around: Surroundings | None = None) -> Step | None:
    """The next step towards the session's goal, resolved; ``None`` when the goal is reached, or failed and waits for a new one."""
    around = around or Surroundings()
    step = _choose(session, status, around)
    return step if step is None or step.kind in STORE_ONLY else _resolve(step, session, status, around)


# --- which step ---


def _choose(session: Session, status: Status, around: Surroundings) -> Step | None:
    if around.detached and session.kind == "kept":
        return Step("release", reason=_loss(session, detached=True))  # there is nothing left that could be copied out
    if goals.failed(session, status):
        return None
    if session.goal.filesystem == "absent":
        return _towards_absence(session, status, around.rebooted, around.detached)
    return _towards_presence(session, status, around.rebooted)


def _towards_presence(session: Session, status: Status, rebooted: str) -> Step | None:
    if status.filesystem in ("deleting", "quarantined"):
        return Step("refuse", reason=f"its filesystem is {status.filesystem}")
    if session.volume is not None and status.filesystem != "ready":
        return Step("create")
    if rebooted:
        return Step("restore", targets=rebooted)
    desired = session.goal.hosts if session.mountable else ""
    staging = _staging(session, status)
    # Data moves before any compute node has the mount and after the last one gave it back.
    if excess := (status.touched if staging else minus(status.touched, desired)):
        return Step("unmount", targets=excess)
    if status.mover and not (staging and _under_way(status, staging)):
        return Step("unmount_mover")
    if staging:
        return staging
    if missing := minus(desired, status.mounts):
        return Step("mount", targets=missing)
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
        return Step("unmount", targets=touched)
    payment = _pay(session, status) if owed and not detached else None
    if status.mover and status.mover not in session.lost and not (payment and _under_way(status, payment)):
        return Step("unmount_mover")
    if payment:
        # What is deleted anyway need not be served again.
        return Step("restore", targets=rebooted) if payment.kind == "stage_out" and rebooted else payment
    if session.bricks and status.filesystem in ("creating", "ready", "deleting"):
        return Step("delete")
    return Step("release", reason=_loss(session, detached=owed and detached))


def _loss(session: Session, *, detached: bool = False) -> str:
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


# --- what it needs ---


def _resolve(step: Step, session: Session, status: Status, around: Surroundings) -> Step:
    mover = status.mover or around.mover if step.kind in ("stage_in", "stage_out", "unmount_mover") else ""
    return replace(
        step,
        hosts=_hosts(session, step, mover),
        mover=mover,
        buffers=_buffers(session, status, step, around),
        boots=dict(around.boots) if step.kind in ("create", "restore") else {},
        seconds=_seconds(session, step, around),
    )


def _hosts(session: Session, step: Step, mover: str) -> str:
    match step.kind:
        case "create" | "restore" | "delete":
            return fold(session.brick_hosts)
        case "stage_in" | "stage_out" | "unmount_mover":
            return mover
        case "evict":
            return fold(host for eviction in session.goal.evict for host in expand(eviction.hosts))
        case _:
            return step.targets


def _seconds(session: Session, step: Step, around: Surroundings) -> float:
    """Its own deadline, and no more than what is left of a teardown's budget."""
    limit = around.rules.deadline("stage" if step.kind.startswith("stage") else step.kind)
    if session.goal.filesystem == "absent":
        return max(1.0, min(limit, around.rules.teardown_budget - around.spent))
    return limit


def _buffers(session: Session, status: Status, step: Step, around: Surroundings) -> tuple[UsedBuffer, ...]:
    """The persistent sessions that a step needs; to unmount one that is gone, as it was when it was mounted."""
    if step.kind in ("mount", "stage_in", "stage_out"):
        return around.buffers
    if step.kind not in ("unmount", "unmount_mover"):
        return ()
    present = {used[0].token: used for used in around.buffers}
    mounted = {buffer.token: buffer for buffer in status.buffers}
    needed: list[UsedBuffer] = []
    for name in session.request.persistent:
        if step.kind == "unmount" and name in around.in_use:
            continue
        if name in present and (name not in mounted or present[name][0].volume == mounted[name].volume):
            needed.append(present[name])
        elif name in mounted:
            needed.append(_as_it_was(mounted[name], session))
    return tuple(needed)


def _as_it_was(buffer: Buffer, job: Session) -> UsedBuffer:
    request = Request(owner=job.request.owner, group=job.request.group)
    former = Session(token=buffer.token, id=0, kind="persistent", created_at=0.0, request=request, volume=buffer.volume)
    return former, Status(filesystem="ready", provider_state=buffer.provider_state)


# --- the surroundings, as a view has them ---


def look_around(
    view: View, session: Session, status: Status, *, rules: Rules | None = None, host: str = "", spent: float = 0.0
) -> Surroundings:
    """The surroundings of a session that ``host`` coordinates."""
    rules, boots = rules or Rules(), present_boots(view, session)
    buffers = filter(None, map(view.session, session.request.persistent))
    return Surroundings(
        rebooted=rebooted_hosts(status, boots),
        detached=is_detached(view, session),
        mover=rules.mover_host or host,
        boots=boots,
        buffers=tuple((buffer, view.status(buffer.token)) for buffer in buffers),
        in_use=_used_by_the_next_run(view, session),
        spent=spent,
        rules=rules,
    )


def present_boots(view: View, session: Session) -> dict[str, str]:
    """The present boot of each brick host whose daemon names it; the beginning of its id, since a volume may have thousands of hosts."""
    alive = view.alive
    boots = ((host, alive[host].record.boot) for host in session.brick_hosts if host in alive)
    return {host: boot[:BOOT_ID] for host, boot in boots if boot}


def rebooted_hosts(status: Status, boots: Mapping[str, str]) -> str:
    """The brick hosts (folded) that are up, but were booted since they last served the session's filesystem."""
    if status.filesystem != "ready":
        return ""
    return fold(host for host, boot in boots.items() if status.boots.get(host) != boot)


def is_detached(view: View, session: Session) -> bool:
    """Whether a session without a filesystem of its own uses none of its persistent buffers any more: they were destroyed in a hurry."""
    names = session.request.persistent
    return session.volume is None and bool(names) and not any(session.token in view.users_of(name) for name in names)


def _used_by_the_next_run(view: View, session: Session) -> tuple[str, ...]:
    """The job of a kept session may run again under its former token: what is mounted at these paths is its, if it uses the same buffer."""
    heir = view.session(session.origin) if session.kind == "kept" else None
    return heir.request.persistent if heir is not None else ()
