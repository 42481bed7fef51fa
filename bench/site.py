"""A site to measure, and the calls that Slurm makes there in a job's life."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dacc_core.demo.site import LocalSite
from tests.support.etcd import EtcdCluster

from .stores import ETCD, SQLITE
from .timing import BARE, Ran, run, run_watched

GRANULARITY = 1 << 30
SCRIPT = """#!/bin/sh
#DW jobdw capacity=1GiB access_mode=striped type=scratch
"""

LIFECYCLE = ("job_process", "setup", "data_in", "real_size", "paths", "pre_run", "post_run", "data_out", "teardown")


ALONE = (sys.executable, "-I", "-m", "fakewarp")
"""What the thin client becomes when no daemon listens."""


class CallFailed(Exception):
    """A call that had to succeed did not."""


@dataclass(frozen=True)
class Client:
    """Calls the programs of a site, one after the other; clients with different names may do so at once."""

    site: LocalSite
    name: str = "client"
    program: Path = field(default_factory=lambda: Path(sys.executable).with_name("fakewarp"))

    def bare(self) -> float:
        """Seconds that an interpreter takes which does nothing."""
        return run(BARE, self.site.env(), self._output).seconds

    def call(self, function: str, token: str = "") -> float:
        """Seconds that a call takes. Raises CallFailed."""
        return self._checked(run([str(self.program), *self._arguments(function, token)], self.site.env(), self._output)).seconds

    def call_without_daemon(self, function: str) -> float:
        """Seconds that the same call takes when no daemon listens. Raises CallFailed."""
        return self._checked(run([*ALONE, "--function", function], self.site.env(), self._output)).seconds

    def memory(self, function: str) -> float:
        """The most memory that a call holds, in MB. Raises CallFailed."""
        return self._checked(run_watched([str(self.program), "--function", function], self.site.env(), self._output)).memory

    def memory_without_daemon(self, function: str) -> float:
        """The same when no daemon listens. Raises CallFailed."""
        return self._checked(run_watched([*ALONE, "--function", function], self.site.env(), self._output)).memory

    def etcdctl(self, program: str) -> float:
        """Seconds that etcd's own client takes to read one key of the site's etcd. Raises CallFailed."""
        endpoint = self.site.extra["keystore"]["endpoints"][0]
        argv = [program, "--endpoints", endpoint, "get", "/dacc/1/cluster"]
        return self._checked(run(argv, {"ETCDCTL_API": "3"}, self._output)).seconds

    @contextmanager
    def begun(self, function: str, token: str) -> Iterator[subprocess.Popen[bytes]]:
        """A call that is under way; it ends with the context at the latest."""
        argv = [str(self.program), *self._arguments(function, token)]
        with subprocess.Popen(argv, env=self.site.env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def lifecycle(self, token: str) -> dict[str, float]:
        """The seconds of each call of a whole job. Raises CallFailed."""
        return {function: self.call(function, token) for function in LIFECYCLE}

    @property
    def _output(self) -> Path:
        return self.site.directory / f"{self.name}.out"

    def _checked(self, ran: Ran) -> Ran:
        if ran.status != 0:
            raise CallFailed(ran.output.strip() or f"exit status {ran.status}")
        return ran

    def _arguments(self, function: str, token: str) -> list[str]:
        place = self.site.directory
        arguments = ["--function", function]
        if token:
            arguments += ["--token", token, "--job", str(place / "script")]
        match function:
            case "setup":
                arguments += ["--caller", "SLURM", "--user", "0", "--groupid", "0", "--capacity", "default:1GiB"]
            case "paths":
                arguments += ["--pathfile", str(place / f"{self.name}.path")]
            case "pre_run":
                arguments += ["--nodehostnamefile", str(place / "nodes")]
        return arguments


@contextmanager
def stopped_site(hosts: int, bricks: int, store: str = SQLITE, **more: Any) -> Iterator[LocalSite]:
    """A site without storage behind it, its keystore empty, its daemons not started yet. ``more``: of its configuration."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dacc-bench-")))
        if store == ETCD:
            more["keystore"] = stack.enter_context(EtcdCluster(directory)).settings
        place = directory / "site"
        site = LocalSite(place, hosts=hosts, bricks=bricks, backing="none", granularity=GRANULARITY, extra=more)
        stack.enter_context(site)
        (place / "script").write_text(SCRIPT)
        (place / "nodes").write_text("c1\n")
        yield site


@contextmanager
def running_site(hosts: int = 3, bricks: int = 64, store: str = SQLITE) -> Iterator[LocalSite]:
    """A site with a daemon on each host and one on the controller."""
    with stopped_site(hosts, bricks, store) as site:
        site.start()
        yield site
