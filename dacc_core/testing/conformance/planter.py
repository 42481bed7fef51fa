"""Runs on a host, read from standard input by its interpreter (3.6 or newer): plants links, and sees what became of the canary.

``REQUESTS`` stands in front of this text, and the host's name is the argument. A host's request is a list of acts, each a mapping with
``do`` and the arguments of the function of that name; what they return is printed.
"""

import errno
import json
import os
import stat
import sys
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ACTS: "list[dict[str, Any]]" = globals().get("REQUESTS", {}).get(sys.argv[-1], [])
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EBUSY)
"""What keeps somebody from planting something at a place."""

ASIDE = ".aside"


@contextmanager
def user(uid: int, gid: int) -> "Iterator[None]":
    """Act as a user. ``uid`` below 0: as whoever runs this."""
    if uid < 0 or uid == os.geteuid():
        yield
        return
    groups, own = os.getgroups(), (os.geteuid(), os.getegid())
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(own[0])
        os.setegid(own[1])
        os.setgroups(groups)


def plant(path: str, target: str, uid: int, gid: int) -> bool:
    """Put a link in the place of what is there, which is kept beside it. Whether that was possible."""
    try:
        with user(uid, gid):
            if uid < 0:
                os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            there = os.path.lexists(path)
            if there:
                os.rename(path, path + ASIDE)
            os.symlink(target, path)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


def uproot(path: str, target: str) -> None:
    """Take the link away and put back what was there, unless something has come in its place."""
    if os.path.islink(path) and os.readlink(path) == target:
        os.unlink(path)
    if not os.path.lexists(path + ASIDE):
        return
    if os.path.lexists(path):
        discard(path + ASIDE)
    else:
        os.rename(path + ASIDE, path)


def open_folder(path: str, mode: int, uid: int, gid: int) -> bool:
    """Make a directory in which a user may write. Whether that was possible: it takes root."""
    if os.geteuid():
        return False
    os.makedirs(path, 0o755)
    os.chmod(path, mode)
    os.chown(path, uid, gid)
    return True


def lay_canary(path: str, names: "list[str]") -> None:
    """Make a directory that nobody may touch: with a file, and with directories that have all names as directories, as files, and none.

    Hosts may share it.
    """
    for folder in ["", "directory", "files", "empty"] + ["directory/" + name for name in names]:
        os.makedirs(os.path.join(path, folder), 0o711, exist_ok=True)
    for name in ["secret", "directory/secret"] + ["files/" + name for name in names]:
        with open(os.path.join(path, name), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write("for root only\n")


def look_at_canary(path: str) -> "list[tuple[str, str]]":
    """All that can be seen of it, by name; nothing but ``atime`` may change."""
    names = [path] + [os.path.join(folder, name) for folder, below, files in os.walk(path) for name in below + files]
    return [(name, facts(name)) for name in sorted(names) if os.path.lexists(name)]


def facts(path: str) -> str:
    """What there is to know about a file, as text."""
    status = os.lstat(path)
    numbers = [status.st_dev, status.st_ino, status.st_nlink, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    text = "uid {} gid {} mode {:o}, {}".format(status.st_uid, status.st_gid, status.st_mode, " ".join(map(str, numbers)))
    if stat.S_ISREG(status.st_mode) and status.st_size < 4096:
        with open(path, errors="replace") as file:
            text += " " + repr(file.read())
    return text


def discard(path: str) -> None:
    """Take a directory away with all that is in it, what is mounted there excepted."""
    import shutil  # late, here and below: most acts need neither
    import subprocess

    with open("/proc/self/mounts", errors="surrogateescape") as table:
        points = [line.split()[1] for line in table]
    for point in sorted((point for point in points if (point + "/").startswith(path + "/")), reverse=True):
        subprocess.call(["umount", "-l", point])
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)  # hosts may share it and do the same
    elif os.path.lexists(path):
        os.unlink(path)


DOES = {function.__name__: function for function in (plant, uproot, open_folder, lay_canary, look_at_canary, discard)}

if __name__ == "__main__":
    print(json.dumps([DOES[act.pop("do")](**act) for act in ACTS]))
