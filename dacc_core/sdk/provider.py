"""The provider interface: five operations that every filesystem has, and the optional ones as protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from . import requests as rq
from .hosts import PerHost

API_VERSION = (1, 1)
"""Version of this interface. A provider works when its major is the same and its minor is not greater."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What holds for a provider, and what it can do beyond the five operations."""

    capacity_enforced: bool = True
    """A write beyond the capacity fails with ENOSPC. Otherwise dacc counts what it copies in."""

    swap: bool = False
    """It is a :class:`SwapProvider`."""


class Provider(Protocol):
    """A driver that turns bricks into a mountable filesystem.

    Every method is idempotent: creating what exists, deleting what is gone, mounting what is mounted and unmounting what is not
    all succeed. Every method may be called again after a crash at any point of its first call. Methods block; they end before
    ``context.deadline`` and soon after ``context.cancel`` is set (raising :class:`~dacc_core.errors.Cancelled`), and raise only errors of
    :mod:`dacc_core.errors`.
    """

    name: ClassVar[str]
    """The same as the entry point's."""

    api: ClassVar[tuple[int, int]]
    """The API version that it was written for, as numbers: not :data:`API_VERSION`, which changes with dacc."""

    Settings: ClassVar[type[Any]]
    """A dataclass: the section ``providers.<name>`` of the configuration. What it raises becomes a problem of the configuration."""

    def __init__(self, settings: Any) -> None:
        """Made once in a daemon, which calls its methods from many threads. Nothing is to be done on any host yet."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can do with these settings on this machine."""
        ...

    def check_host(self, request: rq.CheckHost) -> None:
        """Raise :class:`~dacc_core.errors.Unavailable` when the host cannot serve; the text says what to mend."""
        ...

    def create(self, request: rq.Create) -> rq.Created:
        """Build the filesystem. Raises :class:`~dacc_core.errors.NoSpace`, :class:`~dacc_core.errors.Unavailable`,
        :class:`~dacc_core.errors.AlreadyExists` (a brick holds something else, which is not touched),
        :class:`~dacc_core.errors.InvalidRequest`."""
        ...

    def delete(self, request: rq.Delete) -> None:
        """Remove the filesystem and all that was in it; afterwards its bricks are clean. Raises :class:`~dacc_core.errors.Busy`,
        :class:`~dacc_core.errors.Unavailable`."""
        ...

    def mount(self, request: rq.Mount) -> PerHost:
        """Mount on each host. A host's error: :class:`~dacc_core.errors.Unavailable`, :class:`~dacc_core.errors.Unsupported`."""
        ...

    def unmount(self, request: rq.Unmount) -> PerHost:
        """Unmount on each host; never reports success while something is still mounted. A host's error:
        :class:`~dacc_core.errors.Busy`, :class:`~dacc_core.errors.Unavailable`."""
        ...


@runtime_checkable
class SwapProvider(Protocol):
    """Optional: swap files on the volume."""

    def swap_on(self, request: rq.Swap) -> PerHost:
        """Make the swap file and enable it; after a mount."""
        ...

    def swap_off(self, request: rq.Swap) -> PerHost:
        """Disable and remove it; before an unmount."""
        ...


@runtime_checkable
class UsageProvider(Protocol):
    """Optional: how full a volume is."""

    def usage(self, request: rq.VolumeRequest) -> Mapping[str, int]:
        """``{"capacity": bytes, "used": bytes}``. The coordinator asks now and then while no step of the session is under way
        (setting ``usage_interval``), and shows it in ``dacc status``, the metrics and dwstat; an error leaves it unknown."""
        ...


@runtime_checkable
class RestoreProvider(Protocol):
    """Optional: serve a volume again after its hosts were restarted. For a provider without it, a boot ends nothing."""

    def restore(self, request: rq.VolumeRequest) -> None:
        """Bring the filesystem back without touching its data.

        Called when a brick host was booted; other hosts may serve the volume all the while, and nodes may have it mounted. A service
        of the host that is not up yet is :class:`~dacc_core.errors.Unavailable`: the call is repeated.
        """
        ...
