"""What all verbs of the node helper share: running programs, locks, and how a call begins and ends.

These files are joined to one, which an interpreter on the host reads (3.6 or newer, without packages): from standard input with the
request behind it, or as an installed program that reads the request there. So they use the standard library only. What one file
defines is known in those after it; the imports under ``TYPE_CHECKING`` tell type checkers so. No request names a program: a verb
makes its commands from checked values, and no shell reads them.
"""

import errno
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

Job = Dict[str, Any]
Verb = Callable[[Job], Optional[Dict[str, Any]]]
VERBS: Dict[str, Verb] = {}
LOCKS: List[int] = []
FORKING = threading.Lock()  # a program must not inherit a lock that another thread closes just then
RUN = "/run/dacc/lustre"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MOST_OUTPUT = 4000
EXISTS, INVALID, UNAVAILABLE = "AlreadyExists", "InvalidRequest", "Unavailable"
END = [float("inf")]  # when this call must have ended, on the monotonic clock

Done = NamedTuple("Done", [("rc", int), ("out", str), ("text", str)])


class Failure(Exception):
    """An error of the SDK, by its class's name, with a text that says why and what to do."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class CommandFailed(Exception):
    """A program failed; the provider's error table says what that means."""

    def __init__(self, command: str, what: str, done: Done) -> None:
        super().__init__("{} {}: {}".format(command, what, last_line(done.text or done.out)))
        self.answer = {"command": command, "what": what, "rc": done.rc, "text": (done.text or done.out)[-MOST_OUTPUT:]}


def verb(name: str) -> Callable[[Verb], Verb]:
    """Offer a function as a verb."""

    def register(function: Verb) -> Verb:
        VERBS[name] = function
        return function

    return register


def place(job: Job, name: str) -> None:
    """A place at which a test may end this process, as a crash of the host would."""
    if job.get("stop") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def left() -> float:
    """Seconds until this call must have ended."""
    return max(0.1, END[0] - time.monotonic())


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of this host. Programs inherit it: if this process is killed, it holds until its children end too. Raises Busy."""
    directory = os.path.join(RUN, "lock")
    os.makedirs(directory, 0o700, exist_ok=True)
    lock = os.open(os.path.join(directory, name.replace("/", "_")), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _lock(lock):
            if left() <= 1.0:
                raise Failure("Busy", "another call holds the lock of {}: wait for it".format(name))
            time.sleep(0.02)
        LOCKS.append(lock)
        yield
    finally:
        with FORKING:
            LOCKS[:] = [one for one in LOCKS if one != lock]
            os.close(lock)


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run(*argv: str, seconds: float = 60.0) -> Done:
    """Run a program. One that does not end in time is killed with its children; raises Unavailable then, and when it is missing."""
    child = _begin(argv)
    try:
        out, text = child.communicate(timeout=min(seconds, left()))
    except subprocess.TimeoutExpired:
        raise Failure("Unavailable", _ended(child, "{} of {}".format(argv[0], argv[-1]))) from None
    return Done(child.returncode, out, text.strip())


def _begin(argv: Sequence[str]) -> "subprocess.Popen[str]":
    try:
        with FORKING:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                errors="replace",
                env={"PATH": PATH, "LC_ALL": "C"},
                pass_fds=list(LOCKS),
            )
    except FileNotFoundError:
        raise Failure("Unavailable", "program {} is missing: install Lustre's and the system's utilities there".format(argv[0])) from None


def _ended(child: "subprocess.Popen[str]", what: str) -> str:
    """Kill what did not end in time; what to say of it."""
    for process in _family(child.pid):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    try:
        child.communicate(timeout=2.0)
    except subprocess.TimeoutExpired:
        return "{} hangs in the kernel and cannot be killed: this host is stuck, drain and reboot it".format(what)
    return "{} did not end in time and was killed".format(what)


def _family(parent: int) -> List[int]:
    """A process and all that it started."""
    children: Dict[int, List[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, ValueError, IndexError), open("/proc/{}/stat".format(name), errors="replace") as file:
            children.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
    found = [parent]
    for one in found:
        found += children.get(one, [])
    return found


def must(what: str, *argv: str, **options: float) -> str:
    """The output of a program that has to succeed. ``what`` is what it works on, for people. Raises CommandFailed."""
    done = run(*argv, **options)
    if done.rc:
        raise CommandFailed(argv[0], what, done)
    return done.out


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def all_at_once(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Do the work on all items at once. Each is finished; then the first error is raised."""
    if len(items) < 2:
        for item in items:
            work(item)
        return
    from concurrent.futures import ThreadPoolExecutor  # takes longer to import than all the rest

    with ThreadPoolExecutor(max_workers=min(32, len(items))) as pool:
        waiting = [pool.submit(work, item) for item in items]
    for one in waiting:
        one.result()


