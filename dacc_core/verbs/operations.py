"""What a verb may ask of whoever runs it.

A verb is a generator: it reads the view, yields one of the operations below, and is resumed with the reply. It does no
input or output of its own, so the same verb runs in the daemon's core, in the fallback of a thin client and in the simulation.
Whoever runs it resumes it after a :class:`Commit` only when the view has reached the revision of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..registry.transaction import Commit

T = TypeVar("T")


def grace(seconds: float) -> float:
    """How long a verb of which so many seconds have passed may go on, to undo what it began: Slurm waits some more."""
    return min(5.0, seconds / 4)


@dataclass(frozen=True, slots=True)
class Wait:
    """Resume with the first value of ``ready()`` that is not ``None``; it is asked whenever ``token``'s records change.

    When the verb's deadline passes first, :class:`~dacc_core.errors.StillWorking` is raised into it, naming ``doing``.
    """

    token: str
    ready: Callable[[], Any]
    doing: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Resume after some seconds, with a view that is up to date.

    When the verb's deadline passes first, :class:`~dacc_core.errors.StillWorking` is raised into it.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class AcquireClaimSlot:
    """Resume when no other claim of this program is under way; held until the next :class:`Commit` is answered."""


@dataclass(frozen=True, slots=True)
class LookupUser:
    """Look a user up in the passwd database; the reply is a :class:`User` or ``None``. Exactly one of the two is given."""

    uid: int = -1
    name: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A user as the passwd and group databases know one."""

    uid: int
    gid: int
    name: str
    groups: frozenset[int] = frozenset()
    group_names: frozenset[str] = frozenset()


Operation = Commit | Wait | Sleep | AcquireClaimSlot | LookupUser
Verb = Generator[Operation, Any, T]
