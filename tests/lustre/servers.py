"""The stand-ins on hosts that are there already, with sshd and whatever else runs there: those of a whole site."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dacc_core.testing.namespaces import Namespaces, run

from .installation import install, make_brick, remove_loop

NET = "o2ib1"


@dataclass
class LustreServers:
    """``servers``: those of ``machines``, which have networks of their own, that have bricks. The others may be clients.

    All share the machine's ``/dev``, so a host could get at another's bricks; the names of hosts on LNet are ``<host>-ib``.
    """

    directory: Path
    machines: Namespaces
    servers: Sequence[str]
    devices: dict[str, list[str]] = field(default_factory=dict)

    def open(self, processes: Mapping[str, int], bricks: int = 1, size: int = 512 << 20) -> None:
        """Make the bricks, and have each host find the stand-ins. ``processes``: one on each host that stays."""
        self.directory.mkdir()
        install(self.directory)
        (self.directory / "wire" / "proc").symlink_to("/proc")
        for host in self.servers:
            names = [self.directory / "disks" / f"{host}-{number}" for number in range(bricks)]
            self.devices[host] = [make_brick(image, size) for image in names]
        for host, pid in processes.items():
            self._furnish(host, pid)

    def _furnish(self, host: str, pid: int) -> None:
        disks = [Path(device).name for device in self.devices.get(host, [])]
        record = {"pid": pid, "address": self.machines.address(host), "nets": [NET], "disks": disks}
        wire = self.directory / "wire"
        (wire / "hosts" / f"{host}.json").write_text(json.dumps(record))
        (wire / "modules" / f"{host}.json").write_text(json.dumps({"loaded": ["lnet", "lustre"]}))
        enter = self.machines.enter(host)
        run(*enter, "mount", "--bind", "/usr/sbin", f"{self.directory}/real")
        run(*enter, "mount", "-t", "overlay", "-o", f"lowerdir={self.directory}/bin:/usr/sbin", "dacc", "/usr/sbin")

    def crash(self, host: str) -> None:
        """What a power cut does: no target of the host is mounted, but its disks are as they were."""
        run(*self.machines.enter(host), "sh", "-c", "grep -o ' /run/dacc/lustre/[^ ]*' /proc/self/mounts | sort -r | xargs -r umount")

    def close(self) -> None:
        """Give the bricks back. The hosts' namespaces, with the mounts in them, must have gone."""
        for device in (device for devices in self.devices.values() for device in devices):
            remove_loop(device)
        self.devices.clear()
