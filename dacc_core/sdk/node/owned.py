"""Names at which other hosts and users may have planted something: root goes there by descriptor and follows nothing.

A compute node mounts a volume as root, so it can put a link, a file or another owner's directory at any name in it; users can do so in
directories that they may write. So a volume's directories are each opened in the one above, without following links, must be of the
volume's filesystem, and get their owner through the descriptor. Above a mount, root passes only what nobody else can change.
"""

import os
import stat
from contextlib import contextmanager, suppress

from .kit import Job, NodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Optional

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
MAX_LINKS = 40


class OpenedPath:
    """An open directory or file: its descriptor, what ``fstat`` says of it, and its path for people."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor, self.path, self.status = descriptor, path, os.fstat(descriptor)


@contextmanager
def opened(descriptor: int, path: str) -> "Iterator[OpenedPath]":
    """What was opened, until it is closed."""
    try:
        yield OpenedPath(descriptor, path)
    finally:
        os.close(descriptor)


def in_the_way(path: str, mode: int) -> NodeError:
    """The error for what is at a path and should not be."""
    what = FILE_KINDS.get(stat.S_IFMT(mode), "a device")
    return NodeError("AlreadyExists", "{} is {}: dacc did not make it, see who did and remove it".format(path, what))


@contextmanager
def volume_root(path: str, device: str = "") -> "Iterator[OpenedPath]":
    """The root of a volume; ``device``: as the mount table numbers what is mounted there. Raises AlreadyExists if it is not root's."""
    with opened(os.open(path, DIRECTORY), path) as top:
        number = top.status.st_dev
        if device not in ("", "{}:{}".format(os.major(number), os.minor(number))):
            raise NodeError("Unavailable", "{} is not what was mounted there a moment ago: see who unmounts it".format(path))
        _check_only_root_writes(top)
        yield top


def _check_only_root_writes(folder: OpenedPath) -> None:
    uid, mode = folder.status.st_uid, stat.S_IMODE(folder.status.st_mode)
    if uid != os.geteuid() or mode & 0o022:
        text = "{} belongs to uid {} with mode {:04o}, and only root may write there: see who changed it, and mend it or remove it"
        raise NodeError("AlreadyExists", text.format(folder.path, uid, mode))


@contextmanager
def directory_in(folder: OpenedPath, name: str) -> "Iterator[OpenedPath]":
    """A directory in another. Raises AlreadyExists for what is none, or of another filesystem; FileNotFoundError."""
    path = _path_in(folder, name)
    try:
        descriptor = os.open(name, DIRECTORY, dir_fd=folder.descriptor)
    except OSError as error:
        mode = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False).st_mode
        raise _with_path(error, path) if stat.S_ISDIR(mode) else in_the_way(path, mode) from None
    with opened(descriptor, path) as directory:
        if directory.status.st_dev != folder.status.st_dev:
            raise NodeError("AlreadyExists", "{} is a mount of another filesystem: unmount it".format(path))
        yield directory


def _path_in(folder: OpenedPath, name: str) -> str:
    if "/" in name or name in ("", ".", ".."):
        raise NodeError("InvalidRequest", "{!r} cannot be a name in {}".format(name, folder.path))
    return os.path.join(folder.path, name)


def _with_path(error: OSError, path: str) -> OSError:
    return OSError(error.errno, error.strerror, path)


def _make_in(folder: OpenedPath, name: str, mode: int) -> bool:
    """Make a directory in another; whether it was missing."""
    path = _path_in(folder, name)
    try:
        os.mkdir(name, mode, dir_fd=folder.descriptor)
    except FileExistsError:
        return False
    except OSError as error:
        raise _with_path(error, path) from None
    return True


@contextmanager
def root_directory(folder: OpenedPath, name: str, mode: int = 0o755) -> "Iterator[OpenedPath]":
    """A directory in which only root may write, made if it is missing. Raises AlreadyExists for anything else."""
    _make_in(folder, name, mode)
    with directory_in(folder, name) as directory:
        _check_only_root_writes(directory)
        yield directory


