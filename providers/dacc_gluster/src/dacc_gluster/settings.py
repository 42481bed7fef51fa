"""What a site may set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dacc_core.sdk import AbsolutePath, Seconds

OURS = {
    # Gluster would keep 1% of a brick for itself; the bricks enforce the capacity, all of it.
    "storage.reserve": "0",
    # What a client waits for a dead storage host, 42 s otherwise; a scratch filesystem has lost its data then anyway.
    "network.ping-timeout": "10",
}
"""Options of each volume, unless the site sets them."""


@dataclass(frozen=True, kw_only=True)
class GlusterSettings:
    """The section `providers.gluster` of a site's configuration."""

    seed: str
    """The storage host from which the trusted pool grows: it probes the others when they are first used."""

    address: str = "%h"
    """The name or address by which storage hosts and compute nodes reach a storage host, `%h` being its name in dacc."""

    brick_root: AbsolutePath = "/var/lib/dacc-gluster"
    """The directory on storage hosts below which bricks are mounted."""

    options: Mapping[str, str] = field(default_factory=dict)
    """More options for each volume, as for `gluster volume set`."""

    command_seconds: Seconds = 120.0
    """How long one command may take on a host."""

    def __post_init__(self) -> None:
        if not self.seed:
            raise ValueError("seed: the name of a storage host is needed")
        if "%h" not in self.address:
            raise ValueError(f"address: {self.address!r} is the same for all hosts: put %h, the host's name, into it")
        if strange := [name for name in self.options if name.startswith(("-", "user.dacc"))]:
            raise ValueError(f"options: {strange[0]!r} is no option of a volume that a site may set")
