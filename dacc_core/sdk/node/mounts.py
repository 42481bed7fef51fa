"""The mount table, unmounting, and who keeps a mount busy.

Nothing here touches what is mounted: its server may be gone, and whoever looks would hang.
"""

import os
import re
import time
from contextlib import suppress

from .kit import NodeError, must, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Optional


class MountEntry:
    """A line of the mount table. ``device``: as the kernel numbers it, ``major:minor``."""

    def __init__(self, point: str, source: str, kind: str, options: "list[str]", device: str) -> None:
        self.point, self.source, self.kind, self.options, self.device = point, source, kind, options, device


def mount_table(process: str = "self") -> "list[MountEntry]":
    """The mounts that a process sees (proc_pid_mountinfo(5))."""
    with open("/proc/{}/mountinfo".format(process), encoding="utf-8", errors="surrogateescape") as file:
        return [_parse(line) for line in file]


def _parse(line: str) -> MountEntry:
    fields = line.split()
    kind, source = fields[fields.index("-") + 1 :][:2]
    return MountEntry(_unescaped(fields[4]), _unescaped(source), kind, fields[5].split(","), fields[2])


def _unescaped(word: str) -> str:
    """A word of the mount table: spaces and the like stand there in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), word)


def mounted_at(path: str) -> "Optional[MountEntry]":
    """The topmost mount at a path, which must be as :func:`resolved` makes it."""
    here = [entry for entry in mount_table() if entry.point == path]
    return here[-1] if here else None


def resolved(path: str) -> str:
    """The path with its parents' symbolic links followed, as mount tables show it; the last part is left alone."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def remount(path: str, access: str) -> None:
    """Make a mount read-only (``ro``) or writable (``rw``): this mount, not the filesystem, which others may have mounted, too."""
    must(path, "mount", "-o", "remount,bind,nodev,nosuid," + access, path)


def unmount(path: str, patience: float = 0.0) -> None:
    """Unmount what is topmost at a path; somebody else (Slurm's Epilog) may be quicker. Raises Busy with the holders, Unavailable.

    ``patience``: the seconds to wait for those who use it.
    """
    end = time.monotonic() + patience
    while True:
        # Without looking at the path: it may be a dead mount, or somebody's link by now.
        result = run("umount", "--no-canonicalize", path)
        if not result.returncode or mounted_at(path) is None:
            return
        if time.monotonic() >= end:
            break
        time.sleep(0.1)
    if "busy" in result.stderr:
        raise NodeError("Busy", "{} is busy: {}".format(path, held_by(path)))
    raise NodeError("Unavailable", "umount {} failed: {}".format(path, result.why()))


def swap_names() -> "list[str]":
    """The files and devices that the kernel swaps to."""
    with open("/proc/swaps", errors="surrogateescape") as file:
        return [line.split()[0].replace("\\040", " ") for line in file][1:]


def held_by(path: str) -> str:
    """Who keeps a path busy, in words: processes, swap files and mounts below it."""
    parts = ["process {} uses it".format(pid) for pid in holders(path)[:8]]
    parts += ["{} is mounted".format(entry.point) for entry in mount_table() if entry.point.startswith(path + "/")][:4]
    parts += ["{} is swapped to".format(name) for name in swap_names() if name.startswith(path + "/")]
    return (", ".join(parts) or "nobody that can be seen") + "; end that and try again"


def processes() -> "Iterator[int]":
    """The processes that see the same mounts as this one."""
    namespace = os.readlink("/proc/self/ns/mnt")
    for name in filter(str.isdigit, os.listdir("/proc")):
        if _link("/proc/{}/ns/mnt".format(name)) == namespace:
            yield int(name)


def holders(path: str) -> "list[int]":
    """The processes of this mount namespace with a directory, file, program or mapping below a path; this one and its parents left out."""
    spared = _ancestors()
    return [pid for pid in processes() if pid not in spared and _holds(pid, path)]


def _ancestors() -> "list[int]":
    pids = [os.getpid()]
    while pids[-1] > 1:
        try:
            with open("/proc/{}/stat".format(pids[-1]), errors="surrogateescape") as file:
                pids.append(int(file.read().rpartition(")")[2].split()[1]))
        except (OSError, ValueError, IndexError):
            break
    return pids


def _holds(pid: int, path: str) -> bool:
    base = "/proc/{}".format(pid)
    try:
        names = ["cwd", "root", "exe"] + ["fd/" + name for name in os.listdir(base + "/fd")]
        return any(_below(_link(base + "/" + name), path) for name in names) or any(_below(name, path) for name in _mapped(base))
    except OSError:  # it ended, or is a kernel thread
        return False


def _below(name: str, path: str) -> bool:
    return name == path or name.startswith(path + "/")


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _mapped(base: str) -> "list[str]":
    with open(base + "/maps", errors="surrogateescape") as file:
        return [line.split(None, 5)[5].rstrip("\n") for line in file if len(line.split(None, 5)) == 6]


def end_holders(path: str, seconds: float) -> "list[int]":
    """End who holds a path, gently first; who is left."""
    import signal

    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in holders(path):
            with suppress(OSError):
                os.kill(pid, number)
        if _within(seconds / 2, lambda: not holders(path)):
            return []
    return holders(path)


def _within(seconds: float, condition: "Callable[[], bool]") -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True
