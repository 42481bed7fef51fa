"""The desired states that verbs write, and when the observed state satisfies one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..errors import Busy, TooLarge
from ..names import shorten
from ..registry.records import Goal, Session, Status

MAX_NODES = 256 << 10
"""Bytes of a job's folded set of nodes: a status has up to four such sets, and etcd takes at most 1.5 MiB at once."""

SETUP = Goal(verb="setup")
DATA_IN = Goal(verb="data_in", stage_in=True)
POST_RUN = Goal(verb="post_run")
DATA_OUT = Goal(verb="data_out", stage_out=True)

Satisfied = Callable[[Session, Status], bool]
Check = Callable[[Session, Status], None]
"""Raises an error where a goal may not be recorded now."""


def pre_run(hosts: str) -> Goal:
    """Staged in and mounted on exactly these hosts. Raises TooLarge."""
    if len(hosts) > MAX_NODES:
        hint = "give nodes names that differ in numbers only, which fold, or ask for fewer nodes"
        raise TooLarge(what="the folded list of the job's nodes", size=len(hosts), limit=MAX_NODES, hint=hint)
    return Goal(verb="pre_run", stage_in=True, hosts=hosts)


def gone(*, hurry: bool, verb: str = "teardown") -> Goal:
    """No filesystem; with ``hurry`` without staging out."""
    return Goal(verb=verb, filesystem="absent", hurry=hurry)


def built(session: Session, status: Status) -> bool:
    """The filesystem is ready, if the session is to have one."""
    return not session.claiming and (session.volume is None or status.filesystem == "ready")


def staged_in(session: Session, status: Status) -> bool:
    """Everything asked for is in the buffer."""
    return built(session, status) and (not session.request.stage_in or status.stage_in == "done")


def mounted_on(hosts: str) -> Satisfied:
    """Staged in and mounted on exactly these hosts."""

    def satisfied(session: Session, status: Status) -> bool:
        there = session.goal.hosts == status.mounts == status.touched == hosts
        return staged_in(session, status) and (there or not session.mountable) and not status.mover

    return satisfied


def unmounted(session: Session, status: Status) -> bool:
    """No compute node has a mount, and none is about to get one."""
    return not status.touched and not (session.mountable and session.goal.hosts)


def staged_out(session: Session, status: Status) -> bool:
    """Everything asked for was copied out; nothing is mounted."""
    return unmounted(session, status) and (not session.request.stage_out or status.stage_out == "done")


def met(session: Session, status: Status) -> bool:
    """Whether the observed state is all that the session's goal desires."""
    goal = session.goal
    if goal.filesystem == "absent":
        return False  # then the session would not be here
    return (
        built(session, status)
        and (not goal.stage_in or staged_in(session, status))
        and (not goal.stage_out or staged_out(session, status))
        and status.mounts == status.touched == (goal.hosts if session.mountable else "")
        and not status.mover
    )


def owes_stage_out(session: Session, status: Status) -> bool:
    """Whether ending the session would lose what the job was promised to get back (rule 5 of docs/concepts/rules.md).

    Wherever it lies: in the session's own filesystem, or only in persistent buffers that it uses. Owed once a compute node had the
    buffers: before that they hold nothing of the job's. What is lost cannot be owed.
    """
    return (
        (session.volume is None or status.filesystem == "ready")
        and session.mountable
        and not session.lost
        and bool(session.request.stage_out)
        and status.used
        and status.stage_out != "done"
        and not session.goal.hurry
    )


def contrary(new: Goal, old: Goal) -> bool:
    """Whether reaching ``new`` gives up something that ``old`` desired."""
    return (
        new.filesystem != old.filesystem
        or (new.hurry and not old.hurry)
        or (new.hosts != old.hosts and bool(old.hosts))
        or (old.stage_in and not new.stage_in)
        or (old.stage_out and not new.stage_out)
    )


def anything(_: Session, __: Status) -> None:
    """No objection to any goal."""


def check_unmounted(session: Session, status: Status) -> None:
    """Raises Busy while compute nodes have a job's mounts, or are about to get them: to copy out would take them from it."""
    hosts = status.touched or session.goal.hosts
    if hosts and session.kind == "job":  # the job of a kept session is gone
        where = shorten(hosts)
        raise Busy(why=f"session {session.token} is mounted on {where}, so its job may still write: stage out when the job has ended")


State = Literal["running", "done", "failed", "waiting"]


def state(session: Session, status: Status) -> State:
    """Where a session is on the way to its goal."""
    if status.running is not None:
        return "running"
    if met(session, status):
        return "done"
    return "failed" if failed(session, status) else "waiting"


def failed(session: Session, status: Status) -> bool:
    """Whether the session's present goal ended in an error."""
    return status.failure is not None and status.failed_revision >= session.goal_revision
