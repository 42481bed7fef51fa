"""Names at which other hosts and users may have planted something: root goes there by descriptor and follows nothing.

A compute node mounts a volume as root, so it can put a link, a file or another owner's directory at any name in it; users can do so in
directories that they may write. So a volume's directories are each opened in the one above, without following links, must be of the
volume's filesystem, and get their owner through the descriptor. Above a mount, root passes only what nobody else can change.

This file is the same in all providers of dacc.
"""

import os
import stat
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .common import EXISTS, INVALID, UNAVAILABLE, Failure

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
MOST_LINKS = 40


class Opened:
    """An open directory or file, and its path for people."""

    def __init__(self, number: int, path: str) -> None:
        self.number, self.path, self.facts = number, path, os.fstat(number)


@contextmanager
def opened(number: int, path: str) -> "Iterator[Opened]":
    """What was opened under a number, until it is closed."""
    try:
        yield Opened(number, path)
    finally:
        os.close(number)


def in_the_way(path: str, mode: int) -> "Failure":
    """The error for what is at a path and should not be."""
    what = KINDS.get(stat.S_IFMT(mode), "a device")
    return Failure(EXISTS, "{} is {}: dacc did not make it, see who did and remove it".format(path, what))


@contextmanager
def top_of(path: str, device: str = "") -> "Iterator[Opened]":
    """The root of a volume; ``device``: as the mount table numbers what is mounted there. Raises AlreadyExists if it is not root's."""
    with opened(os.open(path, DIRECTORY), path) as top:
        number = top.facts.st_dev
        if device not in ("", "{}:{}".format(os.major(number), os.minor(number))):
            raise Failure(UNAVAILABLE, "{} is not what was mounted there a moment ago: see who unmounts it".format(path))
        _must_be_roots(top)
        yield top


def _must_be_roots(folder: Opened) -> None:
    uid, mode = folder.facts.st_uid, stat.S_IMODE(folder.facts.st_mode)
    if uid != os.geteuid() or mode & 0o022:
        text = "{} belongs to uid {} with mode {:04o}, and only root may write there: see who changed it, and mend it or remove it"
        raise Failure(EXISTS, text.format(folder.path, uid, mode))


@contextmanager
def inside(folder: Opened, name: str) -> "Iterator[Opened]":
    """A directory in another. Raises AlreadyExists for what is none, or of another filesystem; FileNotFoundError."""
    path = _path_of(folder, name)
    try:
        number = os.open(name, DIRECTORY, dir_fd=folder.number)
    except OSError as error:
        mode = os.stat(name, dir_fd=folder.number, follow_symlinks=False).st_mode
        raise _with_path(error, path) if stat.S_ISDIR(mode) else in_the_way(path, mode) from None
    with opened(number, path) as found:
        if found.facts.st_dev != folder.facts.st_dev:
            raise Failure(EXISTS, "{} is a mount of another filesystem: unmount it".format(path))
        yield found


def _path_of(folder: Opened, name: str) -> str:
    if "/" in name or name in ("", ".", ".."):
        raise Failure(INVALID, "{!r} cannot be a name in {}".format(name, folder.path))
    return os.path.join(folder.path, name)


def _with_path(error: OSError, path: str) -> OSError:
    return OSError(error.errno, error.strerror, path)


def _make_in(folder: Opened, name: str, mode: int) -> bool:
    """Make a directory in another; whether it was missing."""
    path = _path_of(folder, name)
    try:
        os.mkdir(name, mode, dir_fd=folder.number)
    except FileExistsError:
        return False
    except OSError as error:
        raise _with_path(error, path) from None
    return True


@contextmanager
def of_root(folder: Opened, name: str, mode: int = 0o755) -> "Iterator[Opened]":
    """A directory in which only root may write, made if it is missing. Raises AlreadyExists for anything else."""
    _make_in(folder, name, mode)
    with inside(folder, name) as found:
        _must_be_roots(found)
        yield found


def own_directory(folder: Opened, name: str, job: "dict[str, Any]") -> None:
    """Make a directory of the job's owner; one that is complete keeps the mode that its owner gave it.

    Raises AlreadyExists for anything else, another owner's directory for one.
    """
    made = _make_in(folder, name, 0o700)
    with inside(folder, name) as found:
        if _is_complete(found, job) and not made:
            return
        # The owner comes last: after a crash in between, the next call sees that it is unfinished.
        os.fchmod(found.number, job["mode"])
        try:
            os.fchown(found.number, job["owner"], job["group"])
        except PermissionError:
            text = "uid {} cannot give {} to {}:{}: run dacd as root or as that user"
            raise Failure(INVALID, text.format(os.geteuid(), found.path, job["owner"], job["group"])) from None


