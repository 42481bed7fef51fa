"""What real daemons tell Prometheus."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dacc_core.daemon.telemetry.definitions import METRICS
from tests.support.waiting import until

from .conftest import open_site
from .slurm import MIB, NOBODY, Slurm, succeeded

Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def ports() -> dict[str, int]:
    """Free ports for the metrics of some daemons."""
    sockets = {host: socket.create_server(("127.0.0.1", 0)) for host in ("dac1", "dac2", "ctl")}
    found = {host: one.getsockname()[1] for host, one in sockets.items()}
    for one in sockets.values():
        one.close()
    return found


@pytest.fixture
def slurm(ports: dict[str, int]) -> Iterator[Slurm]:
    with open_site(start=False, extra={"lease_ttl": 2}) as slurm:
        for host, port in ports.items():
            slurm.site.launch(host, DACC_METRICS=f"127.0.0.1:{port}")
        for host in ports:
            slurm.site.await_daemon(host)
        yield slurm
        slurm.clean()


def scrape(port: int) -> Scrape:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def total(scrapes: list[Scrape], name: str, **labels: str) -> float:
    """The sum over daemons and over the labels that are not given."""
    return sum(
        value for one in scrapes for (found, own), value in one.items() if found == name and labels.items() <= dict(own).items()
    )


def test_a_job_is_seen_in_the_metrics_of_the_daemons_that_served_it(slurm: Slurm, ports: dict[str, int]) -> None:
    home = slurm.site.directory / "home" / NOBODY.pw_name
    (home / "in").write_bytes(bytes(MIB))
    job = slurm.striped(f"#DW stage_in source={home}/in destination=$DW_JOB_STRIPED/in type=file", mib=64).begin("c1")
    running = [scrape(port) for port in ports.values()]
    for one in running:  # every daemon sees the whole cluster
        assert total([one], "dacc_bricks", pool="default", state="taken") == 2
        assert total([one], "dacc_bricks", pool="default", state="free") == 4
        assert total([one], "dacc_sessions", kind="job", state="done") == 1
        assert total([one], "dacc_hosts", state="alive") == 3
        assert total([one], "dacc_lease_held") == 1
        assert total([one], "dacc_view_age_seconds") < 2
    job.end()
    ended = [scrape(port) for port in ports.values()]
    for step in ("create", "stage_in", "mount", "unmount", "delete"):
        assert total(ended, "dacc_step_seconds_count", step=step, provider="fake") == 1
    assert total(ended, "dacc_step_failures_total") == 0
    assert total(ended, "dacc_staged_bytes_total", direction="in") == MIB
    assert total(ended, "dacc_staged_files_total", direction="in") == 1
    assert total(ended, "dacc_keystore_seconds_count", operation="txn") > 10
    assert total(ended[-1:], "dacc_calls_total", program="fakewarp", function="pre_run", rc="0") == 1
    assert total(ended[-1:], "dacc_call_seconds_count", program="fakewarp", function="teardown") == 1
    for port in ports.values():  # a daemon that had no part in the end hears of it a moment later
        until(lambda port=port: total([scrape(port)], "dacc_bricks", pool="default", state="taken") == 0, "all bricks are free")


def test_a_takeover_and_its_fence_are_counted(slurm: Slurm, ports: dict[str, int]) -> None:
    slurm.site.kill("ctl")
    slurm.site.launch("ctl", DACC_METRICS=f"127.0.0.1:{ports['ctl']}")
    slurm.site.await_daemon("ctl")
    job = slurm.striped(mib=64).begin("c1")
    coordinator = slurm.site.ask("show", job.token)["status"]["coordinator"]
    (other,) = {"dac1", "dac2"} - {coordinator}
    slurm.site.kill(coordinator)
    succeeded(job.post_run())
    found = scrape(ports[other])
    assert total([found], "dacc_takeovers_total", former="another host") == 1
    until(lambda: total([scrape(ports[other])], "dacc_hosts", state="dead") == 1, "the dead host in the metrics")
    slurm.site.launch(coordinator, DACC_METRICS=f"127.0.0.1:{ports[coordinator]}")
    slurm.site.await_daemon(coordinator)


def test_a_port_that_is_in_use_is_said_in_one_line(slurm: Slurm, ports: dict[str, int]) -> None:
    slurm.site.stop("dac2")
    process = slurm.site.launch("dac2", DACC_METRICS=f"127.0.0.1:{ports['dac1']}")
    assert process.wait(20) == 40
    del slurm.site.daemons["dac2"]
    last = slurm.site.log("dac2").splitlines()[-1]
    assert last == f"dacd: metrics.listen 127.0.0.1:{ports['dac1']}: somebody listens there already: give this dacd another port"
    slurm.site.start("dac2")


def test_nothing_is_told_that_is_not_documented(slurm: Slurm, ports: dict[str, int]) -> None:
    succeeded(slurm.striped().setup())
    documented = {metric.name for metric in METRICS}
    bases = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name, _ in scrape(ports["ctl"])}
    assert bases <= documented
