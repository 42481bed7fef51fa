"""Storage hosts that an operator takes out of service while jobs run."""

from __future__ import annotations

import json
from typing import Any

from .slurm import Slurm, finish, refused, succeeded


def hosts(slurm: Slurm) -> dict[str, dict[str, Any]]:
    return {host["name"]: host for host in json.loads(succeeded(slurm.dacc("hosts", "--json")))}


def test_a_job_on_a_drained_host_goes_on_and_new_ones_go_elsewhere(slurm: Slurm) -> None:
    running = slurm.striped(mib=64).begin("c1")  # a brick of each host
    assert f"dac1: draining, sessions that have bricks there go on: {running.token}" in succeeded(slurm.dacc("drain", "dac1"))
    new = slurm.striped(mib=64).begin("c2")
    assert {brick["session"] for brick in hosts(slurm)["dac1"]["bricks"]} == {running.token, ""}
    running.does("c1", 'touch "$DW_JOB_STRIPED/x"')
    running.end()
    new.end()
    assert slurm.free() == 3
    assert "no session has bricks there" in succeeded(slurm.dacc("drain", "dac1"))
    succeeded(slurm.dacc("undrain", "dac[1-2]"))
    assert slurm.free() == 6


def test_what_fits_on_no_other_host_waits_with_the_reason_until_the_host_is_back(slurm: Slurm) -> None:
    succeeded(slurm.dacc("drain", "dac1"))
    job = slurm.striped(mib=128)
    with job.waiting() as setup:
        assert job.why().endswith(": 3 on hosts that are drained: ask an operator")
        succeeded(slurm.dacc("undrain", "dac1"))
        succeeded(finish(setup))


def test_a_drained_host_stays_so_when_its_daemon_restarts(slurm: Slurm) -> None:
    succeeded(slurm.dacc("drain", "dac2"))
    slurm.site.stop("dac2")
    slurm.site.start("dac2")
    assert hosts(slurm)["dac2"]["state"] == "draining"
    succeeded(slurm.dacc("undrain", "dac2"))


def test_hosts_that_do_not_exist_are_named(slurm: Slurm) -> None:
    assert "no host is called dac[8-9]" in refused(slurm.dacc("drain", "dac[1,8-9]"))
    assert hosts(slurm)["dac1"]["state"] == "alive"
