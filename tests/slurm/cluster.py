"""A whole cluster on this machine: real munged, slurmctld and slurmds in namespaces of their own, in front of a site of real dacds."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dacc_gluster.testing import GlusterServers

from dacc_core.demo.site import CONTROLLER, LocalSite
from tests.support.etcd import EtcdCluster

from ..lustre.servers import LustreServers
from . import configuration
from .jobs import Job, fields

START_SECONDS = 30.0
MIB = 1 << 20
USERS = ("games", "www-data")
"""Ordinary users that every Debian has."""


@dataclass
class Cluster:
    """Compute nodes ``c1…``, brick hosts ``dac1…`` and a controller. ``programs``: where Slurm's user finds fakewarp.

    ``members``: further hosts, on which an etcd runs that has dacc's state; without any it is in SQLite. ``provider``: with
    ``gluster`` or ``lustre`` bricks are block devices of 512 MiB and the brick hosts serve such filesystems.
    """

    directory: Path
    programs: Path
    nodes: int = 3
    hosts: int = 3
    bricks: int = 3
    granularity: int = 32 * MIB
    runner: str = "ssh"
    members: Sequence[str] = ()
    provider: str = "fake"
    extra: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = self.directory.resolve()
        self.site = LocalSite(
            self.directory / "dacc",
            hosts=self.hosts,
            bricks=self.bricks,
            nodes=self.nodes,
            granularity=self.granularity,
            backing="image",
            ssh=self.runner,
            others=self.members,
            extra={"slurm_user": "slurm", "group": "slurm", **self.extra},
        )
        self.etcd = EtcdCluster(self.directory / "etcd", machines=self.site.machines, hosts=self.members)
        if self.members:
            self.site.extra = {**self.site.extra, "keystore": self.etcd.settings}
        self.gluster = GlusterServers(self.directory / "gluster", self.site.machines, self.site.brick_hosts)
        self.lustre = LustreServers(self.directory / "lustre", self.site.machines, self.site.brick_hosts)

    # --- the whole ---

    def open(self) -> None:
        """Start everything and wait until Slurm would run a job."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.site.open()
        if self.members:
            self.etcd.directory.mkdir()
            self.etcd.start()
        if self.provider == "gluster":
            self._open_gluster()
        elif self.provider == "lustre":
            self._open_lustre()
        self.site.start()
        self.conf = configuration.write(self.directory, self.site, self.programs)
        for name, owner in (("state", "slurm"), ("log", "slurm"), ("munge", "root")):
            (self.directory / name).mkdir(mode=0o755)
            shutil.chown(self.directory / name, owner)
        self._start_munge()
        for node in self.site.compute_nodes:
            self.start_slurmd(node)
        self.start_slurmctld()
        self.wait(lambda: self._idle() == self.nodes, "all nodes idle", START_SECONDS)

    def close(self, *, keep: bool = False) -> None:
        """Stop everything and remove every trace."""
        for name in ("backup", "slurmctld", *self.site.compute_nodes, "munged"):
            self.stop(name)
        self._end_jobs()
        if self.provider == "gluster":
            self.gluster.close()
        self.site.close(keep=keep)
        self.lustre.close()
        self.etcd.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end_jobs(self) -> None:
        """What a test that failed left running on the nodes: it outlives slurmd."""
        spaces = {(self.site.machines.directory / node).stat().st_ino for node in self.site.compute_nodes}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "ns/mnt").stat().st_ino in spaces and (process / "comm").read_text() != "sshd\n":
                    os.kill(int(process.name), signal.SIGKILL)

    def _open_gluster(self) -> None:
        self.gluster.open(self.bricks)
        self._use(self.gluster.devices, {"seed": self.site.brick_hosts[0], "brick_root": "/run/dacc-gluster"})

    def _open_lustre(self) -> None:
        self.lustre.open({host: server.pid for host, server in self.site.sshd.servers.items()}, self.bricks)
        self._use(self.lustre.devices, {"nids": ["%h-ib@o2ib1"], "mdt_slice": "64MiB", "mgt_slice": "40MiB"})
        for host in self.site.brick_hosts:  # as its operator does once
            argv = self.site.on(host, [f"{self.site.programs}/dacc", "lustre", "prepare", host, "--yes"])
            done = subprocess.run(argv, env=self.site.env(), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

    def _use(self, devices: dict[str, list[str]], settings: dict[str, Any]) -> None:
        self.site.extra = {
            **self.site.extra,
            "pools": {"default": {"granularity": self.granularity, "provider": self.provider}},
            "bricks": {host: [{"device": device} for device in some] for host, some in devices.items()},
            "providers": {self.provider: settings},
        }
        self.site.configure()

    # --- daemons ---

    def _start_munge(self) -> None:
        place = self.directory / "munge"
        key = place / "key"
        key.write_bytes(os.urandom(64))
        key.chmod(0o400)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
        self._start("munged", ["/usr/sbin/munged", "--foreground", *(f"--{name}={place / file}" for name, file in files.items())])
        self.wait(lambda: (place / "socket").exists(), "munged's socket")

    def start_slurmd(self, node: str) -> None:
        """Start the slurmd of a compute node."""
        (self.directory / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._start(node, self.site.on(node, ["/usr/sbin/slurmd", "-D", "-N", node, "-L", str(self._log(node))]))

    def start_slurmctld(self) -> None:
        """Start the controller's daemon; after a stop it finds its jobs and buffers again."""
        argv = ["/usr/sbin/slurmctld", "-D", "-L", str(self._log("slurmctld"))]
        self._start("slurmctld", self.site.on(CONTROLLER, argv))
        self.wait(lambda: self.scontrol("ping").startswith("Slurmctld(primary) at ctl is UP"), "slurmctld answers", START_SECONDS)

    def start_backup(self) -> None:
        """Start the daemon of the backup controller, which waits for its turn."""
        argv = ["/usr/sbin/slurmctld", "-D", "-L", str(self._log("backup"))]
        self._start("backup", self.site.on(configuration.BACKUP, argv), DACC_SOCKET=self.site.socket(configuration.BACKUP))
        self.wait(lambda: "slurmctld running in background mode" in self.log("backup"), "the backup waits")

    def restart_slurmctld(self, *, kill: bool = False) -> None:
        """Stop it (at once, if it is to be killed) and start it again.

        It saves its state some seconds after a change; a job that it lost is Slurm's loss and no test of ours.
        """
        marker = self._saved_marker() if kill else None
        self.stop("slurmctld", signal.SIGKILL if kill else signal.SIGTERM)
        self.start_slurmctld()
        if marker is not None:
            marker.cancel()

    def _saved_marker(self) -> Job:
        """A held job that is in slurmctld's state file, which it writes 5 s after the last time or later (state_save.c).

        So is all that it knew when this job was submitted.
        """
        name, saved = f"saved-{time.time_ns()}", self.directory / "state" / "job_state"
        marker = self.sbatch("games", options=["--hold", f"--job-name={name}"])
        self.wait(lambda: name.encode() in saved.read_bytes(), "slurmctld saves its state")
        return marker

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a daemon, if it runs."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, name: str, argv: Sequence[str], **env: str) -> None:
        with self._log(f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                argv, env=self.environment | env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    @property
    def environment(self) -> dict[str, str]:
        """Of Slurm's programs and daemons; slurmctld hands its own on to fakewarp."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SLURM_CONF": str(self.conf),
            "DACC_CONFIG": self.site.env()["DACC_CONFIG"],
            "DACC_SOCKET": self.site.socket(),
        }

    @contextmanager
    def faulty(self, *faults: dict[str, Any], **settings: Any) -> Iterator[None]:
        """For a while the fake provider fails so, and dacc is configured so; all dacds are restarted for it, and again afterwards."""
        self._reconfigure({"faults": list(faults)}, settings)
        try:
            yield
        finally:
            self._reconfigure({}, {})

    def _reconfigure(self, provider: dict[str, Any], settings: dict[str, Any]) -> None:
        for host in list(self.site.daemons):
            self.site.stop(host)
        self.site.provider = provider
        self.site.configure(**settings)
        self.site.start()

    # --- what users and operators type ---

    def home(self, user: str) -> Path:
        """A directory of the user's that all hosts share."""
        place = self.directory / "home" / user
        if not place.exists():
            place.mkdir(parents=True)
            shutil.chown(place, user, pwd.getpwnam(user).pw_gid)
        return place

    def command(self, user: str, *argv: str) -> list[str]:
        """A command as a user types it on the controller, in the home directory."""
        who = pwd.getpwnam(user)
        switch = [] if user == "root" else ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--init-groups", "--"]
        return self.site.on(CONTROLLER, [*switch, *argv], str(self.home(user)))

    def run(self, user: str, *argv: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run it; both outputs are in ``stdout``."""
        return subprocess.run(
            self.command(user, *argv),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def scontrol(self, *argv: str, user: str = "root") -> str:
        """What ``scontrol`` says."""
        return self.run(user, "scontrol", *argv).stdout

    def script(self, user: str, *lines: str, body: str = "true") -> Path:
        """A job script of the user's."""
        place = self.home(user)
        path = place / f"job-{len(list(place.glob('job-*')))}.sh"
        path.write_text("\n".join(["#!/bin/bash", *lines, body, ""]))
        path.chmod(0o755)
        shutil.chown(path, user)
        return path

    def sbatch(self, user: str, *lines: str, body: str = "true", options: Sequence[str] = ()) -> Job:
        """Submit a script with these lines at its top. The submission must succeed."""
        done = self.refused_or_not(user, *lines, body=body, options=options)
        assert done.returncode == 0, done.stdout
        return self.job(done.stdout.split()[-1], user)

    def job(self, number: str, user: str) -> Job:
        """A job by its id."""
        return Job(self, number, user)

    def refused_or_not(self, user: str, *lines: str, body: str = "true", options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Submit, whatever comes of it."""
        return self.run(user, "sbatch", "--output=out.%j", *options, str(self.script(user, *lines, body=body)))

    # --- what can be seen ---

    def on(self, node: str, *argv: str) -> str:
        """What a command of root's prints on a node."""
        return subprocess.run(self.site.on(node, argv), check=True, capture_output=True, text=True).stdout

    def mounts(self, node: str) -> list[str]:
        """The buffers' mount points on a node."""
        places = [line.split()[1] for line in self.on(node, "cat", "/proc/self/mounts").splitlines()]
        return [place for place in places if place.startswith("/mnt/dac")]

    def sessions(self) -> dict[str, dict[str, Any]]:
        """What dacc knows, by token."""
        return {one["token"]: one for one in self.site.ask("status")["sessions"]}

    def free(self) -> int:
        """Bricks that are free."""
        (pool,) = self.site.ask("status")["pools"]
        return int(pool["free"])

    def calls(self, function: str = "", token: str = "") -> list[str]:
        """The calls that slurmctld has made, as it logged them."""
        words = [line.partition("dw_wlm_cli ")[2] for line in self.log("slurmctld").splitlines() if "_log_script_argv: dw_wlm_cli" in line]
        return [line for line in words if f"--function {function}" in line and (not token or f" {token} " in f"{line} ")]

    def log(self, name: str) -> str:
        """A daemon's log."""
        path = self._log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def buffers(self) -> dict[str, dict[str, str]]:
        """What ``scontrol show burst`` lists, by name or job id."""
        found = {}
        for line in self.scontrol("show", "burst").splitlines():
            entry = fields(line)
            if name := entry.get("Name") or entry.get("JobID"):
                found[name.partition("(")[0] if "Name" in entry else name] = entry
        return found

    def wait(self, come: Callable[[], Any], what: str, seconds: float = 75.0) -> Any:
        """Wait until something is true, and what it is then.

        slurmctld asks for pools each 30 s: who found none, because daemons were just restarted, lets its jobs wait that long.
        """
        end = time.monotonic() + seconds
        while not (found := come()):
            assert time.monotonic() < end, f"it did not come in {seconds:g} s: {what}\n{self._last_words()}"
            time.sleep(0.05)
        return found

    def _last_words(self) -> str:
        told = [line for line in self.log("slurmctld").splitlines() if "debug:" not in line]
        daemons = [line for host in self.site.daemons for line in [f"{host}:", *self.site.log(host).splitlines()[-15:]]]
        return "\n".join(["slurmctld:", *told[-15:], *daemons, self.run("root", "squeue").stdout, str(self.sessions())])

    def _idle(self) -> int:
        return int(self.run("root", "sinfo", "-h", "-t", "idle", "-o", "%D").stdout.strip() or 0)

    def clean(self) -> None:
        """End all jobs and remove all buffers, as an administrator would."""
        for user in USERS:
            self.run("root", "scancel", "--hurry", f"--user={user}")
        self.wait(lambda: not self.run("root", "squeue", "-h").stdout, "no job is left")
        for token, session in self.sessions().items():
            if session["kind"] == "persistent":
                owner = pwd.getpwuid(session["owner"]).pw_name
                self.sbatch(owner, f"#BB destroy_persistent name={token} hurry").completes()
            elif session["kind"] == "kept":
                self.site.ask("discard", token)
        self.wait(lambda: not self.sessions(), "no session is left")
