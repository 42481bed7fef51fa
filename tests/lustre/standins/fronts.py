"""Fronts of real programs: for nodes that a private ``/dev`` must be given, and for knobs."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys

from .image import GET_FREE, LOOP_MAJOR
from .wire import Wire

_FOLDERS = ("/usr/bin", "/bin")


def program(wire: Wire, name: str) -> str:
    """The program that a stand-in hides."""
    for folder in (wire.path("..", "real"), *_FOLDERS):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    sys.stderr.write(f"{name}: not found\n")
    raise SystemExit(127)


def front(wire: Wire, argv: list[str]) -> int:
    """What ``front.sh`` does, which handed over to us for the log and the knobs."""
    path = wire.path("..", "bin", sys.argv[0].rpartition("/")[2])
    os.execve(path, [path, *argv], {**os.environ, "SPOILT": "1"})


def changes_nodes(wire: Wire, argv: list[str]) -> int:
    """A program after which partitions come and go."""
    done = subprocess.run([program(wire, sys.argv[0].rpartition("/")[2]), *argv])
    sync(wire)
    return done.returncode


def losetup(wire: Wire, argv: list[str]) -> int:
    """losetup, after the node of the device that it is about to find was made; it may find another."""
    path = program(wire, "losetup")
    for _ in range(20):
        if {"-f", "--find"} & set(argv):
            with open("/dev/loop-control") as control:
                number = fcntl.ioctl(control, GET_FREE)
            if not os.path.exists(f"/dev/loop{number}"):
                os.mknod(f"/dev/loop{number}", 0o60600, os.makedev(LOOP_MAJOR, number))
        done = subprocess.run([path, *argv], capture_output=True, text=True)
        if done.returncode == 0:
            break
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def udevadm(wire: Wire, argv: list[str]) -> int:
    """``settle``: every node is there already."""
    if argv[:1] != ["settle"]:
        sys.stderr.write("udevadm: only settle is played here\n")
        return 1
    return 0


def sync(wire: Wire) -> None:
    """Make the nodes of this host's partitions, and remove those of partitions that are gone: what devtmpfs does for all hosts at once."""
    for disk in wire.me().get("disks", []):
        folder = f"/sys/class/block/{disk}"
        wanted = {name for name in os.listdir(folder) if re.fullmatch(rf"{disk}p\d+", name)}
        for name in os.listdir("/dev"):
            if re.fullmatch(rf"{disk}p\d+", name) and name not in wanted:
                os.unlink(f"/dev/{name}")
        for name in wanted:
            _node(f"/dev/{name}", f"{folder}/{name}/dev")


def _node(path: str, described: str) -> None:
    with open(described) as file:
        major, minor = map(int, file.read().split(":"))
    device = os.makedev(major, minor)
    if os.path.exists(path):
        if os.stat(path).st_rdev == device:
            return
        os.unlink(path)
    os.mknod(path, 0o60600, device)
