"""One host name on two machines that share the store and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until

from ..e2e.crash.harness import CALLS, Job
from .network import NetworkSite

END_SECONDS = 60.0


class Elsewhere:
    """A machine with the configuration of the site and directories of its own, on which daemons of other machines' names are started."""

    def __init__(self, network: NetworkSite) -> None:
        self.network = network
        self.started: list[subprocess.Popen[str]] = []
        place = network.site.directory
        settings = json.loads((place / "dacc.yaml").read_text())
        (place / "elsewhere.yaml").write_text(json.dumps({**settings, "state_dir": f"{place}/elsewhere"}))

    def launch(self, host: str) -> subprocess.Popen[str]:
        """A daemon that says it is that host."""
        site = self.network.site
        dacd = [str(Path(sys.executable).with_name("dacd")), "--host", host, "--socket", f"{site.directory}/elsewhere.sock"]
        daemon = subprocess.Popen(
            site.on("dac3", dacd),
            env=site.env(DACC_CONFIG=f"{site.directory}/elsewhere.yaml"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(daemon)
        return daemon

    @property
    def incarnation(self) -> str:
        """Who has the name dac1."""
        entry = self.network.records().alive.get("dac1")
        return entry.record.incarnation if entry else ""

    def close(self) -> None:
        """End what was started, and see the site's own daemons run."""
        for daemon in self.started:
            daemon.terminate()
            daemon.communicate(timeout=END_SECONDS)
        site = self.network.site
        if "dac1" not in site.daemons or site.daemons["dac1"].poll() is not None:
            site.launch("dac1")
        until(lambda: self.network.is_well("dac1"), "it runs", END_SECONDS)


@pytest.fixture
def elsewhere(network: NetworkSite) -> Iterator[Elsewhere]:
    machine = Elsewhere(network)
    yield machine
    machine.close()


def test_the_second_daemon_of_a_name_is_refused_and_the_first_goes_on(network: NetworkSite, elsewhere: Elsewhere) -> None:
    first, before, log = network.site.daemons["dac1"], elsewhere.incarnation, network.site.log("dac1")
    second = elsewhere.launch("dac1")
    output, _ = second.communicate(timeout=END_SECONDS)
    assert second.returncode == 43
    assert output.splitlines()[-1] == (
        f"dacd: another dacd runs as host dac1 (pid {first.pid} on dac1, says the keystore): "
        "stop it, or give this one another name with --host"
    )
    assert (elsewhere.incarnation, network.site.log("dac1")) == (before, log)
    Job(network, staged=False).do(*CALLS)


def test_of_two_daemons_that_start_at_the_same_moment_one_gets_the_name(network: NetworkSite, elsewhere: Elsewhere) -> None:
    network.site.stop("dac1")
    pair: list[subprocess.Popen[Any]] = [network.site.launch("dac1"), elsewhere.launch("dac1")]
    until(lambda: any(daemon.poll() is not None for daemon in pair), "one is refused", END_SECONDS)
    (winner,) = (daemon for daemon in pair if daemon.poll() is None)
    assert sorted(daemon.poll() or 0 for daemon in pair) == [0, 43]
    assert network.records().alive["dac1"].record.who.startswith(f"pid {winner.pid} ")


def test_a_name_whose_daemon_died_on_another_machine_is_had_when_its_lease_has_ended(network: NetworkSite, elsewhere: Elsewhere) -> None:
    before = elsewhere.incarnation
    network.site.kill("dac1")
    daemon = elsewhere.launch("dac1")
    until(lambda: elsewhere.incarnation not in ("", before), "it has the name", END_SECONDS)
    assert daemon.poll() is None
