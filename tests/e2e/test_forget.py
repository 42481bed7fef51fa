"""A storage host that is gone for good: its daemon is killed, an operator forgets it, and later it is back after all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until

from .slurm import NOBODY, Slurm, refused, succeeded

SITE = {"hosts": 3, "bricks": 1, "extra": {"lease_ttl": 2, "deadlines": {"teardown": 10}, "retries": {"first_wait": 0.05}}}


def hosts(slurm: Slurm) -> dict[str, dict[str, Any]]:
    return {host["name"]: host for host in json.loads(succeeded(slurm.dacc("hosts", "--json")))}


def die(slurm: Slurm, host: str) -> None:
    slurm.site.kill(host)
    until(lambda: hosts(slurm)[host]["state"] == "dead", f"the end of the lease of {host}")


def ended(slurm: Slurm, token: str) -> dict[str, Any]:
    """How a session ended, when it has."""

    def why() -> Any:
        found = json.loads(succeeded(slurm.dacc("why", token, "--json")))
        return found if "outcome" in found else None

    found: dict[str, Any] = until(why, f"the end of session {token}")
    return found


@pytest.fixture
def repaired(slurm: Slurm) -> Iterator[Slurm]:
    """Afterwards every host is back, clean and released."""
    yield slurm
    for host in slurm.site.brick_hosts:
        if host not in slurm.site.daemons:
            slurm.site.start(host)
    for brick in slurm.quarantined():
        host, _, device = brick.partition(":")
        for path in Path(device).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        succeeded(slurm.dacc("release", host, device))


def test_a_host_that_is_alive_is_not_forgotten(slurm: Slurm) -> None:
    assert "host dac1 is alive" in refused(slurm.dacc("forget", "dac1", "--yes"))


def test_a_forgotten_host_takes_its_sessions_with_it_and_nothing_else(repaired: Slurm) -> None:
    slurm, home = repaired, repaired.site.directory / "home" / NOBODY.pw_name
    request = f"#DW stage_out source=$DW_JOB_STRIPED/x destination={home}/x type=file"
    whole = slurm.striped(request, mib=96).begin("c1")  # a brick of each host
    slurm.jobs.remove(whole)
    die(slurm, "dac2")
    asked = slurm.dacc("forget", "dac2")  # nobody answers the question
    assert asked.rc != 0
    assert f"{whole.token}: job of nobody (uid 65534), 1 bricks here, 2 elsewhere, stage-out OWED, mounted on c1" in asked.output
    assert whole.token in slurm.tokens()

    assert f"dac2 is forgotten; sessions that end now: {whole.token}" in succeeded(slurm.dacc("forget", "dac2", "--yes"))
    assert ended(slurm, whole.token)["outcome"] == "lost"
    succeeded(whole.post_run(), whole.data_out(), whole.teardown())  # Slurm knows nothing of it and makes its calls
    assert (slurm.read("pools")[0]["quantity"], slurm.free()) == (2, 2)
    assert list(Path(f"{slurm.site.directory}/bricks/dac2/b0").iterdir()) != []  # nobody touched it
    job = slurm.striped(mib=64).begin("c1")
    job.does("c1", 'touch "$DW_JOB_STRIPED/y"')
    job.end()


def test_a_forgotten_host_that_comes_back_gives_nothing_out_before_it_is_released(repaired: Slurm) -> None:
    slurm = repaired
    job = slurm.striped(mib=96)
    succeeded(job.setup())
    slurm.jobs.remove(job)
    die(slurm, "dac1")
    succeeded(slurm.dacc("forget", "dac1", "--yes"))
    assert ended(slurm, job.token)["outcome"] == "lost"
    assert hosts(slurm)["dac1"]["state"] == "forgotten"
    slurm.site.start("dac1")
    back = hosts(slurm)["dac1"]
    assert (back["state"], back["free"], back["quarantined"]) == ("alive", 0, 1)
    assert f"has data of session {job.token}" in back["bricks"][0]["reason"]
    again = slurm.striped(mib=96)
    with again.waiting():
        assert again.why().endswith(": 1 in quarantine: ask an operator")


def test_a_job_of_the_same_id_can_start_again(repaired: Slurm) -> None:
    slurm = repaired
    job = slurm.striped(mib=96).begin("c1")
    die(slurm, "dac3")
    succeeded(slurm.dacc("forget", "dac3", "--yes"))
    ended(slurm, job.token)
    again = slurm.striped(mib=64, token=job.token).begin("c2")
    again.end()


def test_a_buffer_whose_host_is_forgotten_is_no_more(repaired: Slurm) -> None:
    slurm = repaired
    slurm.create("work", mib=96)
    user = slurm.job("#DW persistentdw name=work").begin("c1")
    die(slurm, "dac1")
    assert f"work: persistent of nobody (uid 65534), 1 bricks here, 2 elsewhere, stage-out not asked, used by {user.token}" in (
        slurm.dacc("forget", "dac1").output
    )
    succeeded(slurm.dacc("forget", "dac1", "--yes"))
    assert ended(slurm, "work")["outcome"] == "lost"
    slurm.buffers.remove("work")
    user.end()
