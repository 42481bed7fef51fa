"""Processes and how long they take."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

BARE = [sys.executable, "-I", "-S", "-c", "pass"]
"""The least that any program of this interpreter takes."""
BARE_NAME = "bare python"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a process ended: seconds, exit status, and what it wrote; where it was watched for that, the most memory it held, in MB."""

    seconds: float
    status: int
    output: str
    memory: float = 0.0


def run(argv: list[str], env: Mapping[str, str], output: Path) -> Ran:
    """Run a program as cheaply as can be: the one who measures shares the processors with what is measured."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    begun = time.perf_counter()
    process = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    _, status = os.waitpid(process, 0)
    seconds = time.perf_counter() - begun
    return Ran(seconds, os.waitstatus_to_exitcode(status), output.read_text(errors="replace"))


# A new process is charged with the memory of the one that made it. So the watcher is an interpreter that has nothing loaded.
_WATCHER = """
import posix, sys
process = posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ)
_, status, used = posix.wait4(process, 0)
posix.write(1, b"\\n%d" % used.ru_maxrss)
posix._exit(posix.waitstatus_to_exitcode(status))
"""


def run_watched(argv: list[str], env: Mapping[str, str], output: Path) -> Ran:
    """Run a program and see how much memory it holds."""
    ran = run([*BARE[:-1], _WATCHER, *argv], env, output)
    written, _, kilobytes = ran.output.rpartition("\n")
    return Ran(ran.seconds, ran.status, written, int(kilobytes) / 1024)


def memory_of(pid: int) -> float:
    """The most memory that a running process has held, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def milliseconds(times: Sequence[float]) -> float:
    """The median in ms."""
    return median(times) * 1000


def ratio(times: Sequence[float], beside: Sequence[float]) -> float:
    """The median of the ratios of what ran in turn: a slow moment of the machine is in both."""
    return median(one / other for one, other in zip(times, beside, strict=True))
