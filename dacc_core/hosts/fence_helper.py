"""Run a command on this host inside a fence, or raise the fence and end what runs behind it.

    fence_helper.py run    --timeout SECONDS [--dir D --token T --generation G] -- argv...
    fence_helper.py fence  --dir D --token T --generation G
    fence_helper.py forget --dir D --token T

This file and ``fence_groups.py``, standard library only, Python 3.6 or newer, started as ``python3 -I -S``: it must run on
hosts where nothing of ours is installed, and start fast, since it starts with every command. The fence file ``D/<token>.fence``
holds the highest generation that was seen and the process groups that run; it is read and replaced under flock.

A command never runs unrecorded. Its process is forked first, makes its own session, and waits at a gate; then its
group is recorded; then the gate opens. Whoever is killed in between, the gate closes and the command never starts.

Exit status of ``run``: the command's (128 + N for signal N), or one of the four below with a line on stderr that
starts with ``dacc-fence: ``. Of ``fence`` and ``forget``: 0, or STUCK with a line that names the processes.

With ``--attached NONCE`` we are the far end of a connection. Then we make the command's environment ourselves, end the command
when the connection ends, and say with a mark on stdout and stderr that all has been said: what a command leaves behind may hold
both open for ever.
"""

# pathlib, contextlib, argparse and typing would take longer than all that happens here. Quoted: what 3.6 cannot evaluate.
# So would ``signal``, whose numbers are enums: ``_signal`` is the part of it that does the work, and has them as plain numbers.
# ruff: noqa: PTH100, PTH103, PTH104, PTH108, PTH116, PTH118, PTH120, PTH208, S606, SIM105

import fcntl
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal
if TYPE_CHECKING or __package__:
    from . import fence_groups
else:  # a program: the other half is beside this file, or was loaded before it where there is no file
    if "fence_groups" not in sys.modules:
        sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import fence_groups

STUCK = 112  # processes did not end
REFUSED = 113  # a newer generation exists, or we were told to stop
TIMED_OUT = 124
BROKEN = 125  # this helper could not do its work

LEAVE_SECONDS = 0.5  # for what a command leaves behind to leave its group, or end by itself
ATTACHED_SECONDS = 0.5  # between looks at the connection
SWEEP_SECONDS = 6 * 3600.0  # between removals of old fences
FENCE_SECONDS = 7 * 86400.0  # how long a fence is kept: longer than any step or standstill lasts
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
WORDS = "dacc-fence: "
LEFT = "; these did not end: "
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def environment(path: str) -> "dict[str, str]":
    """What commands find in their environment: a path that has the system's directories, and plain English.

    Nothing else: commands that run as a user show their environment to that user.
    """
    own = [part for part in path.split(":") if part]
    unique = own + [part for part in SYSTEM_PATH if part not in own]
    return {"PATH": ":".join(unique), "LC_ALL": "C"}


def settle() -> None:
    """Make ours what a login left, so that commands inherit it."""
    clean = environment(os.environ.get("PATH", ""))
    os.environ.clear()
    os.environ.update(clean)
    os.chdir("/")
    os.umask(0o022)


def closing(nonce: str) -> bytes:
    """What marks the end of both streams. A command cannot say it: it does not know the nonce."""
    return f"\x1edacc-end {nonce}".encode()


def close(nonce: str, code: int) -> int:
    """Say that all has been said, and the exit status."""
    for fd, text in ((1, b""), (2, b" %d\n" % code)):
        try:
            os.write(fd, closing(nonce) + text)
        except OSError:
            pass
    return code


def alone() -> bool:
    """Whether nobody is at the other end of stderr any more: sshd closes it with the connection."""
    poller = select.poll()
    poller.register(2, 0)
    return bool(poller.poll(0))


def sweep(place: str) -> None:
    """Remove old fences of all hosts, now and then.

    Not at a session's end: a former coordinator that stood still meanwhile must not be admitted again.
    """
    marker, now = os.path.join(place, ".swept"), time.time()
    try:
        if now - os.stat(marker).st_mtime < SWEEP_SECONDS:
            return
    except OSError:
        pass
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        os.utime(marker)
        for host in os.listdir(place):
            remove_old(os.path.join(place, host), now - FENCE_SECONDS)
    except OSError:
        pass  # not worth a command


def remove_old(directory: str, before: float) -> None:
    """Remove the fences of one host that were last written ``before`` a time."""
    try:
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name.endswith(".fence") and os.stat(path).st_mtime < before:
                os.unlink(path)
    except OSError:
        pass  # no directory, or another helper sweeps too


