"""The first process of a host: its own ``/dev``, ``/run``, ``/mnt`` and ``/root``, the stand-ins before ``/usr/sbin``, then sshd."""

from __future__ import annotations

import os
import socket

from . import disk as disks
from .fronts import sync
from .wire import Wire

_REC = 16384
_NODES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "fuse": (10, 229),
    "loop-control": (10, 237),
}


def main(root: str, host: str) -> None:
    """Become a host. The result of failing is the process's end, with a traceback in the host's log."""
    os.umask(0o022)
    socket.sethostname(host)
    disks.mount("/proc", f"{root}/wire/proc", "", disks.BIND | _REC)  # how other hosts' mounts are seen
    disks.mount("proc", "/proc", "proc", 0)
    for place in ("/run", "/mnt", "/root"):
        disks.mount("dacc", place, "tmpfs", 0, "mode=755,size=16m")
    os.mkdir("/run/sshd", 0o755)  # where sshd chroots to
    disks.mount(f"{root}/hosts", "/etc/hosts", "", disks.BIND)
    _nodes(Wire(f"{root}/wire"), host)
    disks.mount("/usr/sbin", f"{root}/real", "", disks.BIND)
    disks.mount("dacc", "/usr/sbin", "overlay", 0, f"lowerdir={root}/bin:/usr/sbin")
    os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", f"{root}/sshd_config"])


def _nodes(wire: Wire, host: str) -> None:
    """No host sees another's bricks."""
    disks.mount("dacc", "/dev", "tmpfs", 0, "mode=755,size=4m")
    for name, (major, minor) in _NODES.items():
        os.mknod(f"/dev/{name}", 0o20666, os.makedev(major, minor))
        os.chmod(f"/dev/{name}", 0o666)
    os.symlink("/proc/self/fd", "/dev/fd")
    for folder in ("/dev/pts", "/dev/shm", "/dev/disk", "/dev/disk/by-id"):
        os.mkdir(folder)
    disks.mount("dacc", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666")
    disks.mount("dacc", "/dev/shm", "tmpfs", 0, "size=64m")
    os.symlink("pts/ptmx", "/dev/ptmx")
    for number, disk in enumerate(wire.me().get("disks", [])):
        os.mknod(f"/dev/{disk}", 0o60600, os.makedev(7, int(disk.removeprefix("loop"))))
        os.symlink(f"../../{disk}", f"/dev/disk/by-id/nvme-{host}-{number}")
    sync(wire)
