"""Which slice of which brick is which target: numbering and placement. Pure.

OST numbers follow the order of the bricks. MDTs are spread: every host gets one before any gets two, so MDT0000 is on the first brick.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dacc_core.sdk import InvalidRequest, Volume

from .settings import LustreSettings

Kind = Literal["mdt", "ost"]
FSNAME = re.compile(r"[a-z][a-z0-9]{0,7}")
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DEVICE = re.compile(r"/[A-Za-z0-9._:@+/-]+")


@dataclass(frozen=True, slots=True)
class LustreTarget:
    """An MDT or OST on a slice of a brick."""

    kind: Kind
    index: int
    host: str
    device: str
    """The brick: a whole disk."""

    @property
    def name(self) -> str:
        """``OST000a``: Lustre counts in hexadecimal."""
        return f"{self.kind.upper()}{self.index:04x}"


@dataclass(frozen=True, slots=True)
class LustreLayout:
    """A filesystem: its targets, MDTs first, and who serves the MGT."""

    fsname: str
    targets: tuple[LustreTarget, ...]
    mgs_host: str

    @property
    def primary(self) -> LustreTarget:
        """MDT0000."""
        return self.targets[0]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of targets, each once, the primary one first."""
        return tuple(dict.fromkeys([self.primary.host, *(one.host for one in self.osts)]))

    @property
    def mdts(self) -> tuple[LustreTarget, ...]:
        """The MDTs in order."""
        return tuple(one for one in self.targets if one.kind == "mdt")

    @property
    def osts(self) -> tuple[LustreTarget, ...]:
        """The OSTs in order."""
        return tuple(one for one in self.targets if one.kind == "ost")


def layout_of(volume: Volume, settings: LustreSettings) -> LustreLayout:
    """The filesystem of a volume. Raises InvalidRequest for names and devices that cannot be meant."""
    _check(volume, settings)
    bricks = volume.bricks
    osts = tuple(LustreTarget("ost", number, brick.host, brick.device) for number, brick in enumerate(bricks))
    return LustreLayout(volume.name, (*_mdts(volume, settings), *osts), settings.mgs_host or volume.hosts[0])


def _mdts(volume: Volume, settings: LustreSettings) -> tuple[LustreTarget, ...]:
    by_host = {host: [brick for brick in volume.bricks if brick.host == host] for host in volume.hosts}
    rounds = range(settings.mdts_per_host)
    chosen = [bricks[number] for number in rounds for bricks in by_host.values() if number < len(bricks)]
    return tuple(LustreTarget("mdt", number, brick.host, brick.device) for number, brick in enumerate(chosen[: settings.max_mdts]))


def _check(volume: Volume, settings: LustreSettings) -> None:
    if not FSNAME.fullmatch(volume.name):
        raise InvalidRequest(why=f"volume name {volume.name!r} is no Lustre fsname: a letter and up to 7 letters and digits")
    if not volume.bricks or volume.capacity <= 0:
        raise InvalidRequest(why=f"volume {volume.name} has {len(volume.bricks)} bricks and {volume.capacity} bytes: it needs both")
    if len(set(volume.bricks)) < len(volume.bricks):
        raise InvalidRequest(why=f"volume {volume.name} names a brick twice")
    check_hosts((*volume.hosts, *filter(None, (settings.mgs_host,))))
    for brick in volume.bricks:
        check_device(brick.device)


def check_hosts(hosts: tuple[str, ...]) -> None:
    """Raise InvalidRequest for a host name that cannot be a file's or a NID's."""
    for host in hosts:
        if not HOST.fullmatch(host):
            raise InvalidRequest(why=f"host name {host!r}: use letters, digits, dots, - and _")


def check_device(device: str) -> None:
    """Raise InvalidRequest for what is no plain absolute path."""
    if not DEVICE.fullmatch(device) or ".." in device.split("/"):
        raise InvalidRequest(why=f"device {device!r}: give the absolute path of a disk")