def quoted(token: str) -> str:
    """A file name for any token."""
    encoded = token.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if chr(byte) in SAFE else f"%{byte:02X}" for byte in encoded)


class Fence:
    """The fence file of a token, locked from ``with`` to its end."""

    def __init__(self, directory: str, token: str, create: bool = True) -> None:
        if create:
            os.makedirs(directory, 0o700, exist_ok=True)
            sweep(os.path.dirname(directory))
        self.flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        self.path = os.path.join(directory, quoted(token) + ".fence")

    def __enter__(self) -> "Fence":
        while True:
            self.fd = os.open(self.path, self.flags, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if self._current():
                self._read()
                return self
            os.close(self.fd)

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def _current(self) -> bool:
        """Whether the file that we locked is still the one at the path."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    def _read(self) -> None:
        self.generation = 0
        self.groups = []  # type: list[fence_groups.Group]
        for line in fence_groups.read_file(self.path).decode().splitlines():
            word, _, rest = line.partition(" ")
            if word == "generation":
                self.generation = int(rest)
            else:
                generation, pgid, started, mark = rest.split(" ")
                self.groups.append(fence_groups.Group(int(generation), int(pgid), started, mark))

    def write(self) -> None:
        """Replace the file as a whole: a kill leaves the old content or the new one."""
        temporary = self.path + ".new"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # before it has the name, so that nobody gets in between
        text = f"generation {self.generation}\n" + "".join(group.line() for group in self.groups)
        os.write(fd, text.encode())
        os.rename(temporary, self.path)
        os.close(self.fd)
        self.fd = fd

    def drop(self, gone: "list[fence_groups.Group]") -> None:
        """Take groups out of the record."""
        numbers = {(group.pgid, group.started) for group in gone}
        self.groups = [group for group in self.groups if (group.pgid, group.started) not in numbers]
        self.write()


def child(argv: "list[str]", mark: str, ready: int, gate: int) -> None:
    """In the forked process: own session, report, wait for the gate, become the command."""
    os.setsid()
    os.environ[fence_groups.MARK] = mark
    os.write(ready, b"!")
    if not os.read(gate, 1):
        os._exit(BROKEN)  # our parent died or was refused
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and that would be inherited
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if isinstance(error, (FileNotFoundError, NotADirectoryError)) else 126)


def fork_gated(argv: "list[str]", generation: int) -> "tuple[fence_groups.Group, int]":
    """Fork the command's process up to its gate. Returns its group and the gate's other end."""
    mark = os.urandom(8).hex()
    ready, ready_in = os.pipe()
    gate_out, gate = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ready)
            os.close(gate)  # or we would never see it close
            child(argv, mark, ready_in, gate_out)
        finally:
            os._exit(BROKEN)
    os.close(ready_in)
    os.close(gate_out)
    entry = fence_groups.process(pid) if os.read(ready, 1) else None
    os.close(ready)
    if entry is None:
        raise ValueError("the command's process died before it started")
    return fence_groups.Group(generation, pid, entry[2], mark), gate


def admit(options: "dict[str, str]", group: fence_groups.Group) -> str:
    """Record a group that is about to start. Returns why not, if its generation is too old."""
    with Fence(options["dir"], options["token"]) as fence:
        if fence.generation > group.generation:
            return f"generation {group.generation} is older than {fence.generation}"
        fence.generation = group.generation
        fence.groups.append(group)
        fence.write()
    return ""


def leave(options: "dict[str, str]", group: fence_groups.Group) -> str:
    """Remove the record of a group that has ended. Returns why it was ended, if by a fence."""
    try:
        with Fence(options["dir"], options["token"], create=False) as fence:
            fence.drop([group])
            if fence.generation > group.generation:
                return f"generation {group.generation} was fenced by {fence.generation}"
    except FileNotFoundError:
        pass  # forgotten meanwhile
    return ""


def open_gate(gate: int, attached: bool) -> None:
    """Let the command start, and keep none of its streams but those that we say something on."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0,) if attached else (0, 1):
        os.dup2(null, fd)
    try:
        os.write(gate, b"!")
    except BrokenPipeError:
        pass  # a fence was faster
    os.close(gate)


def supervise(pid: int, timeout: float, attached: bool) -> "tuple[str, int]":
    """Wait for the command. Returns why we stop waiting ("" when it ended) and its wait status."""
    deadline = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "", status
        left = deadline - time.monotonic()
        if left <= 0:
            return "timeout", 0
        if attached and alone():
            return "the connection ended", 0
        info = signal.sigtimedwait(SIGNALS, min(left, ATTACHED_SECONDS) if attached else left)
        if info is not None and info.si_signo != signal.SIGCHLD:
            return "told to stop", 0


def say(words: str, code: int) -> int:
    """One line on stderr that the caller can tell from the command's own; returns the exit status that goes with it."""
    try:
        os.write(2, f"\n{WORDS}{words}\n".encode())
    except OSError:
        pass
    return code


def run(options: "dict[str, str]", argv: "list[str]") -> int:
    """Run a command; with a token inside its fence. What stays in the command's process group ends with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    fenced, attached = "token" in options, "attached" in options
    group, gate = fork_gated(argv, int(options.get("generation", 0)))
    refusal = admit(options, group) if fenced else ""
    if refusal or (attached and alone()):
        os.close(gate)
        if fenced and not refusal:
            leave(options, group)
        return say("refused: " + (refusal or "the connection ended"), REFUSED)
    open_gate(gate, attached)
    why, status = supervise(group.pgid, float(options["timeout"]), attached)
    ended = time.monotonic()
    while not why and fence_groups.members(group) and time.monotonic() < ended + LEAVE_SECONDS:
        time.sleep(0.01)  # a daemon just forked has yet to make its own session
    stuck = fence_groups.end([group]) if fence_groups.members(group) else []
    ended_by = leave(options, group) if fenced and not stuck else ""
    return verdict(why or ended_by, status, options["timeout"], stuck)


def verdict(why: str, status: int, timeout: str, stuck: "list[fence_groups.Group]") -> int:
    """The exit status that tells how a command ended, with a line when it was not by itself."""
    left = LEFT + fence_groups.pids(stuck) if stuck else ""
    if why == "timeout":
        why = f"timed out: not done after {float(timeout):g} s"
        return say(why + left, TIMED_OUT)
    if why or stuck:
        return say((why or "stuck") + left, REFUSED if why else STUCK)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def raise_fence(options: "dict[str, str]") -> int:
    """Raise the generation, then end all groups of older ones and see them gone."""
    generation = int(options["generation"])
    with Fence(options["dir"], options["token"]) as fence:
        fence.generation = max(fence.generation, generation)
        fence.write()
        older = [group for group in fence.groups if group.generation < generation]
    if not older:
        return 0
    left = fence_groups.end(older)
    with Fence(options["dir"], options["token"]) as fence:
        fence.drop([group for group in older if group not in left])
    return say("stuck: these did not end: " + fence_groups.pids(left), STUCK) if left else 0


def forget(options: "dict[str, str]") -> int:
    """Remove the fence of a session that is gone; not while a command of it runs."""
    try:
        with Fence(options["dir"], options["token"], create=False) as fence:
            alive = [group for group in fence.groups if fence_groups.members(group)]
            if not alive:
                os.unlink(fence.path)
    except FileNotFoundError:
        return 0  # there was none: making one only to remove it would leave its directory behind
    return say("stuck: still running: " + fence_groups.pids(alive), STUCK) if alive else 0


def parse(words: "list[str]") -> "tuple[dict[str, str], list[str]]":
    """Options, and what stands behind ``--``."""
    options = {}
    while words and words[0] != "--":
        if not words[0].startswith("--") or len(words) < 2:
            raise ValueError(f"cannot read option {words[0]}")
        options[words[0][2:]] = words[1]
        words = words[2:]
    return options, words[1:]


def perform(verb: str, options: "dict[str, str]", argv: "list[str]") -> int:
    """Do what we were started for; the exit status."""
    try:
        if verb == "run" and argv:
            return run(options, argv)
        return {"fence": raise_fence, "forget": forget}[verb](options)
    except (OSError, ValueError, LookupError) as error:
        return say(f"broken: {type(error).__name__}: {error}", BROKEN)


def main(words: "list[str]") -> int:
    """The program."""
    try:
        options, argv = parse(words[1:])
    except ValueError as error:
        return say(f"broken: {error}", BROKEN)
    if "attached" not in options:
        return perform(words[0], options, argv)
    settle()
    return close(options["attached"], perform(words[0], options, argv))


def start() -> None:
    """Be the program."""
    # Not sys.exit: nothing is buffered here, and the interpreter's clean-up takes time.
    os._exit(main(sys.argv[1:]))


if __name__ == "__main__":
    start()
