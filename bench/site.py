"""A site to measure, and the calls that Slurm makes there in a job's life."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dacc_core.testing.site import LocalSite

from .timing import BARE, Ran, run

GRANULARITY = 1 << 30
SCRIPT = """#!/bin/sh
#DW jobdw capacity=1GiB access_mode=striped type=scratch
"""

LIFECYCLE = ("job_process", "setup", "data_in", "real_size", "paths", "pre_run", "post_run", "data_out", "teardown")


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
        return self._checked(run([str(self.program), *self._arguments(function, token)], self.site.env(), self._output))

    def call_without_daemon(self, function: str) -> float:
        """Seconds that the same call takes when no daemon listens. Raises CallFailed."""
        argv = [sys.executable, "-I", "-m", "fakewarp", "--function", function]
        return self._checked(run(argv, self.site.env(), self._output))

    def lifecycle(self, token: str) -> dict[str, float]:
        """The seconds of each call of a whole job. Raises CallFailed."""
        return {function: self.call(function, token) for function in LIFECYCLE}

    @property
    def _output(self) -> Path:
        return self.site.directory / f"{self.name}.out"

    def _checked(self, ran: Ran) -> float:
        if ran.status != 0:
            raise CallFailed(ran.output.strip() or f"exit status {ran.status}")
        return ran.seconds

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
def stopped_site(hosts: int, bricks: int) -> Iterator[LocalSite]:
    """A site without storage behind it, its daemons not started yet."""
    with tempfile.TemporaryDirectory(prefix="dacc-bench-") as directory:
        place = Path(directory) / "site"
        with LocalSite(place, hosts=hosts, bricks=bricks, backing="none", granularity=GRANULARITY) as site:
            (place / "script").write_text(SCRIPT)
            (place / "nodes").write_text("c1\n")
            yield site


@contextmanager
def running_site(hosts: int = 3, bricks: int = 64) -> Iterator[LocalSite]:
    """A site with a daemon on each host and one on the controller."""
    with stopped_site(hosts, bricks) as site:
        site.start()
        yield site
