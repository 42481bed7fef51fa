"""Storage hosts for GlusterFS: real glusterds and block devices on hosts that are namespaces of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dacc_core.sdk import Unavailable

START_SECONDS = 60.0
END_SECONDS = 10.0
PROGRAMS = {
    "/usr/sbin/glusterd": "glusterfs-server",
    "/usr/sbin/mount.glusterfs": "glusterfs-client",
    "/usr/sbin/mkfs.xfs": "xfsprogs",
    "/usr/sbin/sshd": "openssh-server",
    "/usr/sbin/ip": "iproute2",
}
_PRIVATE = {"lib": "/var/lib/glusterd", "log": "/var/log/glusterfs"}
"""What the package has once on a machine, and each host needs for itself."""


def lacking() -> str:
    """What this machine lacks for GlusterFS between namespaces, in words; empty when nothing."""
    if os.geteuid() != 0:
        return "root, for namespaces and mounts"
    missing = [f"{program} (Debian: {package})" for program, package in PROGRAMS.items() if not shutil.which(program)]
    missing += [device for device in ("/dev/loop-control", "/dev/fuse") if not Path(device).exists()]
    return ", ".join(missing)


class GlusterMachines(Protocol):
    """Hosts that are namespaces of this machine (:class:`dacc_core.testing.namespaces.Namespaces`)."""

    directory: Path
    hosts: Sequence[str]

    def enter(self, host: str, directory: str = "/") -> list[str]:
        """The words before a command that run it on a host."""
        ...


@dataclass
class GlusterServers:
    """``servers``: those of ``machines``, which have networks of their own, on which a glusterd runs. The others may be clients."""

    directory: Path
    machines: GlusterMachines
    servers: Sequence[str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    devices: dict[str, list[str]] = field(default_factory=dict)

    def open(self, bricks: int = 2, size: int = 512 << 20) -> None:
        """Make block devices and start all servers; the machines are there already. ``size``: bytes of a device, sparse."""
        for host in self.machines.hosts:
            self._furnish(host)
        for host in self.servers:
            self.devices[host] = [self._device(f"{host}-{number}", size) for number in range(bricks)]
            self.launch(host)
        for host in self.servers:
            self.await_server(host)

    def launch(self, host: str) -> None:
        """Start the glusterd of a host and do not wait."""
        argv = [*self.machines.enter(host), "/usr/sbin/glusterd", "--no-daemon", "--log-level", "WARNING"]
        self.daemons[host] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def await_server(self, host: str) -> None:
        """Wait until it answers. Raises Unavailable."""
        end = time.monotonic() + START_SECONDS
        argv = [*self.machines.enter(host), "gluster", "pool", "list"]
        while subprocess.run(argv, capture_output=True).returncode != 0:
            if time.monotonic() > end:
                raise Unavailable(why=f"glusterd does not answer on {host}: see {self.directory}/{host}-log")
            time.sleep(0.1)

    def stop(self, host: str) -> None:
        """End a glusterd at once; what serves the bricks goes on."""
        daemon = self.daemons.pop(host)
        daemon.kill()
        daemon.wait()

    def crash(self, host: str) -> None:
        """What a power cut does: no process of GlusterFS runs there and nothing is mounted, but the disks are as they were."""
        self._end_all(host)
        for place in self._mounts(host):
            run(*self.machines.enter(host), "umount", "-l", place)
        run(*self.machines.enter(host), "sh", "-c", "rm -rf /run/gluster /run/glusterd*")

    def processes(self, host: str) -> list[int]:
        """Those of GlusterFS on a host."""
        with contextlib.suppress(OSError):
            space = (self.machines.directory / host).stat().st_ino
            return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_gluster(pid, space)]  # noqa: PTH208
        return []

    def close(self) -> None:
        """End all, and give the devices back."""
        for host in self.machines.hosts:
            self._end_all(host)
        for place in (place for host in self.servers for place in self._mounts(host)):
            run("umount", "-l", place, check=False)
        for device in (device for devices in self.devices.values() for device in devices):
            self._detach(device)
        self.devices.clear()

    def _furnish(self, host: str) -> None:
        for name, place in _PRIVATE.items():
            own = self.directory / f"{host}-{name}"
            own.mkdir(parents=True, exist_ok=True)
            run(*self.machines.enter(host), "mount", "--bind", str(own), place)

    def _device(self, name: str, size: int) -> str:
        image = self.directory / name
        with image.open("wb") as file:
            file.truncate(size)
        return subprocess.run(["losetup", "--show", "-f", str(image)], check=True, capture_output=True, text=True).stdout.strip()

    def _detach(self, device: str) -> None:
        """Not while a filesystem on it is mounted in a namespace that is about to go."""
        for host in self.machines.hosts:
            run(*self.machines.enter(host), "umount", "-l", device, check=False)
        run("losetup", "-d", device, check=False)

    def _mounts(self, host: str) -> list[str]:
        done = subprocess.run([*self.machines.enter(host), "cat", "/proc/self/mounts"], capture_output=True, text=True)
        rows = [line.split() for line in done.stdout.splitlines()]
        return [row[1] for row in reversed(rows) if row[2] in ("xfs", "fuse.glusterfs")]

    def _end_all(self, host: str) -> None:
        end = time.monotonic() + END_SECONDS
        while (pids := self.processes(host)) and time.monotonic() < end:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        if daemon := self.daemons.pop(host, None):
            daemon.wait()


def run(*argv: str, check: bool = True) -> None:
    """A command of the system."""
    subprocess.run(argv, check=check, capture_output=True)


def _is_gluster(pid: int, space: int) -> bool:
    with contextlib.suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return name.startswith("gluster") and state != "Z" and Path(f"/proc/{pid}/ns/mnt").stat().st_ino == space
    return False
