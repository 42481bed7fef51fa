"""What a verb may ask of whoever runs it.

A verb is a generator: it reads the view, yields one of the operations below, and is resumed with the reply. It does no
input or output of its own, so the same verb runs in the daemon's core, in the fallback of a thin client and in the simulation.
Whoever runs it resumes it after a :class:`Commit` only when the view has reached the revision of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..keystore.base import Compare, Delete, Op, Put
from ..registry import keys
from ..registry.records import Record
from ..registry.view import View

T = TypeVar("T")


def grace(seconds: float) -> float:
    """How long a verb of which so many seconds have passed may go on, to undo what it began: Slurm waits some more."""
    return min(5.0, seconds / 4)


MOST_CHANGES = 100
"""Records of a kind that one transaction changes at most: etcd refuses more than 128 operations, and others come with them."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Do this transaction; the reply is its :class:`~dacc_core.keystore.base.TxnResult`."""

    compares: tuple[Compare, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Resume with the first value of ``ready()`` that is not ``None``; it is asked whenever ``token``'s records change.

    When the verb's deadline passes first, :class:`~dacc_core.errors.StillWorking` is raised into it, naming ``doing``.
    """

    token: str
    ready: Callable[[], Any]
    doing: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Resume after some seconds, with a view that is up to date.

    When the verb's deadline passes first, :class:`~dacc_core.errors.StillWorking` is raised into it.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """Resume when no other claim of this program is under way; held until the next :class:`Commit` is answered."""


@dataclass(frozen=True, slots=True)
class AskUser:
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


Operation = Commit | Wait | Pause | Turn | AskUser
Verb = Generator[Operation, Any, T]


class Draft:
    """A transaction in the making, over a view: every record that is touched is also compared."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._compares: dict[str, Compare] = {}
        self._ops: dict[str, Op] = {}

    def expect(self, kind: str, name: str = "") -> Draft:
        """Only if this record is still as the view has it (or still absent)."""
        full = _key(kind, name)
        self._compares[full] = Compare(full, self._view.revision_of(kind, name))
        return self

    def put(self, record: Record, kind: str, name: str = "", *, lease: int = 0) -> Draft:
        """Write a record, if it is still as the view has it."""
        full = _key(kind, name)
        self._ops[full] = Put(full, keys.encode(record), lease)
        return self.expect(kind, name)

    def delete(self, kind: str, name: str = "", *, expect: bool = True) -> Draft:
        """Delete a record, if it is still as the view has it."""
        full = _key(kind, name)
        self._ops[full] = Delete(full)
        return self.expect(kind, name) if expect else self

    def commit(self) -> Commit:
        """The transaction as an operation."""
        return Commit(tuple(self._compares.values()), tuple(self._ops.values()))


def _key(kind: str, name: str) -> str:
    return keys.key(kind, name) if name else keys.key(kind)
