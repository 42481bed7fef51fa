"""The requests a provider gets and the results it returns: frozen, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import DaccError
from ..model import BrickRef, Volume
from .context import Context

MAX_STATE_BYTES = 64 * 1024
"""A provider's state may be at most this long as JSON."""

Role = Literal["job", "mover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHost:
    """Is this brick host fit to serve these devices?"""

    context: Context
    host: str
    bricks: tuple[BrickRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Build the filesystem on the volume's bricks.

    ``owner`` and ``group`` own the directory ``global`` at its root, with ``mode``.
    """

    context: Context
    volume: Volume
    owner: int
    group: int
    mode: int = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """``state`` comes back in every later request: a JSON object of at most :data:`MAX_STATE_BYTES`.

    ``capacity``: usable bytes, at least what the volume asked for.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    capacity: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Take the filesystem down and clean its bricks. ``state`` is empty when create never returned.

    ``gone``: brick hosts that an operator has given up. The data is lost; clean the bricks of the other hosts and leave these alone.
    """

    context: Context
    volume: Volume
    state: Mapping[str, Any]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Mount the volume at ``path`` on each host, ``nodev,nosuid``.

    Role ``job``: the session's compute nodes. Role ``mover``: one host, for copying, at a path that only root may
    enter. ``private``: also make the directory ``private/<host>``, owned like ``global``, and the symbolic link ``link`` to it.
    """

    context: Context
    volume: Volume
    state: Mapping[str, Any]
    hosts: tuple[str, ...]
    path: str
    role: Role = "job"
    read_only: bool = False
    owner: int = 0
    group: int = 0
    mode: int = 0o700
    private: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmount:
    """Undo a :class:`Mount` with the same path and link."""

    context: Context
    volume: Volume
    state: Mapping[str, Any]
    hosts: tuple[str, ...]
    path: str
    role: Role = "job"
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Give each host a swap file of ``size`` bytes of its own on the mounted volume (or take it away)."""

    context: Context
    volume: Volume
    state: Mapping[str, Any]
    hosts: tuple[str, ...]
    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PerHost:
    """The outcome of an operation on several hosts: ``None`` where it succeeded, else the error. Every host asked for is named."""

    hosts: Mapping[str, DaccError | None]

    @property
    def failed(self) -> dict[str, DaccError]:
        """The hosts on which it failed."""
        return {host: error for host, error in self.hosts.items() if error is not None}
