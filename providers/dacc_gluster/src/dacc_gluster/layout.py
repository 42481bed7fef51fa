"""The names and paths of a volume, all derived from its name, so that a delete finds what a crashed create left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dacc_core.sdk import BrickRef, Volume

from .settings import GlusterSettings


@dataclass(frozen=True)
class GlusterLayout:
    """Where a volume is. Bricks have their number in the volume, from 0."""

    volume: Volume
    settings: GlusterSettings

    @property
    def name(self) -> str:
        """Of the volume, for gluster too; never used again."""
        return self.volume.name

    @property
    def directory(self) -> str:
        """On each of its storage hosts: what is mounted of it is below."""
        return f"{self.settings.brick_root}/{self.name}"

    def address(self, host: str) -> str:
        """By which hosts reach a storage host."""
        return self.settings.address.replace("%h", host)

    @property
    def servers(self) -> list[str]:
        """The addresses from which a client may learn what the volume is made of."""
        return [self.address(host) for host in self.volume.hosts]

    @property
    def least(self) -> int:
        """The bytes that a brick must have room for."""
        return -(-self.volume.capacity // len(self.volume.bricks))

    def bricks_of(self, host: str) -> list[dict[str, Any]]:
        """A host's bricks, as its helper wants them."""
        return [
            {"device": brick.device, "place": f"{self.directory}/{number}"}
            for number, brick in enumerate(self.volume.bricks)
            if brick.host == host
        ]

    def gluster_bricks(self, *hosts: str) -> list[str]:
        """The bricks of all hosts, or of these, as gluster names them, in their order.

        A directory below the mount point: a brick whose filesystem is not mounted does not exist, and nothing is written to the
        host's own filesystem.
        """
        return [self._gluster_brick(number, brick) for number, brick in enumerate(self.volume.bricks) if not hosts or brick.host in hosts]

    def _gluster_brick(self, number: int, brick: BrickRef) -> str:
        return f"{self.address(brick.host)}:{self.directory}/{number}/brick"
