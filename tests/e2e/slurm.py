"""Slurm's side of a site: the calls that slurmctld makes, each a process of its own, and jobs that run on nodes as their user."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dacc_core.demo.site import LocalSite
from tests.support.waiting import until

MIB = 1 << 20
BIN = Path(sys.executable).parent

# Users that every Debian has.
NOBODY = pwd.getpwnam("nobody")
GAMES = pwd.getpwnam("games")
WEB = pwd.getpwnam("www-data")


@dataclass(frozen=True)
class Answer:
    """What a call printed, to the one pipe that both of its outputs are, and its exit code."""

    rc: int
    output: str


def succeeded(*answers: Answer) -> str:
    """See that calls succeeded; what the last one printed."""
    for answer in answers:
        assert answer.rc == 0, answer
    return answers[-1].output


def refused(answer: Answer) -> str:
    """See that a call failed with one line that a person can read, and nothing that Slurm could take for an answer; the line."""
    assert answer.rc != 0, answer
    assert answer.output.endswith("\n"), answer
    (line,) = answer.output.splitlines()
    assert line.strip().isprintable(), answer
    assert not line.lstrip().startswith(("{", "[")), answer
    assert "Traceback" not in line, answer
    return line


def as_slurm_reads(output: str) -> Any:
    """JSON as Slurm parses it: apostrophes become quotation marks first (dw.c, _python2json)."""
    return json.loads(re.sub(r"u?'", '"', output))


def as_user(user: pwd.struct_passwd, *groups: int) -> list[str]:
    """The words before a command that run it as a user."""
    more = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", *more, "--"]


@dataclass
class Slurm:
    """slurmctld in front of a site. What it makes is remembered, so that :meth:`clean` can end it."""

    site: LocalSite
    jobs: list[Job] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1001))

    # --- calls ---

    def start(self, function: str, *args: str, user: Sequence[str] = (), program: str = "fakewarp", **env: str) -> subprocess.Popen[str]:
        """Begin a call as Slurm does: a process group of its own, nothing to read, both outputs in one pipe."""
        named = ["--function", function] if program == "fakewarp" else [function] if function else []
        words = [f"{self.site.programs}/{program}", *named, *args]
        return subprocess.Popen(
            [*user, *words],
            env=self.site.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="surrogateescape",
        )

    def call(self, function: str, *args: str, seconds: float = 60.0, **more: Any) -> Answer:
        """One call to its end."""
        return finish(self.start(function, *args, **more), seconds)

    def dwstat(self, *args: str) -> Answer:
        """One call of dwstat, as for ``scontrol show dwstat``."""
        return finish(self.start(args[0] if args else "", *args[1:], program="dwstat"))

    def dacc(self, *args: str) -> Answer:
        """One call of ``dacc`` by an operator."""
        words = [f"{self.site.programs}/dacc", *args]
        done = subprocess.run(words, env=self.site.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        return Answer(done.returncode, done.stdout)

    # --- what it is told ---

    def read(self, function: str) -> Any:
        """The list that a polled function answers."""
        (rows,) = as_slurm_reads(succeeded(self.call(function))).values()
        return rows

    def tokens(self) -> set[str]:
        """The sessions that Slurm sees."""
        return {row["token"] for row in self.read("show_sessions")}

    def free(self) -> int:
        """The free bricks that Slurm sees."""
        return int(self.read("pools")[0]["free"])

    def kept(self) -> list[dict[str, Any]]:
        """The sessions that are kept because their stage-out is owed."""
        return [one for one in self.site.ask("status")["sessions"] if one["kind"] == "kept"]

    def quarantined(self) -> dict[str, str]:
        """Bricks in quarantine and why."""
        hosts = self.site.ask("status")["hosts"]
        return {f"{host['name']}:{device}": why for host in hosts for device, why in host["quarantined"].items()}

    # --- jobs and buffers ---

    def job(self, *directives: str, owner: pwd.struct_passwd = NOBODY, mib: int = 0, body: str = "", token: str = "") -> Job:
        """A job that is submitted with these directives, and ``mib`` MiB as Slurm counted them."""
        token = token or str(next(self.numbers))
        script = self.site.directory / "spool" / f"script.{token}"
        script.parent.mkdir(exist_ok=True)
        script.write_text("#!/bin/sh\n" + "".join(f"{line}\n" for line in directives) + body)
        script.chmod(0o600)
        self.jobs.append(Job(self, token, owner, script, f"default:{mib}MiB" if mib else "default:0"))
        return self.jobs[-1]

    def striped(self, *more: str, mib: int = 32, **options: Any) -> Job:
        """A job with a striped buffer and perhaps more."""
        return self.job(f"#DW jobdw capacity={mib}MiB access_mode=striped type=scratch", *more, mib=mib, **options)

    def create(self, name: str, *more: str, owner: pwd.struct_passwd = NOBODY, mib: int = 32) -> Answer:
        """``create_persistent``."""
        self.buffers.append(name)
        who = ("-u", str(owner.pw_uid))
        return self.call("create_persistent", "-c", "CLI", "-t", name, *who, "-C", f"default:{mib * MIB}", *more)

    def destroy(self, name: str, *, hurry: bool = False) -> Answer:
        """``teardown`` of a persistent buffer."""
        dummy = self.site.directory / "spool" / "burst_buffer_script"
        dummy.parent.mkdir(exist_ok=True)
        dummy.touch()
        return self.call("teardown", "--token", name, "--job", str(dummy), *(["--hurry"] if hurry else []))

    def clean(self) -> None:
        """End everything that was made."""
        for job in self.jobs:
            succeeded(job.teardown(hurry=True))
        for name in dict.fromkeys(self.buffers):
            succeeded(self.destroy(name, hurry=True))
        self.jobs.clear()
        self.buffers.clear()


def finish(process: subprocess.Popen[str], seconds: float = 60.0) -> Answer:
    """Wait for a call's end; one that takes too long is ended."""
    with process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Answer(process.returncode, output)


