"""How a call on a host begins and ends, and what every verb needs: commands, locks, deadlines, errors by name.

The modules of the node kit, and those of a provider's program that import them, are joined into one text that an interpreter on the host
reads (3.6 or newer, without packages). So they use the standard library only, and little of it when they are loaded: each call pays for its
imports, and ``typing`` or ``subprocess`` take longer than most verbs. A verb gets a mapping and returns one, or raises
:class:`NodeError` or :class:`CommandFailed`. No request names a program: a verb makes its commands from checked values, and no shell
reads them.
"""

import _thread
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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Optional, TypeVar

    Job = dict[str, Any]
    Verb = Callable[[Job], Optional[Mapping[str, Any]]]
    Item = TypeVar("Item")
    Outcome = TypeVar("Outcome")
else:
    Job = dict

KINDS = ("AlreadyExists", "Busy", "InvalidRequest", "NoSpace", "NotFound", "Unavailable", "Unsupported")
"""The classes of errors that a verb may raise. Others, such as ProviderBug, are not for a host to raise."""

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
RUN = "/run/dacc"
MAX_OUTPUT = 4000
"""The characters of a failed program's output that are reported, the last ones."""

VERBS: "dict[str, Verb]" = {}
LOCKS: "list[int]" = []
DEADLINE = [float("inf")]  # when this call must have ended, on the monotonic clock
FORKING = _thread.allocate_lock()  # a program must not inherit a lock that another thread closes just then


class NodeError(Exception):
    """An error of the SDK, by its class's name (one of :data:`KINDS`), with a text that says why and what to do."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class ProgramResult:
    """What a program printed and how it ended."""

    def __init__(self, returncode: int, stdout: str, stderr: str) -> None:
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr

    def why(self) -> str:
        """Why it failed: the last line that it wrote, or its exit status."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return lines[-1].strip() if lines else "exit status {}".format(self.returncode)


class CommandFailed(Exception):
    """A program failed. What that means is for the provider to judge: it gets command, exit status and output.

    ``target`` is what the program works on, for people.
    """

    def __init__(self, command: str, target: str, result: ProgramResult) -> None:
        super().__init__("{} of {} failed with status {}: {}".format(command, target, result.returncode, result.why()))
        self.command, self.target, self.result = command, target, result


def verb(name: str) -> "Callable[[Verb], Verb]":
    """Offer a function as a verb."""

    def register(function: "Verb") -> "Verb":
        VERBS[name] = function
        return function

    return register


def crash_point(job: Job, name: str) -> None:
    """A place at which a test may end this process, as a crash of the host would."""
    if job.get("stop") == name:
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


def time_left() -> float:
    """Seconds until this call must have ended."""
    return max(0.1, DEADLINE[0] - time.monotonic())


@contextmanager
def locked(name: str) -> "Iterator[None]":
    """Hold the lock of that name on this host. Raises Busy.

    Programs inherit it: if this process is killed, it holds until its children end, too.
    """
    directory = os.path.join(RUN, "lock")
    os.makedirs(directory, 0o700, exist_ok=True)
    path = os.path.join(directory, name.replace("/", "_")[-200:])
    with _holding(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), name):
        yield


