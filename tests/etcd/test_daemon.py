"""Whole sites whose state is in etcd: daemons, ``fakewarp`` through them and without them, and what outages of etcd do."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dacc_core.demo.site import LocalSite
from tests.support.etcd import PASSWORD, EtcdCluster
from tests.support.waiting import until

from .conftest import QUICK
from .sites import OURS, Site


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Make sites; each ends with the module."""
    made: list[Site] = []

    def open_(etcd: EtcdCluster, **keystore: str) -> Site:
        place = tmp_path_factory.mktemp("site")
        local = LocalSite(place, hosts=2, backing="none", granularity=1 << 30, extra={"keystore": {**etcd.settings, **keystore}})
        made.append(Site(local.open(), etcd))
        local.start()
        return made[-1]

    yield open_
    for site in made:
        site.local.close()
        site.etcd.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, open_site: Callable[..., Site]) -> Site:
    """A site on three members."""
    return open_site(EtcdCluster(tmp_path_factory.mktemp("etcd"), size=3, flags=QUICK).start())


def test_a_job_lives_its_life_and_leaves_only_its_history(site: Site) -> None:
    keys, leases = site.keys(), site.leases()
    site.begin("11")
    assert [session["token"] for session in site.listed("sessions")] == ["11"]
    site.end("11")
    assert site.keys() == keys
    assert site.leases() == leases == 3  # one for each daemon
    assert not (site.local.directory / "state" / "store.db").exists()


def test_without_daemons_calls_read_etcd_themselves(site: Site) -> None:
    site.begin("12")
    with_daemon = [site.listed(what) for what in ("sessions", "instances", "configurations")]
    for host in list(site.local.daemons):
        site.local.stop(host)
    assert [site.listed(what) for what in ("sessions", "instances", "configurations")] == with_daemon
    site.local.start()
    site.end("12")


def test_a_goal_recorded_without_the_controllers_daemon_is_pursued_by_the_others(site: Site) -> None:
    site.begin("13")
    site.local.stop("ctl")
    site.end("13")
    assert site.listed("sessions") == []
    site.local.start("ctl")


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_jobs_do_not_notice_the_loss_of_a_member(site: Site, fault: signal.Signals) -> None:
    for number, member in enumerate(site.etcd.members):
        member.kill() if fault is signal.SIGKILL else member.signal(fault)
        site.begin(f"2{number}")
        site.end(f"2{number}")
        if fault is signal.SIGKILL:
            site.etcd.launch(number)
        member.signal(signal.SIGCONT)
        site.etcd.await_member(number)


def test_daemons_outlive_an_outage_of_all_of_etcd(site: Site) -> None:
    site.begin("31")
    for member in site.etcd.members:
        member.kill()
    until(lambda: "has not been heard from" in site.local.fakewarp("--function", "pools").stdout, "staleness is said")
    site.etcd.start()
    until(site.is_well, "the daemons are back")
    site.end("31")
    assert {host: daemon.poll() for host, daemon in site.local.daemons.items()} == dict.fromkeys(("dac1", "dac2", "ctl"))


def test_daemons_log_lines_of_their_own_only(site: Site) -> None:
    lines = [line for host in site.local.daemons for line in site.local.log(host).splitlines()]
    assert lines
    assert [line for line in lines if not line.startswith("time=")] == []


def test_daemons_that_started_before_etcd_begin_when_it_comes(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    etcd = EtcdCluster(tmp_path / "etcd")
    settings = {"keystore": etcd.settings}
    with LocalSite(tmp_path / "site", hosts=1, backing="none", granularity=1 << 30, extra=settings) as local:
        for host in ("dac1", "ctl"):
            local.launch(host)
        until(lambda: "the store cannot be read" in local.log("dac1"), "it is said that etcd is away")
        with etcd:
            local.await_daemon("dac1")
            local.await_daemon("ctl")


def test_a_site_with_certificates_and_a_password(tmp_path_factory: pytest.TempPathFactory, open_site: Callable[..., Site]) -> None:
    etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"), tls="mutual").start()
    etcd.enable_users(*OURS)
    password = etcd.directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    site = open_site(etcd, user="dacc", password_file=str(password))
    site.begin("41")
    site.local.stop("ctl")
    assert [session["token"] for session in site.listed("sessions")] == ["41"]
    site.local.start("ctl")
    site.end("41")


def test_without_the_extra_a_daemon_ends_with_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "grpc.py").write_text("raise ImportError('no grpc here')\n")
    settings = {"keystore": {"endpoints": ["127.0.0.1:1"]}}
    with LocalSite(tmp_path / "site", hosts=1, backing="none", granularity=1 << 30, extra=settings) as local:
        daemon = local.launch("dac1", PYTHONPATH=str(blocked))
        assert daemon.wait(20) == 14
        assert local.log("dac1").count("\n") == 1
        assert "install dacc[etcd]" in local.log("dac1")