def make_private(path: str, device: str, job: "dict[str, Any]") -> None:
    """The host's private directory on the volume that is mounted at a path. ``private`` is root's: no user puts a link there."""
    with top_of(path, device) as top, of_root(top, "private") as private:
        own_directory(private, job["host"], job)


def _is_complete(found: Opened, job: "dict[str, Any]") -> bool:
    """Whether a directory is its owner's already, rather than what we have begun and not finished: that is ours, and empty."""
    uid, used = found.facts.st_uid, os.listdir(found.number)
    if uid == job["owner"] and (uid or found.facts.st_gid or used):
        return True
    if uid != os.geteuid() or used:
        text = "{} belongs to uid {} and is not the new directory of uid {}: see who made it and remove it"
        raise Failure(EXISTS, text.format(found.path, uid, job["owner"]))
    return False


def above(path: str, mover: bool = False) -> str:
    """The directory above a path, by its name without links; what is missing of it is made.

    Raises InvalidRequest where others than root could put something in the way, and for a mover when others may enter it.
    """
    here, left, links = "/", _parts(os.path.dirname(path)), MOST_LINKS
    while left:
        place = os.path.normpath(os.path.join(here, left.pop()))
        found = _made(place, 0o700 if mover and not left else 0o755)
        if stat.S_ISLNK(found.st_mode) and links and (os.geteuid() or not found.st_uid):
            target, links = os.readlink(place), links - 1
            here, left = "/" if target.startswith("/") else here, left + _parts(target)
            continue
        _must_be_guarded(place, found)
        here = place
    if mover:
        _must_be_closed(here)
    return here


def _parts(path: str) -> "list[str]":
    """The names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name]


def _made(place: str, mode: int) -> os.stat_result:
    try:
        return os.lstat(place)
    except FileNotFoundError:
        with suppress(FileExistsError):  # another call may be quicker
            os.mkdir(place, mode)
        return os.lstat(place)


def _must_be_guarded(place: str, found: os.stat_result) -> None:
    """Only root, who has the most to lose, minds who else can change a directory. In a sticky one nobody can change what is root's."""
    mode = found.st_mode
    if not stat.S_ISDIR(mode):
        raise in_the_way(place, mode)
    others = mode & 0o002 or (mode & 0o020 and found.st_gid)
    if not os.geteuid() and (found.st_uid or (others and not mode & stat.S_ISVTX)):
        text = "{} can be changed by others than root (uid {}, mode {:04o}): give it to root (chown, chmod go-w), or mount elsewhere"
        raise Failure(INVALID, text.format(place, found.st_uid, stat.S_IMODE(mode)))


def _must_be_closed(place: str) -> None:
    found = os.stat(place)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Failure(INVALID, "{} must be a directory of uid {} with mode 0700".format(place, os.geteuid()))


def make_point(place: str) -> None:
    """Make the directory to mount at, below what :func:`above` has returned. Raises AlreadyExists for anything else."""
    found = _made(place, 0o755)
    if not stat.S_ISDIR(found.st_mode):
        raise in_the_way(place, found.st_mode)
    if found.st_uid != os.geteuid():
        raise Failure(EXISTS, "{} belongs to uid {}, who could put a link in its place: remove it".format(place, found.st_uid))


def put_link(link: str, target: str) -> None:
    """Make a symbolic link, if one is asked for. Raises AlreadyExists when anything else is there."""
    if not link:
        return
    place = os.path.join(above(link), os.path.basename(link))
    try:
        os.symlink(target, place)
    except FileExistsError:
        if os.path.islink(place) and os.readlink(place) == target and os.lstat(place).st_uid == os.geteuid():
            return
        text = "{} is in the way of the link to {}: remove it (if another host made it, give each host its own mount root)"
        raise Failure(EXISTS, text.format(link, target)) from None


def take_link(link: str, target: str) -> None:
    """Take the link away; one that leads elsewhere is not ours."""
    if not link:
        return
    parent, name = os.path.split(link)
    with suppress(FileNotFoundError, NotADirectoryError), opened(os.open(parent, os.O_PATH | os.O_CLOEXEC), parent) as folder:
        if _leads(folder, name) == target:  # somebody else (Slurm's Epilog) may be quicker
            os.unlink(name, dir_fd=folder.number)


def _leads(folder: Opened, name: str) -> str:
    try:
        return os.readlink(name, dir_fd=folder.number)
    except OSError:  # it is no link
        return ""
