"""Swap files on a mounted image: one per host, at ``swap/<host>`` under the volume's root."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .common import Failure, Job, discard, last_line, mount_table, must, place, resolved, run, verb


def _enabled() -> "list[str]":
    with open("/proc/swaps", errors="surrogateescape") as file:
        return [line.split()[0].replace("\\040", " ") for line in file][1:]


def _swap_file(job: "Job") -> str:
    return os.path.join(resolved(job["path"]), "swap", job["host"])


@verb("image-swap-on")
def image_swap_on(job: "Job") -> None:
    """Make the swap file anew and enable it; an enabled one of that size stays. Raises NoSpace when the volume has no room."""
    path, name = resolved(job["path"]), _swap_file(job)
    if not any(mounted.point == path for mounted in mount_table()):
        raise Failure("NotFound", "it is not mounted at {}: mount it before swapping to it".format(path))
    if name in _enabled():
        if os.path.getsize(name) != job["size"]:
            raise Failure("AlreadyExists", "{} is enabled with another size: swap_off first".format(name))
        return
    os.makedirs(os.path.dirname(name), 0o700, exist_ok=True)
    discard(name)
    try:
        _allocate(name, job["size"])
        place(job, "allocated")
        must("mkswap", name)
        place(job, "formatted")
        _enable(name)
    except (Failure, OSError):
        discard(name)
        raise


def _allocate(name: str, size: int) -> None:
    swap = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(swap, 0, size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    finally:
        os.close(swap)


def _enable(name: str) -> None:
    done = run("swapon", name)
    if done.returncode:
        raise Failure("Unsupported", "swapon {} failed: {}: ask for no swap".format(name, last_line(done.stdout)))
    if name not in _enabled():
        raise Failure("Unavailable", "{} is not in /proc/swaps after swapon".format(name))


@verb("image-swap-off")
def image_swap_off(job: "Job") -> None:
    """Disable and remove the swap file; one that is gone, or whose volume is not mounted, is fine."""
    name = _swap_file(job)
    done = run("swapoff", name) if name in _enabled() else None
    if done is not None and done.returncode and name in _enabled():  # not when somebody else (Slurm's Epilog) was quicker
        raise Failure("Unavailable", "swapoff {} failed: {}".format(name, last_line(done.stdout)))
    place(job, "disabled")
    discard(name)
