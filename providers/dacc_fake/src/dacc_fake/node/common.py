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
EXISTS, INVALID, UNAVAILABLE = "AlreadyExists", "InvalidRequest", "Unavailable"
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


def run(*argv: str, pass_fds: "tuple[int, ...]" = ()) -> "subprocess.CompletedProcess[str]":
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
            errors="replace",
            env=environment,
            pass_fds=[*LOCKS, *pass_fds],
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
        return {"error": error.kind, "text": told(str(error))}
    except OSError as error:
        return {"error": _kind(error), "text": told("{}: {}".format(error.filename or name, error.strerror or error))}
    except UnicodeError as error:  # a name that this host's locale cannot write
        return {"error": INVALID, "text": "{}: {}".format(name, error)}


def told(text: str) -> str:
    """A text that every reader of JSON takes: names of files may have bytes that are no characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def start() -> None:
    """What the joined text calls at its end."""
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
