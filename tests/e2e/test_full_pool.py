"""A pool without enough free bricks: calls wait for them, listed, unless nobody wants them any more."""

from __future__ import annotations

import os
import signal

from tests.support.waiting import until

from .slurm import NOBODY, Slurm, finish, refused, succeeded

SITE = {"backing": "none"}
BRICKS = 6


def fill(slurm: Slurm) -> None:
    """A job that has all bricks."""
    succeeded(slurm.striped(mib=32 * BRICKS, token="900").setup())


def test_setup_waits_listed_until_another_job_ends(slurm: Slurm) -> None:
    fill(slurm)
    job = slurm.striped()
    with job.waiting() as client:
        assert slurm.tokens() == {"900", job.token}
        assert [row["id"] for row in slurm.read("show_instances")] == [900]
        assert "setup waits: 0 of 6 bricks of pool default are free" in slurm.dwstat("sessions").output
        assert "waits for bricks" in succeeded(slurm.dacc("status"))
        succeeded(slurm.jobs[0].teardown())
        succeeded(finish(client))
    job.begin("c1").end()


def test_the_end_of_a_job_that_waits_ends_its_setup_although_nobody_listens_to_it_any_more(slurm: Slurm) -> None:
    fill(slurm)
    job = slurm.striped()
    with job.waiting() as client:
        os.killpg(client.pid, signal.SIGKILL)
        finish(client)
    succeeded(job.teardown(hurry=True))
    succeeded(slurm.jobs[0].teardown())
    again = slurm.striped(mib=32 * BRICKS)
    succeeded(again.setup())  # whatever still waited would be in its way, or would follow it
    assert slurm.tokens() == {again.token}


def test_a_setup_that_still_listens_is_told_of_the_teardown(slurm: Slurm) -> None:
    fill(slurm)
    job = slurm.striped()
    with job.waiting() as client:
        succeeded(job.teardown(hurry=True))
        assert refused(finish(client)) == f"setup of session {job.token} was superseded by teardown"
    assert slurm.tokens() == {"900"}


def test_what_never_fits_fails_at_once(slurm: Slurm) -> None:
    fill(slurm)
    assert "ask for at most" in refused(slurm.striped(mib=32 * BRICKS + 1).setup())
    assert slurm.tokens() == {"900"}


def test_what_needs_a_filesystem_is_refused_meanwhile(slurm: Slurm) -> None:
    fill(slurm)
    job = slurm.striped()
    with job.waiting():
        for answer in (job.data_in(), slurm.call("real_size", "--token", job.token), job.paths(), job.pre_run("c1")):
            assert f"session {job.token} still waits for bricks" in refused(answer)
        succeeded(job.post_run(), job.data_out())


def test_a_buffer_waits_for_bricks(slurm: Slurm) -> None:
    fill(slurm)
    slurm.buffers.append("patient")
    client = slurm.start("create_persistent", "-c", "CLI", "-t", "patient", "-u", str(NOBODY.pw_uid), "-C", "default:32MiB")
    until(lambda: "patient" in slurm.tokens(), "it is listed")
    succeeded(slurm.jobs[0].teardown())
    assert succeeded(finish(client)) == "created\n"


def test_a_wait_outlasts_a_restart_of_dacd(slurm: Slurm) -> None:
    fill(slurm)
    job = slurm.striped()
    with job.waiting() as client:
        slurm.site.stop("ctl")
        slurm.site.start("ctl")
        assert client.poll() is None
        succeeded(slurm.jobs[0].teardown())
        succeeded(finish(client))


def test_many_setups_that_wait_keep_nobody_else_waiting(slurm: Slurm) -> None:
    fill(slurm)
    jobs = [slurm.striped() for _ in range(30)]
    clients = [slurm.start("setup", *job.setup_args) for job in jobs]
    until(lambda: len(slurm.tokens()) == len(jobs) + 1, "all are listed")
    for job in jobs:
        succeeded(job.teardown(hurry=True))
    for client in clients:
        assert "superseded" in refused(finish(client))
    assert slurm.tokens() == {"900"}


def test_a_script_that_does_not_exist_is_an_empty_one_where_no_bricks_are_reserved(slurm: Slurm) -> None:
    job = slurm.job()
    job.script.unlink()
    job.begin("c1").end()
    striped = slurm.striped()
    striped.script.unlink()
    assert "cannot be read" in refused(striped.setup())


def test_a_script_that_cannot_be_read_is_never_an_empty_one(slurm: Slurm) -> None:
    job = slurm.job()
    job.script.unlink()
    job.script.mkdir()
    assert "cannot be read" in refused(job.setup())
    job.script.rmdir()
    job.script.symlink_to(job.script.name)
    assert "cannot be read" in refused(job.setup())
