"""Wrong clocks: of whoever calls, of the daemon that is asked, and of daemons that follow each other. Nothing may depend on them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import until

from .clocks import HOUR, wrong_by
from .conftest import open_site
from .slurm import Job, Slurm, finish, succeeded

WRONG = [-HOUR, HOUR]
BRICKS = 6


@contextmanager
def site(daemons: int = 0, **options: object) -> Iterator[Slurm]:
    """A site whose daemons' clocks are all so wrong."""
    with open_site(start=False, **options) as slurm:
        slurm.site.start(**wrong_by(daemons))
        yield slurm


@pytest.fixture(scope="module", params=[0, *WRONG], ids=["daemons right", "daemons behind", "daemons ahead"])
def any_daemons(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    with site(request.param) as slurm:
        yield slurm


@pytest.fixture
def slurm(any_daemons: Slurm) -> Iterator[Slurm]:
    yield any_daemons
    any_daemons.clean()
    assert any_daemons.free() == BRICKS


def with_results(slurm: Slurm) -> Job:
    """A job that runs, and has written what it wants to have back."""
    home = slurm.site.directory / "home" / "nobody"
    out = f"#DW stage_out source=$DW_JOB_STRIPED/results destination={home}/results type=file"
    job = slurm.striped(out).begin("c1", "c2")
    assert job.run("c1", 'echo "$SLURM_JOB_ID has run" > "$DW_JOB_STRIPED/results"').returncode == 0
    return job


def results(slurm: Slurm) -> Path:
    return slurm.site.directory / "home" / "nobody" / "results"


def args(job: Job) -> tuple[str, ...]:
    return "--token", job.token, "--job", str(job.script)


def mounts(job: Job) -> str:
    (session,) = (one for one in job.slurm.site.ask("status")["sessions"] if one["token"] == job.token)
    return str(session["mounts"])


@pytest.mark.parametrize("caller", [0, *WRONG], ids=["caller right", "caller behind", "caller ahead"])
def test_a_job_is_unmounted_copied_out_and_torn_down_whatever_the_clocks_say(slurm: Slurm, caller: int) -> None:
    job = with_results(slurm)
    results(slurm).unlink(missing_ok=True)
    clock = wrong_by(caller)
    assert succeeded(slurm.call("post_run", *args(job), **clock)) == ""
    assert mounts(job) == ""
    assert succeeded(slurm.call("data_out", *args(job), **clock)) == ""
    assert results(slurm).exists()
    assert succeeded(slurm.call("teardown", *args(job), **clock)) == ""
    assert (slurm.tokens(), slurm.free()) == (set(), BRICKS)


@pytest.mark.parametrize("caller", WRONG, ids=["caller behind", "caller ahead"])
def test_a_teardown_alone_delivers_the_results_and_frees_the_bricks_whatever_the_clocks_say(slurm: Slurm, caller: int) -> None:
    job = with_results(slurm)
    results(slurm).unlink(missing_ok=True)
    assert succeeded(slurm.call("teardown", *args(job), **wrong_by(caller))) == ""
    assert results(slurm).exists()
    assert (slurm.tokens(), slurm.free()) == (set(), BRICKS)


@pytest.mark.parametrize("caller", WRONG, ids=["caller behind", "caller ahead"])
def test_a_persistent_buffer_is_destroyed_whatever_the_clocks_say(slurm: Slurm, caller: int) -> None:
    succeeded(slurm.create("climate"))
    assert succeeded(slurm.call("teardown", "--token", "climate", "--job", "/nonexistent", **wrong_by(caller))) == ""
    assert (slurm.tokens(), slurm.free()) == (set(), BRICKS)


@pytest.mark.parametrize("wrong", WRONG, ids=["behind", "ahead"])
def test_the_controller_that_follows_another_whose_clock_was_wrong_ends_its_jobs(wrong: int) -> None:
    with site() as slurm:
        slurm.site.stop("ctl")
        slurm.site.start("ctl", **wrong_by(wrong))
        job = with_results(slurm)
        slurm.site.stop("ctl")
        slurm.site.start("ctl")
        job.end()
        assert results(slurm).exists()
        assert (slurm.tokens(), slurm.free()) == (set(), BRICKS)


@pytest.mark.parametrize("wrong", WRONG, ids=["behind", "ahead"])
def test_a_teardown_goes_on_when_a_host_whose_clock_is_wrong_takes_it_over(wrong: int) -> None:
    """It neither gives up at once, by which bricks would go into quarantine, nor forgets that it has to end."""
    with site(extra={"lease_ttl": 4.0}) as slurm:
        job = with_results(slurm)
        first = slurm.site.ask("show", job.token)["status"]["coordinator"]
        (second,) = {"dac1", "dac2"} - {first}
        slurm.site.stop(second)
        slurm.site.kill(first)
        slurm.site.start(first, DACC_FAILPOINT="step.delete.before")
        slurm.site.start(second, **wrong_by(wrong))
        teardown = slurm.start("teardown", *args(job))
        until(lambda: slurm.site.daemons[first].poll() == -signal.SIGKILL, "it is killed")
        assert succeeded(finish(teardown)) == ""
        assert slurm.quarantined() == {}
        assert (slurm.tokens(), results(slurm).exists()) == (set(), True)
        slurm.site.start(first)
        assert slurm.free() == BRICKS
