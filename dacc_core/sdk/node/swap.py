"""Swap files on a mounted volume: one for each host, at ``swap/<host>`` under the volume's root."""

import os
import stat
from contextlib import contextmanager, suppress

from .kit import CommandFailed, Job, NodeError, crash_point, run
from .mounts import MountEntry, swap_names
from .owned import OpenedPath, directory_in, in_the_way, opened, root_directory, volume_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Optional


class SwapFiles:
    """How a host makes its swap file and gives it up. As it stands, the kernel swaps to the file itself; others may use a loop device.

    A job has the mounted ``path``, the ``size`` and the ``host``.
    """

    def turn_on(self, job: Job, mount: "Optional[MountEntry]") -> None:
        """Make the swap file anew and enable it; an enabled one of that size stays. Raises NoSpace when the volume has no room."""
        if mount is None:
            raise NodeError("NotFound", "it is not mounted at {}: mount it before swapping to it".format(job["path"]))
        with volume_root(mount.point, mount.device) as top, root_directory(top, "swap", 0o700) as folder:
            path = os.path.join(folder.path, job["host"])
            if not self.is_on(path):
                self._make(folder, job)
            elif os.stat(job["host"], dir_fd=folder.descriptor, follow_symlinks=False).st_size != job["size"]:
                raise NodeError("AlreadyExists", "{} is enabled with another size: swap_off first".format(path))

    def turn_off(self, job: Job, mount: "Optional[MountEntry]") -> None:
        """Disable and remove the swap file; one that is gone, or whose volume is not mounted, is fine."""
        if mount is None:
            return
        with suppress(FileNotFoundError), volume_root(mount.point, mount.device) as top, directory_in(top, "swap") as folder:
            self.disable(folder, job["host"])
            crash_point(job, "disabled")
            self._remove(folder, job["host"])

    def is_on(self, path: str) -> bool:
        """Whether the kernel swaps to the file."""
        return path in swap_names()

    def fill(self, file: OpenedPath, size: int) -> None:
        """Give the file all its blocks: a hole would have to be filled when memory is short."""
        os.posix_fallocate(file.descriptor, 0, size)

    def enable(self, file: OpenedPath, job: Job) -> None:
        """Swap to the file that was just filled."""
        # By its number: another host may put anything at its name meanwhile.
        result = run("mkswap", "/proc/self/fd/{}".format(file.descriptor), pass_fds=(file.descriptor,))
        if result.returncode:
            raise NodeError("Unavailable", "mkswap {} failed: {}".format(file.path, result.why()))
        crash_point(job, "formatted")
        if os.fstat(file.descriptor).st_nlink != 1:
            text = "{} is not the only name of its file: see who removes it or makes links to it"
            raise NodeError("AlreadyExists", text.format(file.path))
        problem = _ask_kernel("swapon", file)
        if problem:
            raise NodeError("Unsupported", "swapon {} failed: {}: ask for no swap".format(file.path, problem))
        if not self.is_on(file.path):
            _ask_kernel("swapoff", file)
            raise NodeError("Unavailable", "{} is not in /proc/swaps after swapon".format(file.path))

    def disable(self, folder: OpenedPath, name: str) -> None:
        """Swap to the file no more."""
        path = os.path.join(folder.path, name)
        if not self.is_on(path):
            return
        with opened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.descriptor), path) as file:
            problem = _ask_kernel("swapoff", file)
        if problem and self.is_on(path):  # not when somebody else (Slurm's Epilog) was quicker
            raise NodeError("Unavailable", "swapoff {} failed: {}".format(path, problem))

    def _make(self, folder: OpenedPath, job: Job) -> None:
        self._remove(folder, job["host"])
        try:
            with _new_file(folder, job["host"]) as file:
                self._fill(file, job["size"])
                crash_point(job, "allocated")
                self.enable(file, job)
        except (CommandFailed, NodeError, OSError):
            self._remove(folder, job["host"])
            raise

    def _fill(self, file: OpenedPath, size: int) -> None:
        try:
            self.fill(file, size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, file.path) from None

    def _remove(self, folder: OpenedPath, name: str) -> None:
        """Disable a swap file and remove what is at its name; a link goes, and what it leads to stays."""
        with suppress(FileNotFoundError):
            self.disable(folder, name)
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                raise in_the_way(os.path.join(folder.path, name), status.st_mode)
            os.unlink(name, dir_fd=folder.descriptor)


@contextmanager
def _new_file(folder: OpenedPath, name: str) -> "Iterator[OpenedPath]":
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with opened(os.open(name, flags, 0o600, dir_fd=folder.descriptor), os.path.join(folder.path, name)) as file:
        yield file


def _ask_kernel(call: str, file: OpenedPath) -> str:
    """Have the kernel swap to an open file, or no more; its error. The programs would follow the file's path anew."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    path = "/proc/self/fd/{}".format(file.descriptor).encode()
    failed = libc.swapon(path, 0) if call == "swapon" else libc.swapoff(path)
    return os.strerror(ctypes.get_errno()) if failed else ""
