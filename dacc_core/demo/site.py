"""A whole site on this machine: daemons as processes, hosts as mount namespaces (or directories), bricks as directories.

Used by ``dacc demo`` and by tests. Everything lives under one directory, and :meth:`LocalSite.close` leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DaemonUnavailable
from ..testing.namespaces import Namespaces
from .sshd import SshServers

START_SECONDS = 20.0
CONTROLLER = "ctl"


@dataclass
class LocalSite:
    """Brick hosts ``dac1…``, compute nodes ``c1…`` and a controller. ``backing``: the fake provider's; ``extra``: more settings.
    ``programs``: the directory of dacc's programs.

    The store is an SQLite file, unless ``extra`` has another ``keystore``.

    With ``ssh``, the name of a host runner, each host also has a network and an sshd of its own, and its daemon runs there. So have
    the hosts that are named in ``others``.
    """

    directory: Path
    hosts: int = 3
    bricks: int = 2
    nodes: int = 2
    granularity: int = 64 << 20
    backing: str = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)
    provider: Mapping[str, Any] = field(default_factory=dict)
    controller: bool = True
    ssh: str = ""
    others: Sequence[str] = ()
    programs: Path = Path(sys.executable).parent
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = self.directory.resolve()
        self.namespaces = os.geteuid() == 0 and self.backing in ("auto", "image")
        self.mount_root = "/mnt/dac"
        names = [*self.brick_hosts, *self.compute_nodes, CONTROLLER, *self.others]
        self.machines = Namespaces(self.directory / "ns", names, network=bool(self.ssh))
        self.sshd = SshServers(self.directory / "ssh", self.machines)

    # --- names ---

    @property
    def brick_hosts(self) -> list[str]:
        """The storage hosts."""
        return [f"dac{number}" for number in range(1, self.hosts + 1)]

    @property
    def compute_nodes(self) -> list[str]:
        """The compute nodes."""
        return [f"c{number}" for number in range(1, self.nodes + 1)]

    def socket(self, host: str = "") -> str:
        """A daemon's socket; by default the one that clients use."""
        return str(self.directory / f"{host or (CONTROLLER if self.controller else 'dac1')}.sock")

    def env(self, host: str = "", **more: str) -> dict[str, str]:
        """The environment of a program at this site."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DACC_", "ETCDCTL_")) or key == "DACC_REQUIRE_ALL"}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return kept | {"DACC_CONFIG": str(self.directory / "dacc.yaml"), "DACC_SOCKET": self.socket(host)} | more

    def path_on(self, node: str, path: str) -> Path:
        """Where a node's path is seen from here (through its namespace, that is nowhere: see :meth:`on`)."""
        return Path(path) if self.namespaces else Path(f"{self.directory}/nodes/{node}{path}")

    def on(self, node: str, argv: Sequence[str], directory: str = "/") -> list[str]:
        """A command as run on a node, there in ``directory``."""
        return [*self.machines.enter(node, directory), *argv] if self.namespaces else list(argv)

    # --- building ---

    def open(self) -> LocalSite:
        """Make directories, namespaces and the configuration; start nothing yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for host in self.brick_hosts:
            for brick in range(self.bricks):
                (self.directory / "bricks" / host / f"b{brick}").mkdir(parents=True, exist_ok=True)
        if self.namespaces:
            self.machines.open()
        if self.ssh:
            self.sshd.start()
        self.configure()
        return self

    def configure(self, **changes: Any) -> None:
        """Write the configuration; daemons started later read it."""
        settings: dict[str, Any] = {
            "state_dir": str(self.directory / "state"),
            "mount_root": self.mount_root,
            "mover_root": str(self.directory / "movers"),
            "pools": {"default": {"granularity": self.granularity, "provider": "fake"}},
            "bricks": {host: self._bricks(host) for host in self.brick_hosts},
            "providers": {"fake": {"backing": self.backing, **self._roots(), **self.provider}},
            "slurm_user": "root",
            **self.extra,
            **changes,
        }
        settings["hosts"] = {"fence_dir": str(self.directory / "fence"), **self._reach(), **settings.get("hosts", {})}
        # JSON is YAML, and needs no quoting rules.
        (self.directory / "dacc.yaml").write_text(json.dumps(settings, indent=1))

    def _bricks(self, host: str) -> list[dict[str, Any]]:
        return [{"device": f"{self.directory}/bricks/{host}/b{brick}"} for brick in range(self.bricks)]

    def _roots(self) -> dict[str, str]:
        return {} if self.namespaces or self.backing == "none" else {"root": f"{self.directory}/nodes/%h"}

    def _reach(self) -> dict[str, Any]:
        """How daemons reach the hosts."""
        if not self.ssh:
            return {"namespace": f"{self.directory}/ns/%h"} if self.namespaces else {}
        every = ",".join(self.machines.hosts)
        keys = {"identity": str(self.sshd.identity), "known_hosts": str(self.sshd.known_hosts)}
        return {"runner": self.ssh, "addresses": {every: "%h-ib"}, "python": sys.executable, **keys}

    # --- daemons ---

    def start(self, *hosts: str, **env: str) -> None:
        """Start daemons (all, when none is named) and wait until they answer."""
        named = hosts or (*self.brick_hosts, *([CONTROLLER] if self.controller else []))
        for host in named:
            self.launch(host, **env)
        for host in named:
            self.await_daemon(host)

    def launch(self, host: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a daemon and do not wait."""
        log = (self.directory / f"{host}.log").open("ab")
        with log:
            argv = [f"{self.programs}/dacd", "--host", host, "--socket", self.socket(host)]
            self.daemons[host] = subprocess.Popen(
                self.on(host, argv) if self.ssh else argv,
                env=self.env(host, **env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.daemons[host]

    def await_daemon(self, host: str) -> None:
        """Wait until a daemon has registered. Raises DaemonUnavailable with the last line of its log."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.daemons[host].poll() is None:
            with contextlib.suppress(OSError, ValueError):
                hosts = {row["name"]: row["alive"] for row in self.ask("status", host=host)["hosts"]}
                if hosts.get(host):
                    return
            time.sleep(0.02)
        lines = self.log(host).strip().splitlines()
        raise DaemonUnavailable(socket=self.socket(host), why=lines[-1] if lines else "it says nothing")

    def ask(self, *args: str, host: str = "") -> Any:
        """The result of an operator's verb. Raises OSError when nobody answers and ValueError when the answer is an error."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30.0)
            connection.connect(self.socket(host))
            connection.sendall(json.dumps({"v": 1, "program": "dacc", "args": args, "files": {}}).encode() + b"\n")
            for line in connection.makefile("rb"):
                answer = json.loads(line)
                if "rc" in answer:
                    if answer["rc"]:
                        raise ValueError(answer["stdout"].strip())
                    return json.loads(answer["stdout"])
        raise ConnectionError("closed without an answer")

    def log(self, host: str) -> str:
        """What a daemon wrote."""
        path = self.directory / f"{host}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, host: str) -> None:
        """End a daemon at once."""
        self._end(host, signal.SIGKILL)

    def stop(self, host: str) -> None:
        """End a daemon in its own good time."""
        self._end(host, signal.SIGTERM)

    def _end(self, host: str, number: signal.Signals) -> None:
        process = self.daemons.pop(host)
        process.send_signal(number)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # --- clients ---

    def fakewarp(self, *args: str, timeout: float = 60.0, program: str = "fakewarp", **env: str) -> subprocess.CompletedProcess[str]:
        """One call as Slurm makes it: a process of its own, both outputs in one pipe."""
        return subprocess.run(
            [f"{self.programs}/{program}", *args],
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
            errors="surrogateescape",
        )

    # --- the end ---

    def close(self, *, keep: bool = False) -> None:
        """Stop everything and remove every trace (but the directory, if it is to be kept)."""
        for host in list(self.daemons):
            self.stop(host)
        self.sshd.close()
        self.machines.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> LocalSite:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()
