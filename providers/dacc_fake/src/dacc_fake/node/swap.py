"""Swap files on a mounted image: one per host, at ``swap/<host>`` under the volume's root."""

import os
import stat
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .common import EXISTS, Failure, Job, last_line, mount_table, place, resolved, run, verb
    from .planted import Opened, in_the_way, inside, of_root, opened, top_of


def _enabled() -> "list[str]":
    with open("/proc/swaps", errors="surrogateescape") as file:
        return [line.split()[0].replace("\\040", " ") for line in file][1:]


def _device_at(path: str) -> str:
    """The device of what is mounted at a path, empty when nothing is."""
    found = [mounted.device for mounted in mount_table() if mounted.point == path]
    return found[-1] if found else ""


@verb("image-swap-on")
def image_swap_on(job: "Job") -> None:
    """Make the swap file anew and enable it; an enabled one of that size stays. Raises NoSpace when the volume has no room."""
    path = resolved(job["path"])
    device = _device_at(path)
    if not device:
        raise Failure("NotFound", "it is not mounted at {}: mount it before swapping to it".format(path))
    with top_of(path, device) as top, of_root(top, "swap", 0o700) as folder:
        name = os.path.join(folder.path, job["host"])
        if name not in _enabled():
            _make(folder, job)
        elif os.stat(job["host"], dir_fd=folder.number, follow_symlinks=False).st_size != job["size"]:
            raise Failure(EXISTS, "{} is enabled with another size: swap_off first".format(name))


def _make(folder: "Opened", job: "Job") -> None:
    _remove(folder, job["host"])
    try:
        with _new_file(folder, job["host"]) as swap:
            _fill(swap, job)
            _enable(swap)
    except (Failure, OSError):
        _remove(folder, job["host"])
        raise


@contextmanager
def _new_file(folder: "Opened", name: str) -> "Iterator[Opened]":
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with opened(os.open(name, flags, 0o600, dir_fd=folder.number), os.path.join(folder.path, name)) as file:
        yield file


def _fill(swap: "Opened", job: "Job") -> None:
    try:
        os.posix_fallocate(swap.number, 0, job["size"])
    except OSError as error:
        raise OSError(error.errno, error.strerror, swap.path) from None
    place(job, "allocated")
    # By its number: another host may put anything at its name meanwhile.
    done = run("mkswap", "/proc/self/fd/{}".format(swap.number), pass_fds=(swap.number,))
    if done.returncode:
        raise Failure("Unavailable", "mkswap {} failed: {}".format(swap.path, last_line(done.stdout)))
    place(job, "formatted")


def _enable(swap: "Opened") -> None:
    if os.fstat(swap.number).st_nlink != 1:
        raise Failure(EXISTS, "{} is not the only name of its file: see who removes it or makes links to it".format(swap.path))
    said = _kernel("swapon", swap)
    if said:
        raise Failure("Unsupported", "swapon {} failed: {}: ask for no swap".format(swap.path, said))
    if swap.path not in _enabled():
        _kernel("swapoff", swap)
        raise Failure("Unavailable", "{} is not in /proc/swaps after swapon".format(swap.path))


def _kernel(call: str, swap: "Opened") -> str:
    """Have the kernel swap to an open file, or no more; what it says against that. The programs would follow the file's path anew."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    path = "/proc/self/fd/{}".format(swap.number).encode()
    failed = libc.swapon(path, 0) if call == "swapon" else libc.swapoff(path)
    return os.strerror(ctypes.get_errno()) if failed else ""


@verb("image-swap-off")
def image_swap_off(job: "Job") -> None:
    """Disable and remove the swap file; one that is gone, or whose volume is not mounted, is fine."""
    path = resolved(job["path"])
    device = _device_at(path)
    with suppress(FileNotFoundError):
        if device:
            with top_of(path, device) as top, inside(top, "swap") as folder:
                _disable(folder, job["host"])
                place(job, "disabled")
                _remove(folder, job["host"])


def _disable(folder: "Opened", name: str) -> None:
    path = os.path.join(folder.path, name)
    if path not in _enabled():
        return
    with opened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.number), path) as swap:
        said = _kernel("swapoff", swap)
    if said and path in _enabled():  # not when somebody else (Slurm's Epilog) was quicker
        raise Failure("Unavailable", "swapoff {} failed: {}".format(path, said))


def _remove(folder: "Opened", name: str) -> None:
    """Remove what is at a swap file's name; a link goes, and what it leads to stays."""
    with suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder.number, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            raise in_the_way(os.path.join(folder.path, name), found.st_mode)
        os.unlink(name, dir_fd=folder.number)
