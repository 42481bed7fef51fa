"""What a request must look like before anything is done with it, and what this machine can do."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dacc_core.sdk import InvalidRequest, Volume

CAP_SYS_ADMIN = 1 << 21


def has_loop_devices() -> bool:
    """Whether this process is root with the right to mount, on a machine with loop devices."""
    if os.geteuid() or not Path("/dev/loop-control").exists():
        return False
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return bool(int(status.get("CapEff", "0"), 16) & CAP_SYS_ADMIN) and os.access("/dev/loop-control", os.R_OK | os.W_OK)


def check_volume(volume: Volume) -> None:
    """Raise InvalidRequest for a volume that cannot be meant: its name and devices become paths."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", volume.name):
        raise InvalidRequest(why=f"volume name {volume.name!r}: use letters, digits, - and _")
    if not volume.bricks or volume.capacity <= 0:
        raise InvalidRequest(why=f"volume {volume.name} has {len(volume.bricks)} bricks and {volume.capacity} bytes: it needs both")
    for brick in volume.bricks:
        checked_path(brick.device, f"device of volume {volume.name}")


def check_hosts(hosts: Sequence[str]) -> None:
    """Raise InvalidRequest for a host name that cannot be a file's."""
    for host in hosts:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", host):
            raise InvalidRequest(why=f"host name {host!r}: use letters, digits, dots, - and _")


def checked_path(path: str, what: str) -> str:
    """The path, if it is absolute and plain. Raises InvalidRequest."""
    if not path.startswith("/") or str(PurePosixPath(path)) != path or ".." in PurePosixPath(path).parts or path == "/":
        raise InvalidRequest(why=f"{what} {path!r}: give an absolute path without dots or slashes at its end")
    return path
