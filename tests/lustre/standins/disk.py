"""Targets on block devices: an ext4 with Lustre's label, and mount(2)."""

from __future__ import annotations

import ctypes
import os
import re
import stat
import subprocess
from collections.abc import Sequence

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, NOATIME, BIND, DETACH = 1, 2, 4, 8, 32, 1024, 4096, 2
FLAGS = {"ro": RDONLY, "nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC, "noatime": NOATIME}
NEWNS = 0x20000
_LABEL = re.compile(r"([\w-]{1,8})([-:=])((?:MDT|OST)[0-9a-f]{4})")
_LIBC = ctypes.CDLL(None, use_errno=True)


class Disk:
    """An ext4 on a block device, read without mounting it. Raises ValueError if it is none, OSError if it cannot be read."""

    def __init__(self, device: str) -> None:
        self.path, self.disk = device, number(device)
        with open(device, "rb") as file:
            block = os.pread(file.fileno(), 1024, 1024)
        if block[56:58] != b"\x53\xef":
            raise ValueError(device)
        self.uuid = block[104:120].hex()
        self.label = block[120:136].rstrip(b"\0").decode(errors="replace")

    @property
    def target(self) -> tuple[str, str, str]:
        """Filesystem, mark and service, as the label has them; nothing of a label that is no target's."""
        return parse_label(self.label)

    def set_label(self, label: str) -> None:
        subprocess.run(["/usr/sbin/e2label", self.path, label], check=True, capture_output=True)
        self.label = label


def parse_label(label: str) -> tuple[str, str, str]:
    """Filesystem, mark and service; nothing of a label that is no target's."""
    found = _LABEL.fullmatch(label)
    return (found[1], found[2], found[3]) if found else ("", "", "")


def number(device: str) -> str:
    """``major:minor`` of a device, or nothing."""
    try:
        found = os.stat(device)
    except OSError:
        return ""
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" if stat.S_ISBLK(found.st_mode) else ""


def flags_of(options: Sequence[str]) -> int:
    return sum(FLAGS.get(option, 0) for option in options)


def mount(source: str, place: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). Raises OSError."""
    if _LIBC.mount(source.encode(), os.fsencode(place), kind.encode(), flags, data.encode()):
        _fail()


def detach(place: str) -> None:
    """umount2(2), lazily. Raises OSError."""
    if _LIBC.umount2(os.fsencode(place), DETACH):
        _fail()


def enter(file: int) -> None:
    """Go to another mount namespace, for good. Raises OSError."""
    if _LIBC.setns(file, NEWNS):
        _fail()


def _fail() -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))