def make_owned(folder: OpenedPath, name: str, job: Job) -> None:
    """Make a directory of the job's ``owner``, ``group`` and ``mode``; one that is complete keeps the mode that its owner gave it.

    Raises AlreadyExists for anything else, another owner's directory for one.
    """
    made = _make_in(folder, name, 0o700)
    with directory_in(folder, name) as directory:
        if _is_complete(directory, job) and not made:
            return
        # The owner comes last: after a crash in between, the next call sees that it is unfinished.
        os.fchmod(directory.descriptor, job["mode"])
        try:
            os.fchown(directory.descriptor, job["owner"], job["group"])
        except PermissionError:
            text = "uid {} cannot give {} to {}:{}: run dacd as root or as that user"
            raise NodeError("InvalidRequest", text.format(os.geteuid(), directory.path, job["owner"], job["group"])) from None


def _is_complete(directory: OpenedPath, job: Job) -> bool:
    """Whether a directory is its owner's already, rather than what we have begun and not finished: that is ours, and empty."""
    uid, used = directory.status.st_uid, os.listdir(directory.descriptor)
    if uid == job["owner"] and (uid or directory.status.st_gid or used):
        return True
    if uid != os.geteuid() or used:
        text = "{} belongs to uid {} and is not the new directory of uid {}: see who made it and remove it"
        raise NodeError("AlreadyExists", text.format(directory.path, uid, job["owner"]))
    return False


def make_private(path: str, device: str, job: Job) -> None:
    """The host's private directory on the volume that is mounted at a path. ``private`` is root's: no user puts a link there."""
    with volume_root(path, device) as top, root_directory(top, "private") as private:
        make_owned(private, job["host"], job)


def private_of(job: Job) -> str:
    """Where the link of a host's private directory leads."""
    return os.path.join(job["path"], "private", job["host"])


@contextmanager
def parent_of(path: str, mover: bool = False, make: bool = True) -> "Iterator[OpenedPath]":
    """The directory above a path; what is missing of it is made. Links above it are followed where only root can have made them.

    Without ``make`` nothing is made. Raises FileNotFoundError then.
    Raises InvalidRequest where others than root could put something in the way, and for a mover when others may enter it.
    """
    names, links = _names(os.path.dirname(path)), MAX_LINKS
    trail = [OpenedPath(os.open("/", DIRECTORY), "/")]
    try:
        while names:
            mode = 0o700 if mover and len(names) == 1 else 0o755
            links -= _enter(trail, names, mode if make else None, links > 0)
        if mover:
            _check_closed(trail[-1])
        yield trail[-1]
    finally:
        for folder in trail:
            os.close(folder.descriptor)


def _enter(trail: "list[OpenedPath]", names: "list[str]", mode: "Optional[int]", follow: bool) -> int:
    """Go on to the next name, or put those that it leads to in its place; the number of links that were followed."""
    name = names.pop()
    if name == "..":
        if len(trail) > 1:
            os.close(trail.pop().descriptor)
        return 0
    folder = trail[-1]
    place = os.path.join(folder.path, name)
    status = _status_or_new(folder, name, mode)
    if stat.S_ISLNK(status.st_mode) and follow and (os.geteuid() or not status.st_uid):
        target = os.readlink(name, dir_fd=folder.descriptor)
        while target.startswith("/") and len(trail) > 1:
            os.close(trail.pop().descriptor)
        names += _names(target)
        return 1
    if not stat.S_ISDIR(status.st_mode):
        raise in_the_way(place, status.st_mode)
    directory = OpenedPath(_open_in(folder, name, place), place)
    trail.append(directory)
    _check_guarded(directory)
    return 0


