"""Runs on a host, read from standard input by its interpreter (3.6 or newer): what is there that has to do with a check.

``REQUESTS`` stands in front of this text, and the host's name is the argument. Of a host's request, ``marks`` are the directories,
and ``bricks`` the directories and devices, that belong to the check; everything whose name lies under one of them is told. With
``sweep``, a list of what was told before, those things are taken away, except partition tables.
"""

import json
import os
import re
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Entry = tuple[str, str, str]

TABLES = ("gpt", "dos", "PMBR")
REQUEST: "dict[str, Any]" = globals().get("REQUESTS", {}).get(sys.argv[-1], {"marks": [], "bricks": [], "sweep": []})


def marked(name: str) -> bool:
    """Whether a path lies under a mark, or is one."""
    return any(name == mark or name.startswith(mark.rstrip("/") + "/") for mark in REQUEST["marks"])


def words_are_marked(text: str) -> bool:
    """Whether a directory that is a mark, or a path below one, stands in a text. Devices do not count: monitoring names them, too."""
    names = [re.escape(mark) for mark in REQUEST["marks"] if os.path.isdir(mark)]
    return any(re.search("(?<![^ =:,'\"])" + name + "(?![^ /:,'\"])", text) for name in names)


def lines(path: str) -> "list[str]":
    """The lines of a file that may not be there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def unescaped(name: str) -> str:
    """A name as the kernel's tables write it, as it is."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), name)


def mounts() -> "Iterator[Entry]":
    """Mounts under the marks or of them. A mount at a mark itself is the place in which checks mount."""
    for line in lines("/proc/self/mounts"):
        source, point, kind = [unescaped(word) for word in line.split()[:3]]
        if (marked(point) and point not in REQUEST["marks"]) or marked(source):
            yield "mount", point, kind


def loops() -> "Iterator[Entry]":
    """Loop devices with a marked backing file."""
    for name in sorted(os.listdir("/sys/block")) if os.path.isdir("/sys/block") else []:
        for backing in lines(f"/sys/block/{name}/loop/backing_file"):
            if marked(backing):
                yield "loop", "/dev/" + name, backing


def swaps() -> "Iterator[Entry]":
    """Swap files and devices under the marks."""
    for line in lines("/proc/swaps")[1:]:
        name = unescaped(line.split()[0])
        if marked(name):
            yield "swap", name, ""


def own() -> "set[int]":
    """This process and those above it."""
    pid, found = os.getpid(), set()  # type: int, set[int]
    while pid > 0 and pid not in found:
        found.add(pid)
        status = [line for line in lines(f"/proc/{pid}/status") if line.startswith("PPid:")]
        pid = int(status[0].split()[1]) if status else 0
    return found


def processes() -> "Iterator[Entry]":
    """Processes whose command line has a mark."""
    mine = own()
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        text = " ".join(lines(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()
        if pid not in mine and text and words_are_marked(text):
            yield "process", str(pid), text[:200]


def files() -> "Iterator[Entry]":
    """Files and directories under the marks, not those of what is mounted there."""
    for mark in REQUEST["marks"]:
        device = os.stat(mark).st_dev if os.path.isdir(mark) else 0
        for folder, below, names in os.walk(mark):
            below[:] = [name for name in below if not os.path.ismount(os.path.join(folder, name))]
            if os.lstat(folder).st_dev == device:
                for name in below + names:
                    yield "file", os.path.join(folder, name), ""


def with_partitions(device: str) -> "list[str]":
    """A device and its partitions, by the kernel's names; none for what is no block device."""
    name = os.path.realpath(device)
    if not os.path.exists(name) or not stat.S_ISBLK(os.stat(name).st_mode):
        return []
    folder = "/sys/class/block/" + os.path.basename(name)
    below = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [name] + ["/dev/" + one for one in below if os.path.exists(folder + "/" + one + "/partition")]


def signatures() -> "Iterator[Entry]":
    """Bricks, and their partitions, that hold something which the system would recognise. A partition table belongs to the site."""
    devices = [one for brick in REQUEST["bricks"] for one in with_partitions(brick)]
    if not devices:
        return
    import shutil  # late, here and below: most looks need no program, and end before these were loaded
    import subprocess

    for device in devices if shutil.which("wipefs") else []:
        said = subprocess.run(["wipefs", "--parsable", device], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        found = [line for line in said.decode("utf-8", "replace").splitlines() if not line.startswith("#")]
        if found and not any(line.split(",")[-1] in TABLES for line in found):
            yield "signature", device, found[-1]


def remove(kind: str, name: str) -> None:
    """Take one thing away."""
    import signal
    import subprocess

    commands = {"mount": ["umount", "-l"], "loop": ["losetup", "-d"], "swap": ["swapoff"], "signature": ["wipefs", "--all"]}
    if kind == "process":
        os.kill(int(name), signal.SIGKILL)
    elif kind == "signature" and name not in [device for _, device, _ in signatures()]:
        return  # there is a partition table by now
    elif kind in commands:
        subprocess.run(commands[kind] + [name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    elif os.path.isdir(name) and not os.path.islink(name):
        os.rmdir(name)  # never what is in it: all that may go is in the list, and something may be mounted there
    else:
        os.unlink(name)


def main() -> "list[Entry]":
    """Take away what is asked for, then tell what is there."""
    REQUEST["marks"] += [one for brick in REQUEST["bricks"] for one in [brick, *with_partitions(brick)]]
    order = ["process", "swap", "mount", "loop", "file", "signature"]
    for kind, name, _ in sorted(REQUEST["sweep"], key=lambda one: (order.index(one[0]), -one[1].count("/"))):
        try:
            remove(kind, name)
        except OSError:
            continue
    found = [mounts, loops, swaps, processes, files, signatures]
    return sorted({one for look in found for one in look()})


if __name__ == "__main__":
    print(json.dumps(main()))
