"""What the clients of a filesystem share: an ext4 in a file as large as its OSTs, on a loop device while any of them has it mounted.

It belongs to MDT0000 as that was formatted, so what a filesystem held is gone when another of its name is made.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator

from .wire import Wire

_CONTROL, GET_FREE, _CONFIGURE = (10, 237), 0x4C82, 0x4C0A
_AUTOCLEAR = 4
_INFO_FLAGS, _INFO_SIZE = 52, 232
LOOP_MAJOR = 7


def path(wire: Wire, uuid: str) -> str:
    """The file."""
    return wire.path("..", "disks", f"fs-{uuid}")


@contextlib.contextmanager
def device(wire: Wire, uuid: str, osts: list[str]) -> Iterator[str]:
    """Its device, ``major:minor``, to be mounted meanwhile: unmounted, it goes by itself. ``osts``: the devices of its OSTs."""
    with wire.locked():
        name = os.path.realpath(path(wire, uuid))
        if not os.path.exists(name):
            _make(name, sum(map(_bytes, osts)))
        attached = _attached(wire, uuid, name)
        if attached:
            yield attached
            return
        with _attach(name) as number:
            found = f"{LOOP_MAJOR}:{number}"
            wire.write({"device": found}, "images", uuid)
            yield found


def remove(wire: Wire, uuid: str) -> None:
    """Forget it, with all that was in it; who has it mounted keeps it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path(wire, uuid))


def _bytes(device: str) -> int:
    with open(f"/sys/dev/block/{device}/size") as file:
        return int(file.read()) * 512


def _make(name: str, size: int) -> None:
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(name), delete=False) as file:
        file.truncate(size)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", file.name], check=True, capture_output=True)
    os.rename(file.name, name)


def _attached(wire: Wire, uuid: str, name: str) -> str:
    found = str(wire.read("images", uuid).get("device", ""))
    with contextlib.suppress(OSError), open(f"/sys/dev/block/{found}/loop/backing_file") as file:  # fails when it is detached
        if file.read().strip() == name:
            return found
    return ""


@contextlib.contextmanager
def _attach(name: str) -> Iterator[int]:
    """A loop device on the file, by nodes of our own: a host's ``/dev`` has none."""
    with tempfile.TemporaryDirectory(dir="/run") as here, open(name, "r+b") as image:
        number, loop = _configure(here, image.fileno())
        try:
            yield number
        finally:
            os.close(loop)


def _configure(here: str, image: int) -> tuple[int, int]:
    """A loop device that has the file, and a descriptor that keeps it. Raises OSError when none is free."""
    control = _open(f"{here}/control", os.makedev(*_CONTROL))
    info = bytearray(_INFO_SIZE)
    struct.pack_into("=I", info, _INFO_FLAGS, _AUTOCLEAR)
    for _ in range(50):  # others look for a free one, too
        number = fcntl.ioctl(control, GET_FREE)
        loop = _open(f"{here}/{number}", os.makedev(LOOP_MAJOR, number))
        try:
            fcntl.ioctl(loop, _CONFIGURE, struct.pack("=II", image, 0) + bytes(info) + bytes(64))
        except OSError as error:
            os.close(loop)
            if error.errno != errno.EBUSY:
                raise
        else:
            os.close(control)
            return number, loop
    raise OSError(errno.EBUSY, "no loop device is free")


def _open(node: str, number: int) -> int:
    if not os.path.exists(node):
        os.mknod(node, 0o60600 if os.major(number) == LOOP_MAJOR else 0o20600, number)
    return os.open(node, os.O_RDWR | os.O_CLOEXEC)
