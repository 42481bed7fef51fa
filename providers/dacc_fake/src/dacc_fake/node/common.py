"""What the verbs of both backings share.

These files are joined and sent on standard input to an interpreter on the host (3.6 or newer, without packages), so they use the
standard library only, and little of it: each call pays for its imports. What this file defines is known in the one after it; the
imports under ``TYPE_CHECKING`` there tell type checkers so. A verb gets a mapping and returns one, and raises :class:`Failure`.

What only some verbs need is imported where they need it, and annotations are quoted: ``typing`` takes longer than most verbs.
"""

import errno
import fcntl
import json
import os
import re
import sys
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Optional

    Job = dict[str, Any]
    Verb = Callable[[Job], Optional[dict[str, Any]]]

VERBS: "dict[str, Verb]" = {}
LOCKS: "list[int]" = []
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", "")


class Mounted:
    """A line of the mount table."""

    def __init__(self, device: str, point: str, options: "list[str]", kind: str) -> None:
        self.device, self.point, self.options, self.kind = device, point, options, kind


class Failure(Exception):
    """An error of the SDK, by its class's name, with a text that says why and what to do."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def verb(name: str) -> "Callable[[Verb], Verb]":
    """Offer a function as a verb."""

    def register(function: "Verb") -> "Verb":
        VERBS[name] = function
        return function

    return register


def place(job: "Job", name: str) -> None:
    """A place at which a fault may end this process, as a crash of the host would."""
    if job.get("stop") == name:
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def locked(directory: str, seconds: float) -> "Iterator[None]":
    """Hold the lock of a brick's directory; one that does not exist has nothing to protect. Raises Busy after ``seconds``."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    end = time.monotonic() + seconds
    try:
        while not _lock(lock):
            if time.monotonic() >= end:
                raise Failure("Busy", "another call has held the lock of {} for {:.0f} s: wait for it".format(directory, seconds))
            time.sleep(0.02)
        LOCKS.append(lock)
        yield
    finally:
        LOCKS[:] = [one for one in LOCKS if one != lock]
        os.close(lock)


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end. Programs inherit the locks: when this process is killed, they hold until its children end too."""
    import subprocess

    environment = {
        "PATH": PATH,
        "LC_ALL": "C",  # messages are read
        "MKE2FS_CONFIG": "/dev/null",  # no site defaults: the capacity depends on them
    }
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=environment,
            pass_fds=LOCKS,
        )
    except FileNotFoundError:
        raise Failure("Unavailable", "program {} is missing: install e2fsprogs and util-linux there".format(argv[0])) from None


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def must(*argv: str) -> None:
    """Run a program that has to succeed."""
    done = run(*argv)
    if done.returncode:
        raise Failure("Unavailable", "{} failed with status {}: {}".format(argv[0], done.returncode, last_line(done.stdout)))


def need_programs(names: "Iterable[str]") -> None:
    """Raise Unavailable when programs are not there."""
    folders = PATH.split(":")
    missing = [name for name in names if not any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)]
    if missing:
        raise Failure("Unavailable", "{} is missing: install e2fsprogs, util-linux and mount there".format(", ".join(missing)))


def resolved(path: str) -> str:
    """The path with its parents' symbolic links followed, as mount tables show it; the last part is left alone."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def mount_table(of: str = "self") -> "list[Mounted]":
    """The mounts that a process sees."""
    with open("/proc/{}/mountinfo".format(of), encoding="utf-8", errors="surrogateescape") as file:
        return [_parse(line) for line in file]


def _parse(line: str) -> "Mounted":
    fields = line.split()
    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), fields[4])
    return Mounted(fields[2], point, fields[5].split(","), fields[fields.index("-") + 1])


def make_parent(path: str, mover: bool) -> None:
    """Make the directory that holds a mount point; for the mover one that nobody else may enter."""
    parent = os.path.dirname(path)
    if not mover:
        os.makedirs(parent, 0o755, exist_ok=True)
        return
    os.makedirs(os.path.dirname(parent), 0o755, exist_ok=True)
    try:
        os.mkdir(parent, 0o700)
    except FileExistsError:
        found = os.lstat(parent)
        if found.st_uid != os.geteuid() or found.st_mode & 0o170077 != 0o040000:
            raise Failure("InvalidRequest", "{} must be a directory of uid {} with mode 0700".format(parent, os.geteuid())) from None


def own_directory(path: str, job: "Job") -> None:
    """Make a directory of the job's owner; one that is complete keeps the mode that its owner gave it."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if (found.st_uid, found.st_gid) == (job["owner"], job["group"]) != (0, 0):
            return
    # The owner comes last: after a crash in between, the next call sees that it is unfinished.
    os.chmod(path, job["mode"])
    try:
        os.chown(path, job["owner"], job["group"])
    except PermissionError:
        text = "uid {} cannot give {} to {}:{}: run dacd as root or as that user"
        raise Failure("InvalidRequest", text.format(os.geteuid(), path, job["owner"], job["group"])) from None


def populate(root: str, job: "Job") -> None:
    """Make the volume's directories that this mount needs. ``global`` is complete since create, and its owner may have changed it."""
    if job["private"]:
        os.makedirs(os.path.join(root, "private"), 0o755, exist_ok=True)
        own_directory(os.path.join(root, "private", job["host"]), job)


def make_link(job: "Job") -> None:
    """The symbolic link to the host's private directory, if one is asked for."""
    link, target = job["link"], job["link_target"]
    if not link:
        return
    os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
    try:
        os.symlink(target, link)
    except FileExistsError:
        if os.path.islink(link) and os.readlink(link) == target:
            return
        text = "{} is in the way of the link to {}: remove it (if another host made it, give each host its own mount root)"
        raise Failure("AlreadyExists", text.format(link, target)) from None


def remove_link(job: "Job") -> None:
    """Take the link away; one that leads elsewhere is not ours."""
    with suppress(FileNotFoundError):  # somebody else (Slurm's Epilog) may be quicker
        if job["link"] and os.path.islink(job["link"]) and os.readlink(job["link"]) == job["link_target"]:
            os.unlink(job["link"])


def mark(job: "Job", directory: str) -> None:
    """Say in a brick's directory whose it is. Raises AlreadyExists when another volume's mark is there."""
    os.makedirs(directory, 0o755, exist_ok=True)
    own = job["volume"] + ".brick"
    with locked(directory, job["seconds"]):
        others = sorted(name for name in os.listdir(directory) if name.endswith(".brick") and name != own)
        if others:
            text = "{} holds volume {}: delete that one first (if nothing knows it any more, remove the directory's content)"
            raise Failure("AlreadyExists", text.format(directory, others[0][: -len(".brick")]))
        with open(os.path.join(directory, own), "w", encoding="utf-8") as file:
            file.write("volume {} of session {}, served by {}\n".format(job["volume"], job["token"], job["server"]))


def unmark(job: "Job") -> None:
    """Take the marks away."""
    for directory in job["dirs"]:
        discard(os.path.join(directory, job["volume"] + ".brick"))


def discard(path: str) -> None:
    """Remove a file that may be gone."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def _kind(error: OSError) -> str:
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "NoSpace" if error.errno in full else "Unavailable"


def main(name: str, job: "Job") -> "dict[str, Any]":
    """Do one verb; the answer is its result or its error."""
    os.umask(0o022)
    try:
        return {"result": VERBS[name](job) or {}}
    except Failure as error:
        return {"error": error.kind, "text": str(error)}
    except OSError as error:
        return {"error": _kind(error), "text": "{}: {}".format(error.filename or name, error.strerror or error)}


def start() -> None:
    """What the joined text calls at its end."""
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
