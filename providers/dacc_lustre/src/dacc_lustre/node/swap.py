"""Swap files on the mounted filesystem: one for each host, at ``swap/<host>``, through a loop device: Lustre cannot swap itself."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    from .client import ours, resolved
    from .common import CommandFailed, Failure, Job, last_line, left, locked, must, place, read, run, verb


def _loop_of(name: str) -> str:
    """The loop device on a file, empty if there is none. By sysfs: losetup would open the file."""
    for device in sorted(one for one in os.listdir("/sys/block") if one.startswith("loop")):
        if read("/sys/block/{}/loop/backing_file".format(device)) == name:
            return "/dev/" + device
    return ""


def _enabled() -> Dict[str, str]:
    return {line.split()[0]: line for line in read("/proc/swaps").splitlines()[1:]}


def _swap_file(job: Job) -> str:
    return os.path.join(resolved(job["path"]), "swap", job["host"])


@verb("swap-on")
def swap_on(job: Job) -> None:
    """Make the swap file anew and enable it; an enabled one of that size stays. Raises NoSpace when there is no room."""
    path, name = resolved(job["path"]), _swap_file(job)
    if ours(path, job["fsname"]) is None:
        raise Failure("NotFound", "it is not mounted at {}: mount it before swapping to it".format(path))
    with locked("swap"):
        loop = _loop_of(name)
        if loop and loop in _enabled() and os.path.getsize(name) == job["size"]:
            return
        if loop in _enabled():
            raise Failure("AlreadyExists", "{} is enabled with another size: swap_off first".format(name))
        _remove(name)
        _make(job, name)


def _make(job: Job, name: str) -> None:
    os.makedirs(os.path.dirname(name), 0o700, exist_ok=True)
    try:
        _allocate(name, job["size"])
        place(job, "allocated")
        loop = must(name, "losetup", "--find", "--show", name).strip()
        must(loop, "mkswap", loop)
        done = run("swapon", loop)
        if done.rc or loop not in _enabled():
            raise Failure("Unsupported", "swapon {} failed: {}: ask for no swap".format(loop, last_line(done.text)))
    except (CommandFailed, Failure, OSError):
        _remove(name)
        raise


def _allocate(name: str, size: int) -> None:
    """Write the whole file: a hole would have to be filled when memory is short."""
    chunk = bytes(4 << 20)
    with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:
        while size > 0:
            size -= file.write(chunk[: min(size, len(chunk))])
        os.fsync(file.fileno())


@verb("swap-off")
def swap_off(job: Job) -> None:
    """Disable and remove the swap file; one that is gone, or whose volume is not mounted, is fine."""
    with locked("swap"):
        _remove(_swap_file(job))


def _remove(name: str) -> None:
    loop = _loop_of(name)
    if loop:
        if loop in _enabled():
            must(loop, "swapoff", loop, seconds=left())
        run("losetup", "--detach", loop)
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(name)
