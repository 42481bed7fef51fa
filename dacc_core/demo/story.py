"""The demo's three jobs, as the calls that slurmctld makes, in its order."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..errors import StepFailed
from .board import Board
from .site import LocalSite

MIB = 1 << 20

CREATE_SCRIPT = """#!/bin/sh
#BB create_persistent name=shared capacity=64MiB access_mode=striped type=scratch
"""

JOB_SCRIPT = """#!/bin/sh
#SBATCH --nodes=2
#DW jobdw capacity=128MiB access_mode=striped,private type=scratch
#DW persistentdw name=shared
{swap}#DW stage_in source={home}/input destination=$DW_JOB_STRIPED/input type=directory
#DW stage_out source=$DW_JOB_STRIPED/results destination={home}/results type=directory
set -e
mkdir -p "$DW_JOB_STRIPED/results"
echo "scratch of $1" > "$DW_JOB_PRIVATE/scratch"
cp -a "$DW_JOB_STRIPED/input/." "$DW_JOB_STRIPED/results/"
cat "$DW_JOB_PRIVATE/scratch" > "$DW_JOB_STRIPED/results/from-$1"
echo "left by job 2 on $1" > "$DW_PERSISTENT_STRIPED_shared/from-$1"
"""

READER_SCRIPT = """#!/bin/sh
#DW persistentdw name=shared
cat "$DW_PERSISTENT_STRIPED_shared"/from-*
"""


class Story:
    """Runs the jobs at a site and shows each call on the board. Raises StepFailed at the first that goes wrong."""

    def __init__(self, site: LocalSite, board: Board) -> None:
        self.site, self.board = site, board
        self.user = _user()
        self.home = site.directory / "home"
        self.nodes = site.compute_nodes

    def run(self) -> None:
        """The whole story."""
        self._step("start dacd on the controller and on 3 brick hosts", self.site.start)
        self._step("the user has input data", self._make_input)
        for question in ("pools", "show_instances", "show_sessions", "show_configurations"):
            self._call(question)
        self._create_buffer()
        self._main_job()
        self._second_reader()
        self._call("teardown", "--token", "shared", "--job", self._script("empty", "#!/bin/sh\n"), label="teardown of buffer shared")
        self._step("the pool is whole again", self._check_pool)

    # --- the jobs ---

    def _create_buffer(self) -> None:
        script = self._script("1", CREATE_SCRIPT)
        owner = ("-u", str(self.user.pw_uid))
        self._call("create_persistent", "-c", "CLI", "-t", "shared", *owner, "-C", f"default:{64 * MIB}", "-a", "striped", "-T", "scratch")
        self._call("show_sessions")
        self._setup("1", script, 0)
        self._finish("1", script)

    def _main_job(self) -> None:
        # Only mounts that are real can carry a swap file.
        swap = "#DW swap 8MiB\n" if self.site.namespaces else ""
        script = self._script("2", JOB_SCRIPT.format(home=self.home, swap=swap))
        self._call("job_process", "--job", script)
        self._setup("2", script, 128)
        self._call("real_size", "--token", "2")
        self._run_on(self.nodes, "2", script)
        self._finish("2", script)
        self._step("results are what the input was", self._check_results)

    def _second_reader(self) -> None:
        script = self._script("3", READER_SCRIPT)
        self._call("job_process", "--job", script)
        self._setup("3", script, 0)
        output = self._run_on(self.nodes[:1], "3", script)
        if output.splitlines() != [f"left by job 2 on {node}" for node in self.nodes]:
            raise StepFailed(step="job 3", token="3", why=f"it read {output!r} from the buffer that it shares")  # noqa: S106
        self._finish("3", script)

    def _setup(self, token: str, script: str, mebibytes: int) -> None:
        who = ("--user", str(self.user.pw_uid), "--groupid", str(self.user.pw_gid))
        capacity = f"default:{mebibytes}MiB" if mebibytes else "default:0"
        self._call("setup", "--token", token, "--caller", "SLURM", *who, "--capacity", capacity, "--job", script)
        self._call("data_in", "--token", token, "--job", script)

    def _run_on(self, nodes: list[str], token: str, script: str) -> str:
        """Mount, run the script on each node, and what it wrote."""
        paths, hosts = self.site.directory / f"path.{token}", self.site.directory / f"nodes.{token}"
        hosts.write_text("".join(f"{node}\n" for node in nodes))
        self._call("paths", "--job", script, "--token", token, "--pathfile", str(paths))
        self._call("pre_run", "--token", token, "--job", script, "--nodehostnamefile", str(hosts))
        variables = dict(line.split("=", 1) for line in paths.read_text().splitlines())
        outputs = [self._step(f"job {token} runs on {node}", partial(self._job, node, script, variables)) for node in nodes]
        return "".join(outputs)

    def _job(self, node: str, script: str, variables: dict[str, str]) -> str:
        seen = {name: str(self.site.path_on(node, value)) for name, value in variables.items()}
        argv = ["sh", script, node]
        if os.geteuid() == 0:
            argv = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--clear-groups", "--", *argv]
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), **seen}
        done = subprocess.run(self.site.on(node, argv), env=environment, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise StepFailed(step=f"the job script on {node}", token="", why=done.stderr.strip() or f"exit {done.returncode}")
        return done.stdout

    def _finish(self, token: str, script: str) -> None:
        self._call("post_run", "--token", token, "--job", script)
        self._call("data_out", "--token", token, "--job", script)
        self._call("teardown", "--token", token, "--job", script)

    # --- data and proof ---

    def _make_input(self) -> str:
        source = self.home / "input"
        for number in range(40):
            file = source / f"d{number % 5}" / f"file {number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(1000 * number))
        if os.geteuid() == 0:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        return f"40 files, sha256 {_digest(source)[:16]}"

    def _check_results(self) -> str:
        before, after = _digest(self.home / "input"), _digest(self.home / "results", leave_out="from-")
        if before != after:
            raise StepFailed(step="stage_out", token="2", why=f"digest {after} instead of {before}")  # noqa: S106
        owners = {path.stat().st_uid for path in (self.home / "results").rglob("*")}
        if owners != {self.user.pw_uid}:
            raise StepFailed(step="stage_out", token="2", why=f"files belong to {owners}")  # noqa: S106
        extra = sorted(path.name for path in (self.home / "results").glob("from-*"))
        return f"sha256 {after[:16]}, owned by {self.user.pw_name}, and {', '.join(extra)}"

    def _check_pool(self) -> str:
        pool = json.loads(self.site.fakewarp("--function", "pools").stdout)["pools"][0]
        if pool["free"] != pool["quantity"]:
            raise StepFailed(step="teardown", token="", why=f"{pool['quantity'] - pool['free']} bricks are not free")
        return f"{pool['free']} of {pool['quantity']} bricks free"

    # --- calls ---

    def _script(self, name: str, text: str) -> str:
        path = self.site.directory / f"script.{name}"
        path.write_text(text)
        return str(path)

    def _call(self, function: str, *args: str, label: str = "") -> None:
        token = next((args[place + 1] for place, arg in enumerate(args) if arg in ("--token", "-t")), "")
        text = label or f"fakewarp --function {function}" + (f" --token {token}" if token else "")
        self._step(text, lambda: self._fakewarp(function, args, token))

    def _fakewarp(self, function: str, args: tuple[str, ...], token: str) -> str:
        done = self.site.fakewarp("--function", function, *args)
        output = " ".join(done.stdout.split())
        if done.returncode != 0:
            raise StepFailed(step=function, token=token, why=output)
        return output if len(output) < 60 else output[:57] + "…"

    def _step(self, text: str, work: Callable[[], str | None]) -> str:
        row, begun = self.board.begin(text), time.monotonic()
        try:
            note = work() or ""
        except Exception as error:
            self.board.end(row, time.monotonic() - begun, " ".join(str(error).split()), good=False)
            raise
        self.board.end(row, time.monotonic() - begun, " ".join(note.split())[:60])
        return note


def _user() -> pwd.struct_passwd:
    """Who owns the jobs: whoever called sudo, else nobody when we are root, else ourselves."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    caller = int(os.environ.get("SUDO_UID", "0"))
    return pwd.getpwuid(caller) if caller else pwd.getpwnam("nobody")


def _digest(tree: Path, leave_out: str = "") -> str:
    """One digest of all names and contents under a directory."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not (leave_out and path.name.startswith(leave_out)):
            digest.update(str(path.relative_to(tree)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