def attempts(job: Job, command: str, work: Callable[[], None]) -> None:
    """Do the work, and again after errors of which the provider's table says that they pass."""
    retry = job["retry"]
    codes = retry["codes"].get(command, [])
    for number in range(1, retry["tries"] + 1):
        try:
            return work()
        except CommandFailed as error:
            wait = retry["wait"] * number
            if error.answer["rc"] not in codes or number == retry["tries"] or left() <= wait + 1.0:
                raise
            time.sleep(wait)
    return None


def read(path: str) -> str:
    """A small file's text, empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


Mounted = NamedTuple("Mounted", [("point", str), ("source", str), ("kind", str), ("options", List[str]), ("device", str)])


def mounts() -> List[Mounted]:
    """What is mounted here, as findmnt says, in the order of the mount table."""
    found = run("findmnt", "-J", "-l", "-o", "TARGET,SOURCE,FSTYPE,OPTIONS,MAJ:MIN", seconds=20.0)
    rows = json.loads(found.out)["filesystems"] if found.out.strip() else []
    made = []
    while rows:  # some versions nest them all the same
        row = rows.pop(0)
        made.append(_mounted(row))
        rows = row.get("children", []) + rows
    return made


def _mounted(row: Dict[str, Any]) -> Mounted:
    options, device = (row["options"] or "").split(","), (row.get("maj:min") or "").strip()
    return Mounted(row["target"], row["source"] or "", row["fstype"] or "", options, device)


def mounted_at(path: str) -> Optional[Mounted]:
    """The topmost mount at a path."""
    found = [one for one in mounts() if one.point == path]
    return found[-1] if found else None


def parameter(name: str) -> List[str]:
    """The values of a Lustre parameter here, none if there is no such."""
    done = run("lctl", "get_param", "-n", name, seconds=20.0)
    return [] if done.rc else [line.strip() for line in done.out.splitlines() if line.strip()]


def answer(name: str, document: Dict[str, Any], host: str) -> Dict[str, Any]:
    """Do one verb; its result or its error."""
    os.umask(0o022)
    job = dict(document["common"])
    job.update(document["hosts"].get(host, {}))
    job["host"] = host
    END[0] = time.monotonic() + float(job["seconds"])
    try:
        return {"result": VERBS[name](job) or {}}
    except Failure as error:
        return {"error": error.kind, "text": told(str(error))}
    except CommandFailed as error:
        return {"failed": {key: told(value) if isinstance(value, str) else value for key, value in error.answer.items()}}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        text = "{}: {}".format(error.filename or name, error.strerror or error)
        return {"error": "NoSpace" if full else "Unavailable", "text": told(text)}
    except UnicodeError as error:  # a name that this host's locale cannot write
        return {"error": INVALID, "text": "{}: {}".format(name, error)}


def told(text: str) -> str:
    """A text that every reader of JSON takes: names of files may have bytes that are no characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def start(name: str, document: str, host: str) -> None:
    """What the joined text calls at its end when it was sent along with the request."""
    print(json.dumps(answer(name, json.loads(document), host)))


def program(arguments: List[str]) -> int:
    """The installed program: one argument, the verb; or, as a forced command of sshd, the verb as what was asked for."""
    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    name = asked if asked is not None else " ".join(arguments)
    if name not in VERBS:
        print("dacc-lustre-helper: {!r} is no verb; the verbs are {}".format(name[:80], ", ".join(sorted(VERBS))), file=sys.stderr)
        return 64
    document = json.load(sys.stdin)
    print(json.dumps(answer(name, document, _own_name(document["hosts"]))))
    return 0


def _own_name(known: Iterable[str]) -> str:
    """This host's name as the site knows it: what /etc/dacc/host says, else the node name, shortened if only that is known."""
    name = read("/etc/dacc/host") or os.uname().nodename
    return name if name in known or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+", name) else name.partition(".")[0]
