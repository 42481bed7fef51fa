"""Targets on ZFS: real pools of zfs-fuse, in which Lustre keeps what it knows of a target as properties of its dataset.

zfs-fuse lacks some options of OpenZFS; ``zpool`` here is a front that has those which dacc gives. A dataset is not mounted: a started
target is an empty tmpfs with the dataset's name.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys

from .disk import parse_label
from .fronts import program
from .wire import Wire

_KEPT = ("lustre:svname", "standin:uuid", "standin:vdev")


class Dataset:
    """What there is on disk of a target. Raises OSError if there is none, ValueError if it is not Lustre's."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.wire, self.path = wire, name
        done = run(wire, "zfs", "get", "-H", "-o", "value", ",".join(_KEPT), name)
        if done.returncode:
            raise OSError(errno.ENODEV, done.stderr)
        self.label, self.uuid, self.disk = done.stdout.split()
        if self.label == "-":
            raise ValueError(name)

    @property
    def target(self) -> tuple[str, str, str]:
        """Filesystem, mark and service."""
        return parse_label(self.label)

    def set_label(self, label: str) -> None:
        must(self.wire, "zfs", "set", f"lustre:svname={label}", self.path)


def is_dataset(spec: str) -> bool:
    return "/" in spec and not spec.startswith("/") and ":/" not in spec


def make(wire: Wire, name: str, vdevs: list[str], label: str, options: list[str]) -> Dataset:
    """Make pool and dataset, as mkfs.lustre would. Raises OSError."""
    pool = name.partition("/")[0]
    if not run(wire, "zfs", "list", "-H", name).returncode:
        must(wire, "zfs", "destroy", name)
    if run(wire, "zpool", "list", "-H", pool).returncode:
        must(wire, "zpool", "create", "-f", "-O", "canmount=off", pool, *vdevs)
    must(wire, "zfs", "create", "-o", "canmount=off", *options, name)
    found = os.stat(vdevs[0]).st_rdev
    kept = (label, os.urandom(16).hex(), f"{os.major(found)}:{os.minor(found)}")
    for key, value in zip(_KEPT, kept, strict=True):
        must(wire, "zfs", "set", f"{key}={value}", name)
    return Dataset(wire, name)


def zpool(wire: Wire, argv: list[str]) -> int:
    """zpool, whose import takes ``-N`` and one device here."""
    if argv[:1] == ["import"]:
        device = argv[argv.index("-d") + 1]
        names = argv[argv.index("-d") + 2 :]
        found = subprocess.run(["/usr/sbin/blkid", "-p", "-o", "value", "-s", "LABEL", device], capture_output=True, text=True)
        if found.stdout.strip() != names[0]:
            sys.stderr.write(f"cannot import '{names[0]}': no such pool available\n")
            return 1
        argv = ["import", "-o", "cachefile=none", "-d", "/dev", *names]
    done = run(wire, "zpool", *argv)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def run(wire: Wire, name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(wire, name), *argv], capture_output=True, text=True)


def must(wire: Wire, name: str, *argv: str) -> None:
    done = run(wire, name, *argv)
    if done.returncode:
        raise OSError(errno.EIO, f"{name} {' '.join(argv)}: {done.stderr.strip()}")
