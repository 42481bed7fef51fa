"""Who keeps a mount busy, and how they are ended: only processes that use this very mount, none that merely looks like it."""

import os
import signal
import time
from contextlib import suppress
from typing import Callable, List

STRING = "surrogateescape"


def holders(path: str) -> List[int]:
    """The processes of this mount namespace with a directory, file, program or mapping below a path. It touches nothing on it."""
    here = os.readlink("/proc/self/ns/mnt")
    spared = _ancestors()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid not in spared and _holds(pid, path, here)]


def _ancestors() -> List[int]:
    found = [os.getpid()]
    while found[-1] > 1:
        try:
            with open("/proc/{}/stat".format(found[-1]), errors=STRING) as file:
                found.append(int(file.read().rpartition(")")[2].split()[1]))
        except (OSError, ValueError, IndexError):
            break
    return found


def _holds(pid: int, path: str, namespace: str) -> bool:
    base = "/proc/{}".format(pid)
    try:
        if os.readlink(base + "/ns/mnt") != namespace:
            return False
        names = ["cwd", "root", "exe"] + ["fd/" + name for name in os.listdir(base + "/fd")]
        return any(_below(_link(base + "/" + name), path) for name in names) or any(_below(name, path) for name in _mapped(base))
    except OSError:  # it ended, or is a kernel thread
        return False


def _below(name: str, path: str) -> bool:
    return name == path or name.startswith(path + "/")


def _link(name: str) -> str:
    try:
        return os.readlink(name)
    except OSError:
        return ""


def _mapped(base: str) -> List[str]:
    with open(base + "/maps", errors=STRING) as file:
        return [line.split(None, 5)[5].rstrip("\n") for line in file if len(line.split(None, 5)) == 6]


def end_holders(path: str, seconds: float) -> List[int]:
    """End who holds a path, gently first; who is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in holders(path):
            with suppress(OSError):
                os.kill(pid, number)
        if _within(seconds / 2, lambda: not holders(path)):
            return []
    return holders(path)


def _within(seconds: float, right: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not right():
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True
