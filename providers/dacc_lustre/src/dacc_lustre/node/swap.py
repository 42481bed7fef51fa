"""Swap files on the mounted filesystem, through a loop device: Lustre cannot swap itself."""

import fcntl
import os
import struct

from dacc_core.sdk.node.kit import Job, NodeError, locked, must, read, run, time_left, verb
from dacc_core.sdk.node.mounts import resolved, swap_names
from dacc_core.sdk.node.owned import OpenedPath
from dacc_core.sdk.node.swap import SwapFiles

from .client import ours

LOOP_GET_STATUS64 = 0x4C05


class LoopSwapFiles(SwapFiles):
    """Each file has a loop device while it is swapped to."""

    def is_on(self, path: str) -> bool:
        """Whether the kernel swaps to the loop device on a file."""
        return _loop_of(path) in swap_names()

    def fill(self, file: OpenedPath, size: int) -> None:
        """Write the whole file: Lustre does not give it its blocks otherwise."""
        chunk = bytes(4 << 20)
        while size > 0:
            size -= os.write(file.descriptor, chunk[: min(size, len(chunk))])
        os.fsync(file.descriptor)

    def enable(self, file: OpenedPath, job: Job) -> None:
        """Swap to the loop device that is put on the file."""
        loop = must(file.path, "losetup", "--find", "--show", file.path).strip()
        if not _is_on(loop, file):
            run("losetup", "--detach", loop)
            text = "{} became another file while it was made: see who puts what there"
            raise NodeError("AlreadyExists", text.format(file.path))
        must(loop, "mkswap", loop)
        result = run("swapon", loop)
        if result.returncode or loop not in swap_names():
            raise NodeError("Unsupported", "swapon {} failed: {}: ask for no swap".format(loop, result.why()))

    def disable(self, folder: OpenedPath, name: str) -> None:
        """Swap to it no more, and take the loop device away."""
        detach(os.path.join(folder.path, name))


def detach(path: str) -> None:
    """Take the loop device of a file away, whatever is at the file's path now."""
    loop = _loop_of(path)
    if loop:
        if loop in swap_names():
            must(loop, "swapoff", loop, seconds=time_left())
        run("losetup", "--detach", loop)


def _loop_of(name: str) -> str:
    """The loop device on a file, empty if there is none. By sysfs: losetup would open the file."""
    for device in sorted(entry for entry in os.listdir("/sys/block") if entry.startswith("loop")):
        if read("/sys/block/{}/loop/backing_file".format(device)) == name:
            return "/dev/" + device
    return ""


def _is_on(loop: str, file: OpenedPath) -> bool:
    """Whether a loop device has the very file that we made: losetup went by its name, where another host may put anything."""
    with open(loop, "rb") as device:
        status = fcntl.ioctl(device, LOOP_GET_STATUS64, bytes(232))
    facts = os.fstat(file.descriptor)
    return struct.unpack_from("=QQ", status) == (facts.st_dev, facts.st_ino) and facts.st_nlink == 1


@verb("swap-on")
def swap_on(job: Job) -> None:
    """Make the swap file anew and enable it."""
    with locked("lustre-swap"):
        LoopSwapFiles().turn_on(job, ours(resolved(job["path"]), job["fsname"]))


@verb("swap-off")
def swap_off(job: Job) -> None:
    """Disable and remove it, also when the filesystem is not mounted any more."""
    path = resolved(job["path"])
    with locked("lustre-swap"):
        detach(os.path.join(path, "swap", job["host"]))
        LoopSwapFiles().turn_off(job, ours(path, job["fsname"]))
