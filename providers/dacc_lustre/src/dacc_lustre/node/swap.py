"""Swap files on the mounted filesystem: one for each host, at ``swap/<host>``, through a loop device: Lustre cannot swap itself."""

import fcntl
import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    from .client import ours, resolved
    from .common import EXISTS, CommandFailed, Failure, Job, last_line, left, locked, must, place, read, run, verb
    from .planted import Opened, in_the_way, inside, of_root, opened, top_of

LOOP_GET_STATUS64 = 0x4C05


def _loop_of(name: str) -> str:
    """The loop device on a file, empty if there is none. By sysfs: losetup would open the file."""
    for device in sorted(one for one in os.listdir("/sys/block") if one.startswith("loop")):
        if read("/sys/block/{}/loop/backing_file".format(device)) == name:
            return "/dev/" + device
    return ""


def _enabled() -> Dict[str, str]:
    return {line.split()[0]: line for line in read("/proc/swaps").splitlines()[1:]}


@verb("swap-on")
def swap_on(job: Job) -> None:
    """Make the swap file anew and enable it; an enabled one of that size stays. Raises NoSpace when there is no room."""
    path = resolved(job["path"])
    found = ours(path, job["fsname"])
    if found is None:
        raise Failure("NotFound", "it is not mounted at {}: mount it before swapping to it".format(path))
    with locked("swap"), top_of(path, found.device) as top, of_root(top, "swap", 0o700) as folder:
        name = os.path.join(folder.path, job["host"])
        if _loop_of(name) not in _enabled():
            _make(folder, job)
        elif os.stat(job["host"], dir_fd=folder.number, follow_symlinks=False).st_size != job["size"]:
            raise Failure(EXISTS, "{} is enabled with another size: swap_off first".format(name))


def _make(folder: "Opened", job: Job) -> None:
    _remove(folder, job["host"])
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(job["host"], flags, 0o600, dir_fd=folder.number)
        with opened(file, os.path.join(folder.path, job["host"])) as swap:
            _fill(swap.number, job["size"])
            place(job, "allocated")
            _enable(swap)
    except (CommandFailed, Failure, OSError):
        _remove(folder, job["host"])
        raise


def _fill(file: int, size: int) -> None:
    """Write the whole file: a hole would have to be filled when memory is short."""
    chunk = bytes(4 << 20)
    while size > 0:
        size -= os.write(file, chunk[: min(size, len(chunk))])
    os.fsync(file)


def _enable(swap: "Opened") -> None:
    loop = must(swap.path, "losetup", "--find", "--show", swap.path).strip()
    if not _is_on(loop, swap):
        run("losetup", "--detach", loop)
        raise Failure(EXISTS, "{} became another file while it was made: see who puts what there".format(swap.path))
    must(loop, "mkswap", loop)
    done = run("swapon", loop)
    if done.rc or loop not in _enabled():
        raise Failure("Unsupported", "swapon {} failed: {}: ask for no swap".format(loop, last_line(done.text)))


def _is_on(loop: str, swap: "Opened") -> bool:
    """Whether a loop device has the very file that we made: losetup went by its name, where another host may put anything."""
    with open(loop, "rb") as device:
        status = fcntl.ioctl(device, LOOP_GET_STATUS64, bytes(232))
    facts = os.fstat(swap.number)
    return struct.unpack_from("=QQ", status) == (facts.st_dev, facts.st_ino) and facts.st_nlink == 1


@verb("swap-off")
def swap_off(job: Job) -> None:
    """Disable and remove the swap file; one that is gone, or whose volume is not mounted, is fine."""
    path = resolved(job["path"])
    with locked("swap"), suppress(FileNotFoundError):
        _disable(os.path.join(path, "swap", job["host"]))
        found = ours(path, job["fsname"])
        if found is not None:
            with top_of(path, found.device) as top, inside(top, "swap") as folder:
                _remove(folder, job["host"])


def _disable(name: str) -> None:
    loop = _loop_of(name)
    if loop:
        if loop in _enabled():
            must(loop, "swapoff", loop, seconds=left())
        run("losetup", "--detach", loop)


def _remove(folder: "Opened", name: str) -> None:
    """Disable a swap file and remove what is at its name; a link goes, and what it leads to stays."""
    path = os.path.join(folder.path, name)
    _disable(path)
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder.number, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            raise in_the_way(path, found.st_mode)
        os.unlink(name, dir_fd=folder.number)
