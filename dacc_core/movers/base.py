"""What a mover gets, and what it returns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ..sdk.context import Context
from ..values import StageRequest

Direction = Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class Root:
    """A buffer on the mover host: the directory ``name``, of uid ``owner``, at the root of what is mounted at ``volume``.

    The user must be able to enter that directory itself, but not the ones above it: it may lie behind a path that only root can pass.
    Nobody else can change where ``volume`` leads; what ``name`` is there, root of a compute node can.
    """

    volume: str
    name: str
    owner: int

    @property
    def path(self) -> str:
        """Where it is, for people, and for who is the user anyway."""
        return f"{self.volume}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOrder:
    """Copy these requests on ``host``, as ``uid`` and ``gid``.

    ``context.hosts`` is the fenced runner; ``context.progress`` is called about once a second. ``roots``: for each buffer variable
    (``DW_JOB_STRIPED``, ``DW_PERSISTENT_STRIPED_x``, without the ``$``) the directory on the host that it stands for.
    ``limit``: bytes that the session's own volume may hold when nothing below us enforces it; 0 is no limit.
    ``resumed``: the last try's :attr:`~dacc_core.values.Progress.cleared`, empty for the first one.
    """

    context: Context
    host: str
    uid: int
    gid: int
    direction: Direction
    requests: tuple[StageRequest, ...]
    roots: Mapping[str, Root]
    limit: int = 0
    resumed: str = ""

    @property
    def step(self) -> str:
        """The step as users know it: ``stage_in`` or ``stage_out``."""
        return f"stage_{self.direction}"


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What the destinations now hold of the sources, compared after the copy: files (of any kind but directories), bytes."""

    files: int
    bytes: int
    seconds: float


class Mover(Protocol):
    """Copies data as a user.

    What was at the destinations before is never taken for copied. When it is out of the way, the reported progress has a mark of that
    (:attr:`~dacc_core.values.Progress.cleared`); an order that has this mark as ``resumed`` goes on where the last one was interrupted.
    """

    def copy(self, order: CopyOrder) -> CopyReport:
        """Copy, compare, and return; blocks.

        Raises InvalidRequest (a path that cannot be meant, or leads out of its buffer; two requests for one file), NotFound (a source),
        NoSuchUser, Denied (as the user), NoSpace, Cancelled, HostUnreachable, StepFailed (all else, such as a source that changes
        meanwhile), Unavailable (the deadline).
        """
        ...


def show(path: str | bytes) -> str:
    """A path for an error message: one line and valid text, whatever bytes the name has."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
