"""The requests that a provider gets and what ``create`` returns: frozen, with units.

Sizes are bytes, times are seconds, owners are numbers as ``chown`` takes them, paths are absolute, hosts are the site's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..values import BrickRef, Volume
from .context import Context

MAX_STATE_BYTES = 64 * 1024
"""A provider's state may be at most this long as JSON."""

Role = Literal["job", "mover"]
"""What a mount is for: the session's job, or copying data in and out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHost:
    """Is this brick host fit to serve these devices? Asked when its daemon starts."""

    context: Context

    host: str
    """The brick host."""

    bricks: tuple[BrickRef, ...]
    """Its bricks in the pools of this provider. They say nothing of their size: how much a volume needs is known in ``create``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Build the filesystem on the volume's bricks, with a directory ``global`` at its root."""

    context: Context

    volume: Volume
    """What to build; its capacity (bytes) is the least that must fit."""

    owner: int
    """The uid that owns ``global``."""

    group: int
    """The gid that owns ``global``."""

    mode: int = 0o700
    """The permissions of ``global``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What ``create`` returns."""

    state: Mapping[str, Any] = field(default_factory=dict)
    """Comes back in every later request: a JSON object of at most :data:`MAX_STATE_BYTES`."""

    capacity: int = 0
    """Usable bytes, at least what the volume asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRequest:
    """A question or order about a volume that was created: what ``usage`` and ``restore`` get, and the base of the rest."""

    context: Context

    volume: Volume
    """As it was created."""

    state: Mapping[str, Any]
    """What ``create`` returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(VolumeRequest):
    """Take the filesystem down and clean its bricks. ``state`` is empty when create never returned."""

    gone: tuple[str, ...] = ()
    """Brick hosts that an operator has given up. The data is lost; clean the bricks of the other hosts and leave these alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount(VolumeRequest):
    """Mount the volume at ``path`` on each host, ``nodev,nosuid``. Directories that are missing above ``path`` and ``link`` are made.

    ``owner``, ``group`` and ``mode`` are those of ``global``, and of the private directories if there are any.
    """

    hosts: tuple[str, ...]
    """Role ``job``: the session's compute nodes. Role ``mover``: the one host that copies."""

    path: str
    """Where. For a mover, a path that only root may enter: the directory above it has mode 700 if it must be made."""

    role: Role = "job"
    read_only: bool = False
    owner: int = 0
    group: int = 0
    mode: int = 0o700

    private: bool = False
    """Also make the directory ``private/<host>`` on the volume, owned like ``global``, and ``link``. Never asked for together with
    ``read_only``: jobs have private directories, and only movers read what they may not write."""

    link: str = ""
    """With ``private``: a symbolic link to the host's private directory, to be made on each host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmount(VolumeRequest):
    """Undo a :class:`Mount` with the same path and link, which are removed. What is not mounted is unmounted already."""

    hosts: tuple[str, ...]
    path: str
    role: Role = "job"

    link: str = ""
    """Not empty: the link that the mount made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap(VolumeRequest):
    """Give each host a swap file of its own on the mounted volume (or take it away)."""

    hosts: tuple[str, ...]

    path: str
    """Where the volume is mounted."""

    size: int
    """Bytes for each host."""