@contextmanager
def locked_directory(path: str) -> "Iterator[None]":
    """Hold the lock of a directory, also against hosts with which it is shared; one that does not exist has nothing to protect."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    with _holding(descriptor, path):
        yield


@contextmanager
def _holding(lock: int, name: str) -> "Iterator[None]":
    try:
        while not _lock(lock):
            if time_left() <= 1.0:
                raise NodeError("Busy", "another call holds the lock of {}: wait for it".format(name))
            time.sleep(0.02)
        LOCKS.append(lock)
        yield
    finally:
        with FORKING:
            LOCKS[:] = [held for held in LOCKS if held != lock]
            os.close(lock)


def _lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run(
    *argv: str,
    seconds: float = 60.0,
    pass_fds: "Sequence[int]" = (),
    environment: "Optional[Mapping[str, str]]" = None,
    daemon: bool = False
) -> ProgramResult:
    """Run a program to its end. One that is late is killed with its children; raises Unavailable then, and when it is missing.

    ``daemon``: it leaves a process behind, which must not inherit our locks.
    """
    import subprocess

    child = _begin(argv, [*pass_fds, *([] if daemon else LOCKS)], environment or {})
    try:
        stdout, stderr = child.communicate(timeout=min(seconds, time_left()))
    except subprocess.TimeoutExpired:
        raise NodeError("Unavailable", _kill(child, "{} of {}".format(argv[0], argv[-1]))) from None
    return ProgramResult(child.returncode, stdout, stderr.strip())


def _begin(argv: "Sequence[str]", pass_fds: "Sequence[int]", environment: "Mapping[str, str]") -> "subprocess.Popen[str]":
    import subprocess

    try:
        with FORKING:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                errors="replace",
                env=dict({"PATH": PATH, "LC_ALL": "C"}, **environment),  # C: messages are read
                pass_fds=pass_fds,
            )
    except FileNotFoundError:
        raise NodeError("Unavailable", "program {} is missing: install the package that has it there".format(argv[0])) from None


def _kill(child: "subprocess.Popen[str]", what: str) -> str:
    """Kill what did not end in time; the message about it."""
    import signal
    import subprocess

    for process in _family(child.pid):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    try:
        child.communicate(timeout=2.0)
    except subprocess.TimeoutExpired:
        return "{} hangs in the kernel and cannot be killed: this host is stuck, drain and reboot it".format(what)
    return "{} did not end in time and was killed".format(what)


def _family(parent: int) -> "list[int]":
    """A process and all that it started."""
    children = {}  # type: dict[int, list[int]]
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, ValueError, IndexError), open("/proc/{}/stat".format(name), errors="replace") as file:
            children.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
    family = [parent]
    for process in family:
        family += children.get(process, [])
    return family


def must(target: str, *argv: str, seconds: float = 60.0, environment: "Optional[Mapping[str, str]]" = None) -> str:
    """The output of a program that has to succeed. ``target`` is what it works on, for people. Raises CommandFailed."""
    result = run(*argv, seconds=seconds, environment=environment)
    if result.returncode:
        raise CommandFailed(argv[0], target, result)
    return result.stdout


def need_programs(packages: "Mapping[str, str]") -> None:
    """Raise Unavailable when programs are not there. ``packages``: by program, the package that has it."""
    folders = PATH.split(":")
    missing = [name for name in packages if not any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)]
    if missing:
        wanted = ", ".join(sorted({packages[name] for name in missing}))
        raise NodeError("Unavailable", "{} is missing: install {} there".format(", ".join(missing), wanted))


def all_at_once(work: "Callable[[Item], Outcome]", items: "Sequence[Item]") -> "list[Outcome]":
    """Do the work on all items at once; the outcomes in their order. Each is finished; then the first error is raised."""
    if len(items) < 2:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(32, len(items))) as pool:
        pending = [pool.submit(work, item) for item in items]
    return [future.result() for future in pending]


def read(path: str) -> str:
    """A small file's text, empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def discard(path: str) -> None:
    """Remove a file that may be gone."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def remove_directory(path: str) -> None:
    """Remove a directory if it is there and nothing is in it: what somebody has put into it is not ours."""
    with suppress(OSError):
        os.rmdir(path)


def answer_request(name: str, request: "Mapping[str, Any]", host: str) -> "dict[str, Any]":
    """Do one verb; its result or its error. ``request``: what is ``common`` to all hosts, and by host what is particular to it."""
    os.umask(0o022)
    job = dict(request["common"])
    job.update(request["hosts"].get(host, {}))
    job["host"] = host
    DEADLINE[0] = time.monotonic() + float(job["seconds"])
    try:
        return {"result": VERBS[name](job) or {}}
    except NodeError as error:
        return {"error": error.kind, "text": encodable(str(error))}
    except CommandFailed as error:
        output = (error.result.stderr or error.result.stdout)[-MAX_OUTPUT:]
        texts = {"command": encodable(error.command), "target": encodable(error.target), "output": encodable(output)}
        return {"failed": dict(texts, returncode=error.result.returncode)}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        text = "{}: {}".format(error.filename or name, error.strerror or error)
        return {"error": "NoSpace" if full else "Unavailable", "text": encodable(text)}
    except UnicodeError as error:  # a name that this host's locale cannot write
        return {"error": "InvalidRequest", "text": "{}: {}".format(name, error)}


def encodable(text: str) -> str:
    """A text that every reader of JSON takes: names of files may have bytes that are no characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def answer_sent(name: str, request: str, host: str) -> None:
    """What a program calls at its end when it was sent along with the request."""
    print(json.dumps(answer_request(name, json.loads(request), host)))


def answer_installed(arguments: "Sequence[str]") -> int:
    """An installed program: its one argument is the verb; as a forced command of sshd, the verb is what was asked for.

    The request is read from standard input.
    """
    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    name = asked if asked is not None else " ".join(arguments)
    if name not in VERBS:
        text = "{}: {!r} is no verb; the verbs are {}"
        print(text.format(os.path.basename(sys.argv[0]), name[:80], ", ".join(sorted(VERBS))), file=sys.stderr)
        return 64
    request = json.load(sys.stdin)
    print(json.dumps(answer_request(name, request, _own_name(request["hosts"]))))
    return 0


def _own_name(named: "Iterable[str]") -> str:
    """This host's name as the site knows it: what /etc/dacc/host has, else the node name, shortened if only that is named."""
    name = read("/etc/dacc/host") or os.uname().nodename
    return name if name in named or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+", name) else name.partition(".")[0]
