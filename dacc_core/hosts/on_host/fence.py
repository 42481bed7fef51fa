"""Run a command on this host inside a fence, or raise the fence and end what runs behind it.

    fence.py run   --timeout SECONDS [--dir D --token T --generation G] -- argv...
    fence.py fence --dir D --token T --generation G

One file, standard library only, Python 3.6 or newer, started as ``python3 -I -S``: it must run on hosts where nothing of ours is
installed, and start fast, since it starts with every command. The fence file ``D/<token>.fence`` holds the highest generation that
was seen and the process groups that run; it is read and replaced under flock.

A command never runs unrecorded. Its process is forked first, makes its own session, and waits at a gate; then its
group is recorded; then the gate opens. Whoever is killed in between, the gate closes and the command never starts.

Exit status of ``run``: the command's (128 + N for signal N), or one of the four below with a line on stderr that
starts with ``dacc-fence: ``. Of ``fence``: 0, or STUCK with a line that names the processes.

With ``--attached NONCE`` we are the far end of a connection. Then we make the command's environment ourselves, end the command
when the connection ends, and write a mark at the end of stdout and stderr: what a command leaves behind may hold both open for ever.
"""

# pathlib, contextlib, argparse and typing would take longer than all that happens here. Quoted: what 3.6 cannot evaluate.
# So would ``signal``, whose numbers are enums: ``_signal`` is the part of it that does the work, and has them as plain numbers.
# ruff: noqa: PTH103, PTH104, PTH108, PTH116, PTH118, PTH120, PTH123, PTH208, S606, SIM105

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

STUCK = 112  # processes did not end
REFUSED = 113  # a newer generation exists, or we got a signal to stop
TIMED_OUT = 124
BROKEN = 125  # this helper could not do its work

TERM_SECONDS = 2.0  # from TERM to KILL
END_SECONDS = 10.0  # from TERM until we give up on a process that cannot be killed
MARK = "DACC_FENCE"  # environment variable by which a group's orphans are told from a stranger's
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
    """What marks the end of both streams. A command cannot write it: it does not have the nonce."""
    return f"\x1edacc-end {nonce}".encode()


def close(nonce: str, code: int) -> int:
    """Mark the end of both streams, with the exit status."""
    for fd, text in ((1, b""), (2, b" %d\n" % code)):
        try:
            os.write(fd, closing(nonce) + text)
        except OSError:
            pass
    return code


def disconnected() -> bool:
    """Whether stderr has no reader any more: sshd closes it with the connection."""
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


# --- process groups: find the processes of a command, tell ours from strangers', end them ---


class ProcessGroup:
    """A process group that a command runs in: its leader's pid and start time, and the mark of its environment."""

    def __init__(self, generation: int, pgid: int, started: str, mark: str) -> None:
        self.generation = generation
        self.pgid = pgid
        self.started = started
        self.mark = mark

    def line(self) -> str:
        """The group as the fence file records it."""
        return f"group {self.generation} {self.pgid} {self.started} {self.mark}\n"


def read_file(path: str) -> bytes:
    """A whole small file."""
    with open(path, "rb", 0) as file:
        return file.read()


BOOT = read_file("/proc/sys/kernel/random/boot_id").decode().strip()  # start times count from boot


def process(pid: int) -> "tuple[str, int, str] | None":
    """State, process group and start time of a process; None when there is none."""
    try:
        stat = read_file(f"/proc/{pid}/stat").decode("latin-1")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the command's name may hold anything, spaces and ) too
    return fields[0], int(fields[2]), f"{fields[19]}@{BOOT}"


def carries(pid: int, mark: str) -> "bool | None":
    """Whether a process has the mark in its environment; None when we may not look."""
    try:
        return f"{MARK}={mark}".encode() in read_file(f"/proc/{pid}/environ").split(b"\0")
    except PermissionError:
        return None
    except OSError:
        return False


def orphans(group: ProcessGroup) -> "list[tuple[int, bool]]":
    """Living members of a group, each with whether it is surely ours; for when the leader is not alive."""
    leader = process(group.pgid)
    living = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        entry = process(int(name))
        if entry is None or entry[1] != group.pgid or entry[0] in "ZX":
            continue
        # With the leader gone its number could be a stranger's group by now: a daemon's, typically.
        ours = True if leader is not None else carries(int(name), group.mark)
        if ours is not False:
            living.append((int(name), ours is True))
    return living


