"""The stand-ins as programs that hosts find before the system's, and bricks that are loop devices."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import time
from pathlib import Path

from .standins.main import COMMANDS, QUICK

_STANDINS = Path(__file__).parent / "standins"
_LAUNCHER = """#!/usr/bin/python3 -IS
import sys
sys.path.insert(0, {root!r})
from standins.main import main
sys.exit(main({root!r}))
"""
_RECORDS = ("served", "hosts", "modules", "targets", "mgs", "images", "disks", "knobs", "calls")
_LOOP_CTL_REMOVE = 0x4C81


def install(directory: Path) -> None:
    """Make what the hosts share: ``bin`` with the programs, ``real`` for what those hide, ``wire``, and ``disks``.

    A copy, because ``/root`` of the hosts is not the machine's, compiled, because each call is a process.
    """
    for name in ("bin", "python", "real", "disks", "wire", *(f"wire/{kind}" for kind in _RECORDS)):
        (directory / name).mkdir()
    shutil.copytree(_STANDINS, directory / "standins", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", str(directory / "standins")], check=True)
    launcher = _program(directory / "launcher", _LAUNCHER.format(root=str(directory)))
    front = _program(directory / "front", (_STANDINS / "front.sh").read_text().replace("@root@", str(directory)))
    for name, function in COMMANDS.items():
        (directory / "python" / name).symlink_to(launcher)
        (directory / "bin" / name).symlink_to(front if function == QUICK else launcher)


def _program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_brick(image: Path, size: int) -> str:
    """A block device of so many bytes, with partitions if it is given some, on a sparse file."""
    with image.open("wb") as file:
        file.truncate(size)
    done = subprocess.run(["losetup", "-P", "-f", "--show", str(image)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def remove_loop(device: str) -> None:
    """Detach a loop device and remove its node."""
    subprocess.run(["losetup", "-d", device], capture_output=True)
    end = time.monotonic() + 10
    while subprocess.run(["losetup", device], capture_output=True).returncode == 0 and time.monotonic() < end:
        time.sleep(0.02)
    number = int(device.removeprefix("/dev/loop"))
    if number > 7:  # those that a machine has from its start stay
        with contextlib.suppress(OSError), Path("/dev/loop-control").open("rb") as control:
            fcntl.ioctl(control, _LOOP_CTL_REMOVE, number)
