"""A site whose daemons die and are started again, and a job's calls that have to come through all the same."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dacc_core.demo.site import LocalSite
from dacc_core.keystore.sqlite.store import SqliteKeystore
from dacc_core.registry import keys
from dacc_core.registry.view import View
from dacc_core.simulation.invariants import broken_rules
from tests.support.waiting import until

T = TypeVar("T")
MIB = 1 << 20
CALL_SECONDS = 120.0
AFTER_RESTART = 45.0
"""A call that a daemon's death held up ends so soon after the daemon runs again: within 15 s, and here on however busy a machine."""
SETTLE_SECONDS = 40.0
LASTING = {"cluster", "counters", "pools", "hosts", "alive", "allocations", "history"}
"""The kinds of records that stay when every session is gone."""
CALLS = ("setup", "data_in", "paths", "pre_run", "post_run", "data_out", "teardown")
"""A job's life as slurmctld calls it; between pre_run and post_run the job runs."""
tokens = count(101)


def user() -> pwd.struct_passwd:
    """Who owns the jobs: root may not, so it lends them to nobody."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


@dataclass(frozen=True)
class Called:
    """How one call of fakewarp ended."""

    rc: int
    output: str
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


class Call:
    """One call of fakewarp under way, in a process group of its own as Slurm starts it."""

    def __init__(self, site: LocalSite, args: Sequence[str], **env: str) -> None:
        self.args, self.begun = args, time.monotonic()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("fakewarp")), "--function", *args],
            env=site.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ended(self, seconds: float) -> Called | None:
        """How it ended, if it did within so many seconds."""
        try:
            output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        return Called(self.process.returncode, output.strip(), self.begun, time.monotonic())

    def kill(self) -> None:
        """End it and everything it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class CrashSite:
    """A :class:`LocalSite` that starts a daemon again whenever one was killed while a call was waiting."""

    def __init__(self, **site: Any) -> None:
        directory = Path(tempfile.mkdtemp(prefix="dacc-crash-"))
        directory.chmod(0o755)  # the jobs' user must get at the files
        settings = {"retries": {"first_wait": 0.05}, **site.pop("extra", {})}
        self.site = LocalSite(directory, granularity=16 * MIB, extra=settings, **site)
        self.killed: list[str] = []
        self.revived_at = 0.0
        self.left_dead: set[str] = set()
        self._next: dict[str, list[str]] = {}
        self._faults = count()

    @property
    def store(self) -> Path:
        """The keystore's file."""
        return self.site.directory / "state" / "store.db"

    # --- daemons ---

    def open(self) -> CrashSite:
        self.site.open()
        self.site.start()
        return self

    def arm(self, host: str, *failpoints: str, **env: str) -> None:
        """Replace a daemon, at once, by one that does what the failpoint says; its former self's lease bridges the gap.

        Of several failpoints each is for the daemon that comes after the one that the former killed.
        """
        self.site.kill(host)
        self.killed[:] = [other for other in self.killed if other != host]
        self._next[host] = list(failpoints)
        self._launch(host, **env)

    def _launch(self, host: str, **env: str) -> None:
        waiting = self._next.get(host, [])
        self.site.launch(host, **({"DACC_FAILPOINT": waiting.pop(0)} if waiting else {}), **env)

    def stand_still(self, host: str) -> None:
        """Stop a daemon's process until it gets a SIGCONT; while it does not hold the keystore's lock, on which all others would wait."""
        daemon = self.site.daemons[host]
        with closing(sqlite3.connect(self.store, timeout=10.0, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            daemon.send_signal(signal.SIGSTOP)
            until(lambda: Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it stands still")

    def fault(self, **fault: Any) -> None:
        """One fault of the fake provider, for daemons started from now on; none without arguments."""
        where = {"fault_dir": str(self.site.directory / "faults" / str(next(self._faults)))}
        self.site.provider = {"faults": [fault], **where} if fault else {}
        self.site.configure()

    def revive(self) -> None:
        """Start again what was killed. A daemon that ended in any other way is a failure."""
        for host, daemon in list(self.site.daemons.items()):
            if daemon.poll() is not None and host not in self.left_dead:
                assert daemon.returncode == -signal.SIGKILL, f"{host} ended with {daemon.returncode}:\n{self.log(host)}"
                self.killed.append(host)
                self._launch(host)
                self.revived_at = time.monotonic()

    def await_deaths(self, host: str, number: int = 1) -> None:
        """See that the failpoints were passed; the call may have been answered before."""

        def enough() -> bool:
            self.revive()
            return self.killed.count(host) >= number

        until(enough, f"{host} is killed")

    def log(self, host: str) -> str:
        return "\n".join(self.site.log(host).splitlines()[-30:])

    # --- calls ---

    def call(self, *args: str, **env: str) -> Called:
        """Call fakewarp, starting daemons again that die meanwhile."""
        call = Call(self.site, args, **env)
        try:
            while (done := call.ended(0.01)) is None:
                self.revive()
                if time.monotonic() > call.begun + CALL_SECONDS:
                    self.complain(f"{args[0]} did not end within {CALL_SECONDS:g} s")
        finally:
            call.kill()
        return done

    def succeed(self, *args: str, **env: str) -> Called:
        """A call that has to succeed, and soon after a daemon that died was started again."""
        done = self.call(*args, **env)
        if done.rc != 0:
            self.complain(f"{args[0]} ended with {done.rc}: {done.output}")
        held_up = done.ended - max(self.revived_at, done.begun)
        if held_up > AFTER_RESTART:
            self.complain(f"{args[0]} took {held_up:.1f} s after the restart")
        return done

    def complain(self, why: str) -> None:
        """Fail, with what the daemons wrote last."""
        pytest.fail("\n".join([why, *(f"--- {host}\n{self.log(host)}" for host in self.site.daemons)]))

    # --- what is known ---

    def records(self) -> View:
        """The store as it is, read without any daemon."""
        view = View()
        view.load(self._read(lambda store: store.range(keys.PREFIX)))
        return view

    def _read(self, question: Callable[[SqliteKeystore], T]) -> T:
        store = SqliteKeystore(self.store, None, 10_000)
        try:
            return question(store)
        finally:
            store.close()

    def history(self, kind: str, name: str, since: int) -> list[Any]:
        """A record as it was after each of its writes, from the store's log."""
        key = keys.key(kind, name)
        batch = self._read(lambda store: store.watch(keys.PREFIX, since).next(1.0))
        changes = batch.changes if batch is not None else ()
        return [keys.decode(key, change.item.value) for change in changes if change.key == key and change.item is not None]

    def free(self) -> tuple[int, int]:
        """A pool's free bricks, and all of them, as Slurm is told."""
        pool = json.loads(self.site.fakewarp("--function", "pools").stdout)["pools"][0]
        return pool["free"], pool["quantity"]

    def remains(self) -> str:
        """The first thing that should not be there when every session is gone; empty when there is none."""
        return next(self._remains(), "")

    def _remains(self) -> Iterator[str]:
        view = self.records()
        yield from (f"a broken rule: {rule}" for rule in broken_rules(view))
        yield from (f"session {token}" for token in view.sessions)
        kinds = {keys.split(item.key)[0] for item in self._read(lambda store: store.range(keys.PREFIX)).items}
        yield from (f"records of {kind}" for kind in kinds - LASTING)
        for host, entry in view.allocations.items():
            if entry.record.taken or entry.record.quarantined:
                yield f"bricks of {host}: {entry.record}"
        yield from traces(self.site)

    def assert_nothing_left(self) -> None:
        """No session, brick, file, mount, loop device or process of any job is left, and the whole pool is free."""
        self.revive()
        end = time.monotonic() + SETTLE_SECONDS
        while left := self.remains():
            if time.monotonic() > end:
                self.complain(f"left: {left}")
            time.sleep(0.02)
        total = self.site.hosts * self.site.bricks
        until(lambda: self.free() == (total, total), "the pool is whole")

    def close(self) -> None:
        """End everything; that nothing is left is part of every test. What a test that failed left is ended, too."""
        directory = self.site.directory
        for host in list(self.site.daemons):
            self.site.daemons[host].send_signal(signal.SIGCONT)
            self.site.kill(host)
        left = [line for line in traces(self.site) if line.startswith("process")]
        for line in left:
            with suppress(ProcessLookupError):
                os.kill(int(line.split()[1].rstrip(":")), signal.SIGKILL)
        self.site.close()
        assert not left, f"processes stay behind: {left}"
        until(lambda: not list(_mounts(str(directory))), "no mounts stay behind")  # what was on a host may take a moment to end
        assert not list(_loops(directory)), "loop devices stay behind"
        assert not directory.exists(), "files stay behind"


class Rsync:
    """An rsync for daemons that find it first in their path: it hangs until it is let go, or it is slow."""

    def __init__(self, crash: CrashSite, *, slow: bool = False) -> None:
        self._place = crash.site.directory / "hanging"
        self._place.mkdir()
        self._place.chmod(0o777)  # it runs as the job's user
        here, real = f'"{self._place}"', shutil.which("rsync") or "rsync"
        text = f"#!/bin/sh\necho $$ > {here}/new.$$; ln {here}/new.$$ {here}/pid 2>/dev/null\n"
        if not slow:
            text += f"while [ -e {here}/pid ] && [ ! -e {here}/go ]; do sleep 0.02; done; echo > {here}/late.$$\n"
        program = self._place / "rsync"
        program.write_text(f'{text}exec "{real}" {"--bwlimit=500" if slow else ""} "$@"\n')
        program.chmod(0o755)
        self.path = f"{self._place}:{os.environ.get('PATH', '/usr/bin:/bin')}"

    def hangs(self) -> bool:
        """Whether one was started and the first one has not begun to copy."""
        try:
            return str(self._place) in Path(f"/proc/{self._first}/cmdline").read_text()
        except OSError:
            return False

    def let_go(self) -> None:
        """Let whatever still waits go on."""
        (self._place / "go").touch()

    @property
    def _first(self) -> str:
        return (self._place / "pid").read_text().strip()

    @property
    def went_on(self) -> bool:
        """Whether the first one did."""
        return (self._place / f"late.{self._first}").exists()

    def close(self) -> None:
        """Take it away."""
        self.let_go()
        shutil.rmtree(self._place)


# --- what a job could leave on the machine ---


def traces(site: LocalSite) -> Iterator[str]:
    """Whatever of any job is on the machine."""
    directory = site.directory
    serving = {process.pid for process in (*site.daemons.values(), *site.sshd.servers.values())}
    yield from (f"process {line}" for line in _processes(directory, serving))
    yield from (f"mount {line}" for line in _mounts(str(directory / "movers")))
    yield from (f"loop device {line}" for line in _loops(directory))
    yield from (f"on a node: {path}" for path in _on_nodes(site))
    for place in ("bricks/*/*", "movers"):
        yield from (f"file {path}" for folder in directory.glob(place) for path in folder.iterdir())


def _processes(directory: Path, but: set[int]) -> Iterator[str]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) not in but | {os.getpid()}:
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:  # it ended
                continue
            if str(directory) in line:
                yield f"{process.name}: {line}"


def _mounts(place: str) -> Iterator[str]:
    """Mounts under a place, in every mount namespace that a process is in."""
    seen = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                namespace = (process / "ns/mnt").readlink()
                lines = (process / "mountinfo").read_text(errors="replace").splitlines() if namespace not in seen else []
            except OSError:
                continue
            seen.add(namespace)
            yield from (line for line in lines if place in line)


def _loops(directory: Path) -> Iterator[str]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            image = backing.read_text(errors="replace").strip()
        except OSError:  # just detached
            continue
        if str(directory) in image:
            yield f"{backing.parent.parent.name}: {image}"


def _on_nodes(site: LocalSite) -> Iterator[str]:
    """Mounts, directories and links of jobs on compute nodes, and mounts of movers on storage hosts."""
    for node in (*site.compute_nodes, *site.brick_hosts):
        if site.namespaces:
            see = f"grep -e ' {site.mount_root}/' -e /movers/ /proc/self/mountinfo; ls -A {site.mount_root} 2>/dev/null"
            found = subprocess.run(site.on(node, ["sh", "-c", see]), capture_output=True, text=True).stdout.splitlines()
        else:
            found = [str(path) for path in site.path_on(node, site.mount_root).glob("*")]
        yield from (f"{node}: {line}" for line in found)


# --- a job ---


@dataclass
class Job:
    """A job with a striped and private buffer on two nodes, called as slurmctld calls; data goes in and comes back."""

    crash: CrashSite
    token: str = field(default_factory=lambda: str(next(tokens)))
    staged: bool = True
    files: int = 3
    size: int = 40_000
    mebibytes: int = 32
    swap: bool = False
    persistent: str = ""
    socket: str = ""

    def __post_init__(self) -> None:
        self.site = self.crash.site
        self.home = self.site.directory / f"home.{self.token}"
        self.script = self.site.directory / f"script.{self.token}"
        self.nodes = self.site.directory / f"nodes.{self.token}"
        self.paths = self.site.directory / f"path.{self.token}"
        self.nodes.write_text("".join(f"{node}\n" for node in self.site.compute_nodes))
        self.script.write_text(self._directives())
        if self.staged:
            self._make_input()

    def _directives(self) -> str:
        text = "#!/bin/sh\n"
        if self.persistent:
            return f"{text}#DW persistentdw name={self.persistent}\n"
        text += f"#DW jobdw capacity={self.mebibytes}MiB access_mode=striped,private type=scratch\n"
        if self.swap:
            text += "#DW swap 1MiB\n"
        if self.staged:
            text += f"#DW stage_in source={self.home}/input destination=$DW_JOB_STRIPED/input type=directory\n"
            text += f"#DW stage_out source=$DW_JOB_STRIPED/results destination={self.home}/results type=directory\n"
        return text

    def _make_input(self) -> None:
        self.home.mkdir()
        (self.home / "input").mkdir()
        for number in range(self.files):
            (self.home / "input" / f"file {number}").write_bytes(os.urandom(self.size))
        if os.geteuid() == 0:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, user().pw_uid, user().pw_gid)

    # --- its calls ---

    def arguments(self, function: str) -> tuple[str, ...]:
        """What slurmctld says."""
        args: tuple[str, ...] = (function, "--token", self.token, "--job", str(self.script))
        if function == "setup":
            who = ("--user", str(user().pw_uid), "--groupid", str(user().pw_gid))
            args += ("--caller", "SLURM", *who, "--capacity", f"default:{0 if self.persistent else self.mebibytes}MiB")
        if function == "paths":
            args += ("--pathfile", str(self.paths))
        if function == "pre_run":
            args += ("--nodehostnamefile", str(self.nodes))
        return args

    def creation(self) -> tuple[str, ...]:
        """What slurmctld says to create the persistent buffer of this name."""
        who = ("-u", str(user().pw_uid))
        return ("create_persistent", "-c", "CLI", "-t", self.token, *who, "-C", f"default:{16 * MIB}", "-a", "striped", "-T", "scratch")

    @property
    def env(self) -> dict[str, str]:
        """Which daemon it calls, when that is not the controller's."""
        return {"DACC_SOCKET": self.socket} if self.socket else {}

    def do(self, *functions: str) -> None:
        """Calls that have to succeed, one after the other."""
        for function in functions:
            self.crash.succeed(*self.arguments(function), **self.env)

    def begin(self, function: str) -> Call:
        """A call that nobody looks after."""
        return Call(self.site, self.arguments(function), **self.env)

    def compute(self) -> None:
        """What the job does on its nodes, as its user: the results are the input, and each node uses its private directory."""
        values = dict(line.split("=", 1) for line in self.paths.read_text().splitlines())
        first, *_ = nodes = self.site.compute_nodes
        for node in nodes:
            striped, private = (self.site.path_on(node, values[f"DW_JOB_{kind}"]) for kind in ("STRIPED", "PRIVATE"))
            work = f'echo {node} > "{private}/mine" && [ "$(cat "{private}/mine")" = {node} ]'
            if node == first:
                work += f' && mkdir -p "{striped}/results" && cp -a "{striped}/input/." "{striped}/results/"'
            who = user()
            switch = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--"] if os.geteuid() == 0 else []
            done = subprocess.run(self.site.on(node, [*switch, "sh", "-ec", work]), capture_output=True, text=True, timeout=30)
            assert done.returncode == 0, f"the job on {node}: {done.stderr}"

    def until(self, call: str, *, done: int = 0) -> None:
        """Its life before a call, of which so many calls were done already."""
        self._live(CALLS[done : CALLS.index(call)])

    def after(self, call: str) -> None:
        """Its life after a call."""
        if call == "pre_run":
            self.compute()
        self._live(CALLS[CALLS.index(call) + 1 :])

    def live(self) -> None:
        """Its whole life."""
        self._live(CALLS)

    def _live(self, calls: Sequence[str]) -> None:
        for call in calls:
            self.do(call)
            if call == "pre_run":
                self.compute()

    def assert_results(self) -> None:
        """What came back is what went in."""
        assert contents(self.home / "results") == contents(self.home / "input")

    def forget(self) -> None:
        """Remove its files; its home is not dacc's to clean."""
        shutil.rmtree(self.home, ignore_errors=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}