def members(group: ProcessGroup) -> "list[tuple[int, bool]]":
    """Living members of a group (the leader alone when it lives), each with whether it is surely ours. Zombies are gone."""
    leader = process(group.pgid)
    if leader is not None and leader[2] != group.started:
        return []  # a reused pid: the kernel reuses a number only when its process group is empty too
    if not group.started.endswith("@" + BOOT):
        return []
    if leader is not None and leader[0] not in "ZX":
        return [(group.pgid, True)]
    try:
        os.killpg(group.pgid, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    return orphans(group) or orphans(group)  # a fork during the first look could hide from it


def send(group: ProcessGroup, number: int) -> None:
    """Signal all of a group, and nobody else."""
    for pid, ours in members(group):
        try:
            if pid == group.pgid:
                os.killpg(pid, number)
            elif ours:
                os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def end(groups: "list[ProcessGroup]") -> "list[ProcessGroup]":
    """End groups: TERM, later KILL. Returns those that did not end."""
    begun, pause = time.monotonic(), 0.005
    for group in groups:
        send(group, signal.SIGTERM)
    while True:
        left = [group for group in groups if members(group)]
        seconds = time.monotonic() - begun
        if not left or seconds > END_SECONDS:
            return left
        if seconds > TERM_SECONDS:
            for group in left:
                send(group, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.1, pause * 2)


def pids(groups: "list[ProcessGroup]") -> str:
    """The living processes of groups, for people."""
    return " ".join(str(pid) for group in groups for pid, _ in members(group))


# --- the fence file ---


class FenceFile:
    """The fence file of a token, locked from ``with`` to its end."""

    def __init__(self, directory: str, token: str, create: bool = True) -> None:
        if create:
            os.makedirs(directory, 0o700, exist_ok=True)
            sweep(os.path.dirname(directory))
        self.flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        self.path = os.path.join(directory, quoted(token) + ".fence")

    def __enter__(self) -> "FenceFile":
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
        self.groups = []  # type: list[ProcessGroup]
        for line in read_file(self.path).decode().splitlines():
            word, _, rest = line.partition(" ")
            if word == "generation":
                self.generation = int(rest)
            else:
                generation, pgid, started, mark = rest.split(" ")
                self.groups.append(ProcessGroup(int(generation), int(pgid), started, mark))

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

    def drop(self, gone: "list[ProcessGroup]") -> None:
        """Take groups out of the record."""
        numbers = {(group.pgid, group.started) for group in gone}
        self.groups = [group for group in self.groups if (group.pgid, group.started) not in numbers]
        self.write()


# --- verbs ---


def child(argv: "list[str]", mark: str, ready: int, gate: int) -> None:
    """In the forked process: own session, report, wait for the gate, become the command."""
    os.setsid()
    os.environ[MARK] = mark
    os.write(ready, b"!")
    if not os.read(gate, 1):
        os._exit(BROKEN)  # our parent died or was refused
    for number in range(1, signal.NSIG):
        # Ignored by Python itself, or by whoever started our daemon (nohup, a shell's &): a command would inherit that.
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if isinstance(error, (FileNotFoundError, NotADirectoryError)) else 126)


def fork_gated(argv: "list[str]", generation: int) -> "tuple[ProcessGroup, int]":
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
    entry = process(pid) if os.read(ready, 1) else None
    os.close(ready)
    if entry is None:
        raise ValueError("the command's process died before it started")
    return ProcessGroup(generation, pid, entry[2], mark), gate


def admit(options: "dict[str, str]", group: ProcessGroup) -> str:
    """Record a group that is about to start. Returns why not, if its generation is too old."""
    with FenceFile(options["dir"], options["token"]) as fence:
        if fence.generation > group.generation:
            return f"generation {group.generation} is older than {fence.generation}"
        fence.generation = group.generation
        fence.groups.append(group)
        fence.write()
    return ""


def leave(options: "dict[str, str]", group: ProcessGroup) -> str:
    """Remove the record of a group that has ended. Returns why it was ended, if by a fence."""
    try:
        with FenceFile(options["dir"], options["token"], create=False) as fence:
            fence.drop([group])
            if fence.generation > group.generation:
                return f"generation {group.generation} was fenced by {fence.generation}"
    except FileNotFoundError:
        pass  # forgotten meanwhile
    return ""


def open_gate(gate: int, attached: bool) -> None:
    """Let the command start, and keep none of its streams but those that we write to."""
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
        if attached and disconnected():
            return "the connection ended", 0
        info = signal.sigtimedwait(SIGNALS, min(left, ATTACHED_SECONDS) if attached else left)
        if info is not None and info.si_signo != signal.SIGCHLD:
            return "got a signal to stop", 0


def report(words: str, code: int) -> int:
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
    if refusal or (attached and disconnected()):
        os.close(gate)
        if fenced and not refusal:
            leave(options, group)
        return report("refused: " + (refusal or "the connection ended"), REFUSED)
    open_gate(gate, attached)
    why, status = supervise(group.pgid, float(options["timeout"]), attached)
    ended = time.monotonic()
    while not why and members(group) and time.monotonic() < ended + LEAVE_SECONDS:
        time.sleep(0.01)  # a daemon just forked has yet to make its own session
    stuck = end([group]) if members(group) else []
    ended_by = leave(options, group) if fenced and not stuck else ""
    return verdict(why or ended_by, status, options["timeout"], stuck)


def verdict(why: str, status: int, timeout: str, stuck: "list[ProcessGroup]") -> int:
    """The exit status for the way a command ended, with a line when it was not by itself."""
    left = LEFT + pids(stuck) if stuck else ""
    if why == "timeout":
        why = f"timed out: not done after {float(timeout):g} s"
        return report(why + left, TIMED_OUT)
    if why or stuck:
        return report((why or "stuck") + left, REFUSED if why else STUCK)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def raise_fence(options: "dict[str, str]") -> int:
    """Raise the generation, then end all groups of older ones and see them gone."""
    generation = int(options["generation"])
    with FenceFile(options["dir"], options["token"]) as fence:
        fence.generation = max(fence.generation, generation)
        fence.write()
        older = [group for group in fence.groups if group.generation < generation]
    if not older:
        return 0
    left = end(older)
    with FenceFile(options["dir"], options["token"]) as fence:
        fence.drop([group for group in older if group not in left])
    return report("stuck: these did not end: " + pids(left), STUCK) if left else 0


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
        if verb == "fence":
            return raise_fence(options)
        raise ValueError(f"no verb: {verb}")
    except (OSError, ValueError, LookupError) as error:
        return report(f"broken: {type(error).__name__}: {error}", BROKEN)


def main(words: "list[str]") -> int:
    """The program."""
    try:
        options, argv = parse(words[1:])
    except ValueError as error:
        return report(f"broken: {error}", BROKEN)
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
