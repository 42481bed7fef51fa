"""One program for all commands, by the name that it is called by; what was called is logged, and knobs may spoil it."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time

from .wire import Record, Wire

QUICK = "fronts:front"  # what front.sh does, unless there is more to it
COMMANDS = {
    "mkfs.lustre": "mkfs:make",
    "tunefs.lustre": "mkfs:tune",
    "mount.lustre": "mount:main",
    "lctl": "lctl:main",
    "lfs": "lfs:main",
    "lnetctl": "lnet:lnetctl",
    "modprobe": "lnet:modprobe",
    "zpool": "zfs:zpool",
    "udevadm": "fronts:udevadm",
    "findmnt": QUICK,
    "parted": "fronts:changes_nodes",
    "partprobe": "fronts:changes_nodes",
    "partx": "fronts:changes_nodes",
    "losetup": "fronts:losetup",
    "umount": QUICK,
    "wipefs": QUICK,
    "blkdiscard": QUICK,
    "mkswap": QUICK,
    "swapon": QUICK,
    "swapoff": QUICK,
}


def main(root: str) -> int:
    """Run the command that the program's name and arguments say. The result is its exit status."""
    os.umask(0o022)
    wire = Wire(os.path.join(root, "wire"))
    name = sys.argv[0].rpartition("/")[2]
    if name != "findmnt":  # how often one looks is nobody's business
        log(wire, [name, *sys.argv[1:]])
    code = spoil(wire, name)
    if code is not None:
        return code
    module, _, function = COMMANDS[name].partition(":")
    called = getattr(importlib.import_module(f"standins.{module}"), function)
    result: int = called(wire, sys.argv[1:])
    return result


def log(wire: Wire, argv: list[str]) -> None:
    line = json.dumps(argv) + "\n"
    with open(wire.path("calls", wire.host), "a") as file:
        file.write(line)


def spoil(wire: Wire, name: str) -> int | None:
    """Do what a knob says; an exit status if the command is not to run."""
    if not os.path.exists(wire.path("knobs", f"{wire.host}.{name}.json")):
        return None
    with wire.locked():
        knob = turn(wire, name)
    if not knob:
        return None
    time.sleep(knob["seconds"])
    sys.stdout.write(knob["stdout"])
    sys.stderr.write(knob["stderr"])
    returned: int | None = knob["rc"]
    return returned


def turn(wire: Wire, name: str) -> Record:
    """The knob, if it is for these arguments and has not been used up."""
    place = ("knobs", f"{wire.host}.{name}")
    knob = wire.read(*place)
    if not knob or knob["times"] == 0 or knob["match"] not in " ".join(sys.argv[1:]):
        return {}
    wire.write({**knob, "times": knob["times"] - 1}, *place)
    return knob