@dataclass
class Job:
    """One job of one user: what Slurm keeps of it and calls for it."""

    slurm: Slurm
    token: str
    owner: pwd.struct_passwd
    script: Path
    capacity: str

    @property
    def setup_args(self) -> tuple[str, ...]:
        """The arguments of ``setup`` in Slurm's order."""
        who = ("--user", str(self.owner.pw_uid), "--groupid", str(self.owner.pw_gid))
        return ("--token", self.token, "--caller", "SLURM", *who, "--capacity", self.capacity, "--job", str(self.script))

    @property
    def _file_args(self) -> tuple[str, ...]:
        return ("--token", self.token, "--job", str(self.script))

    def _file(self, name: str) -> Path:
        return self.script.with_name(f"{name}.{self.token}")

    def process(self) -> Answer:
        """``job_process``."""
        return self.slurm.call("job_process", "--job", str(self.script))

    def setup(self) -> Answer:
        """``setup``."""
        return self.slurm.call("setup", *self.setup_args)

    @contextmanager
    def waiting(self) -> Iterator[subprocess.Popen[str]]:
        """A ``setup`` that waits for bricks already; when it is no longer looked at, it is ended as a cancelled job's is."""
        client = self.slurm.start("setup", *self.setup_args)
        try:
            until(lambda: self.token in self.slurm.tokens(), "it is listed")
            yield client
        finally:
            if client.poll() is None:
                client.kill()
            client.communicate()

    def why(self) -> str:
        """What ``dacc why`` says that the session waits for."""
        return str(json.loads(succeeded(self.slurm.dacc("why", self.token, "--json")))["waits_for"])

    def data_in(self) -> Answer:
        """``data_in``."""
        return self.slurm.call("data_in", *self._file_args)

    def real_size(self) -> int:
        """The capacity that ``real_size`` tells."""
        answer = json.loads(succeeded(self.slurm.call("real_size", "--token", self.token)))
        assert answer["units"] == "bytes"
        return int(answer["capacity"])

    def paths(self) -> Answer:
        """``paths``."""
        return self.slurm.call("paths", "--job", str(self.script), "--token", self.token, "--pathfile", str(self._file("path")))

    def pre_run_args(self, *nodes: str) -> tuple[str, ...]:
        """The arguments of ``pre_run``, with the file that names the nodes written."""
        self._file("nodes").write_text("".join(f"{node}\n" for node in nodes))
        return (*self._file_args, "--nodehostnamefile", str(self._file("nodes")))

    def pre_run(self, *nodes: str) -> Answer:
        """``pre_run``."""
        return self.slurm.call("pre_run", *self.pre_run_args(*nodes))

    def post_run(self) -> Answer:
        """``post_run``."""
        return self.slurm.call("post_run", *self._file_args)

    def data_out(self) -> Answer:
        """``data_out``."""
        return self.slurm.call("data_out", *self._file_args)

    def teardown(self, *, hurry: bool = False) -> Answer:
        """``teardown``."""
        return self.slurm.call("teardown", *self._file_args, *(["--hurry"] if hurry else []))

    # --- several calls ---

    def begin(self, *nodes: str) -> Job:
        """All calls up to the job's start; each must succeed."""
        succeeded(self.setup(), self.data_in(), self.paths(), self.pre_run(*nodes))
        return self

    def end(self) -> None:
        """All calls after the job's end; each must succeed."""
        succeeded(self.post_run(), self.data_out(), self.teardown())

    # --- the job itself ---

    @property
    def variables(self) -> dict[str, str]:
        """What Slurm adds to the job's environment."""
        return dict(line.split("=", 1) for line in self._file("path").read_text().splitlines())

    def run(self, node: str, command: str, owner: pwd.struct_passwd | None = None) -> subprocess.CompletedProcess[str]:
        """A shell command of the job on a node, with both outputs in ``stdout``."""
        argv = self.slurm.site.on(node, [*as_user(owner or self.owner), "sh", "-c", command])
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **self.variables}
        return subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def does(self, node: str, command: str) -> str:
        """A command of the job that must succeed; its output."""
        done = self.run(node, command)
        assert done.returncode == 0, f"{command} on {node}: {done.stdout}"
        return done.stdout


def together(*calls: Callable[[], subprocess.Popen[str]]) -> list[Answer]:
    """Start calls at once, each a process, and wait for all."""
    begun = [call() for call in calls]
    try:
        return [finish(one) for one in begun]
    finally:
        for one in begun:
            if one.poll() is None:
                one.kill()
                one.wait()
