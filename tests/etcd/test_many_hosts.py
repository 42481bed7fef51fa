"""A session over more hosts than one transaction of etcd can change. All but one of the hosts are records only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dacc_core.demo.site import LocalSite
from dacc_core.keystore.base import Keystore
from dacc_core.registry import keys
from dacc_core.registry.view import View
from dacc_core.simulation.invariants import broken_rules
from tests.support.etcd import EtcdCluster
from tests.support.registries import BRICKS, Registry, revive, write
from tests.support.waiting import until

HOSTS = 2400
REGISTRY = Registry(hosts=HOSTS)
ALL = HOSTS * BRICKS + 1
SCRIPT = f"#!/bin/sh\n#DW jobdw capacity={HOSTS + 1}GiB access_mode=striped type=scratch\n"


@dataclass
class Wide:
    """A site with one host that is there, ``dac1``, and very many that only look it while ``lease`` lasts."""

    local: LocalSite
    store: Keystore
    lease: int = 0

    def view(self) -> View:
        view = View()
        view.load(self.store.range(keys.PREFIX))
        return view

    def begin(self, function: str, *options: str) -> subprocess.Popen[str]:
        """A call that goes on while the test looks on."""
        program = str(Path(sys.executable).with_name("fakewarp"))
        call = ["--function", function, "--token", "42", "--job", str(self.local.directory / "script"), *options]
        return subprocess.Popen([program, *call], env=self.local.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def begin_setup(self) -> subprocess.Popen[str]:
        return self.begin("setup", "--caller", "SLURM", "--user", "0", "--groupid", "0", "--capacity", f"default:{HOSTS + 1}GiB")

    def tear_down(self) -> None:
        succeeds(self.begin("teardown"))

    def only_dac1_is_left(self) -> None:
        """Otherwise a host that is not there would be the coordinator."""
        self.store.revoke(self.lease)

    def is_claimed(self) -> bool:
        session = self.view().session("42")
        return session is not None and not session.claiming

    def is_free(self) -> bool:
        view = self.view()
        assert list(broken_rules(view)) == []
        return not view.sessions and not any(entry.record.taken for entry in view.allocations.values())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wide]:
    place = tmp_path_factory.mktemp("wide")
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as etcd:
        extra = {"keystore": etcd.settings}
        from dacc_core.keystore.etcd.access import EtcdAccess
        from dacc_core.keystore.etcd.store import EtcdKeystore

        store = EtcdKeystore(EtcdAccess(tuple(etcd.endpoints)))
        store.revoke(write(store, REGISTRY))
        with LocalSite(place, hosts=1, bricks=1, backing="none", granularity=REGISTRY.granularity, extra=extra) as local:
            (Path(place) / "script").write_text(SCRIPT)
            local.start()
            yield Wide(local, store)
        store.close()


@pytest.fixture
def wide(site: Wide) -> Iterator[Wide]:
    site.lease = revive(site.store, REGISTRY)
    until(lambda: site.local.ask("status")["pools"][0]["free"] == ALL, "the controller knows of all hosts")
    yield site
    assert site.is_free()


def succeeds(call: subprocess.Popen[str]) -> None:
    output, _ = call.communicate(timeout=60)
    assert call.returncode == 0, output


@pytest.fixture
def dying(wide: Wide) -> subprocess.Popen[str]:
    """A setup whose daemon died in the middle of the claim; its client waits for the next one."""
    wide.local.stop("ctl")
    wide.local.start("ctl", DACC_FAILPOINT="write.after@6:kill")
    until(lambda: wide.local.ask("status")["pools"][0]["free"] == ALL)
    setup = wide.begin_setup()
    wide.local.daemons.pop("ctl").wait(30)
    session = wide.view().session("42")
    assert session is not None
    assert session.claiming
    assert 0 < len(session.bricks) < HOSTS
    assert list(broken_rules(wide.view())) == []
    return setup


def test_it_gets_them_all_and_gives_them_back(wide: Wide) -> None:
    setup = wide.begin_setup()
    until(wide.is_claimed, "all bricks are claimed")
    wide.only_dac1_is_left()
    succeeds(setup)
    (instance,) = json.loads(wide.local.fakewarp("--function", "show_instances").stdout)["instances"]
    assert instance["capacity"]["bytes"] == (HOSTS + 1) << 30
    wide.tear_down()


def test_a_claim_that_died_is_gone_on_with_by_the_next_daemon(wide: Wide, dying: subprocess.Popen[str]) -> None:
    wide.local.start("ctl")
    until(wide.is_claimed, "all bricks are claimed")
    wide.only_dac1_is_left()
    succeeds(dying)
    wide.tear_down()


def test_a_claim_that_died_is_rolled_back_by_a_teardown(wide: Wide, dying: subprocess.Popen[str]) -> None:
    dying.kill()
    dying.communicate()
    wide.only_dac1_is_left()
    wide.local.start("ctl")
    wide.tear_down()