def _status_or_new(folder: OpenedPath, name: str, mode: "Optional[int]") -> os.stat_result:
    """What is at a name, a link itself if it is one; with a mode, a directory is made if nothing is there."""
    with suppress(*([FileNotFoundError] if mode is not None else [])):
        return os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
    _make_in(folder, name, mode or 0o755)
    return os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)


def _open_in(folder: OpenedPath, name: str, place: str) -> int:
    try:
        # O_PATH: to pass through a directory one need not be allowed to list it.
        return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.descriptor)
    except OSError as error:
        raise _with_path(error, place) from None


def _names(path: str) -> "list[str]":
    """The names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _check_guarded(folder: OpenedPath) -> None:
    """Only root, who has the most to lose, minds who else can change a directory. In a sticky one nobody can change what is root's."""
    uid, mode = folder.status.st_uid, folder.status.st_mode
    others = mode & 0o002 or (mode & 0o020 and folder.status.st_gid)
    if not os.geteuid() and (uid or (others and not mode & stat.S_ISVTX)):
        text = "{} can be changed by others than root (uid {}, mode {:04o}): give it to root (chown, chmod go-w), or mount elsewhere"
        raise NodeError("InvalidRequest", text.format(folder.path, uid, stat.S_IMODE(mode)))


def _check_closed(folder: OpenedPath) -> None:
    if folder.status.st_uid != os.geteuid() or folder.status.st_mode & 0o077:
        text = "{} must be a directory of uid {} with mode 0700"
        raise NodeError("InvalidRequest", text.format(folder.path, os.geteuid()))


def mount_point(job: Job) -> str:
    """The job's ``path`` as the mount table shows it, what is missing above it made; only root can change what is above it.

    A job whose ``role`` is ``mover`` has a path above which nobody else may look.
    """
    with parent_of(job["path"], job["role"] == "mover") as folder:
        return os.path.join(folder.path, os.path.basename(job["path"]))


def make_mount_point(path: str) -> None:
    """Make the directory to mount at, as :func:`mount_point` names it. Raises AlreadyExists for anything else."""
    name = os.path.basename(path)
    with parent_of(path) as folder:
        status = _status_or_new(folder, name, 0o755)
        if not stat.S_ISDIR(status.st_mode):
            raise in_the_way(path, status.st_mode)
        if status.st_uid != os.geteuid():
            text = "{} belongs to uid {}, who could put a link in its place: remove it"
            raise NodeError("AlreadyExists", text.format(path, status.st_uid))


def remove_mount_point(path: str) -> None:
    """Remove the directory at a job's ``path``, as it came, if nothing is in it; others' links above it are not followed."""
    with suppress(OSError, NodeError), parent_of(path, make=False) as folder:
        os.rmdir(os.path.basename(path), dir_fd=folder.descriptor)


def make_link(link: str, target: str) -> None:
    """Make a symbolic link, if one is asked for. Raises AlreadyExists when anything else is there, another's link to the target too."""
    if not link:
        return
    name = os.path.basename(link)
    with parent_of(link) as folder:
        try:
            os.symlink(target, name, dir_fd=folder.descriptor)
        except FileExistsError:
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
            if _link_target(folder, name) == target and status.st_uid == os.geteuid():
                return
            text = "{} is in the way of the link to {}: remove it (if another host made it, give each host its own mount root)"
            raise NodeError("AlreadyExists", text.format(link, target)) from None


def remove_link(link: str, target: str) -> None:
    """Take the link away; one that leads elsewhere is not ours."""
    if not link:
        return
    parent, name = os.path.split(link)
    with suppress(FileNotFoundError, NotADirectoryError), opened(os.open(parent, os.O_PATH | os.O_CLOEXEC), parent) as folder:
        if _link_target(folder, name) == target:  # somebody else (Slurm's Epilog) may be quicker
            os.unlink(name, dir_fd=folder.descriptor)


def _link_target(folder: OpenedPath, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=folder.descriptor)
    except OSError:  # it is no link
        return ""
