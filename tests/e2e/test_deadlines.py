"""Calls that take longer than Slurm waits: they end in time with a line, and the work goes on."""

from __future__ import annotations

import time

from .slurm import Slurm, finish, refused, succeeded, until

SITE = {
    "backing": "none",
    "extra": {"slurm": {"other_timeout": 3}, "deadlines": {"create": 20}},
    "provider": {
        "faults": [
            {"call": "create", "token": "501", "delay": 2.5},
            {"call": "mount", "token": "502", "hang": True, "times": 1},
            {"call": "create", "token": "503", "hang": True, "times": 1},
            {"call": "create", "token": "504*", "hang": True, "times": 0},
        ]
    },
}


def test_a_call_ends_before_slurm_would_kill_it_and_its_repetition_joins_the_work(slurm: Slurm) -> None:
    job = slurm.striped(token="501")
    begun = time.monotonic()
    line = refused(job.setup())
    assert line == "still setup for session 501: call again, the work goes on"
    assert time.monotonic() - begun < 2.4
    succeeded(job.setup())
    (session,) = slurm.site.ask("status")["sessions"]
    assert session["filesystem"] == "ready"


def test_a_teardown_ends_a_mount_that_hangs(slurm: Slurm) -> None:
    job = slurm.striped(token="502")
    succeeded(job.setup())
    client = slurm.start("pre_run", *job.pre_run_args("c1"))
    until(lambda: slurm.site.ask("status")["sessions"][0]["running"] == "mount", "it mounts")
    succeeded(job.teardown(hurry=True))
    assert "superseded by teardown" in refused(finish(client))


def test_a_teardown_ends_a_create_that_hangs(slurm: Slurm) -> None:
    job = slurm.striped(token="503")
    client = slurm.start("setup", *job.setup_args)
    until(lambda: [one["running"] for one in slurm.site.ask("status")["sessions"]] == ["create"], "it is being made")
    succeeded(job.teardown(hurry=True))
    assert "superseded by teardown" in refused(finish(client))
    succeeded(job.setup())


def test_reads_do_not_wait_behind_calls_that_do(slurm: Slurm) -> None:
    jobs = [slurm.striped(token=f"504{number}") for number in range(4)]
    clients = [slurm.start("setup", *job.setup_args) for job in jobs]
    until(lambda: len(slurm.tokens()) == len(jobs), "all are listed")
    for _ in range(5):
        assert len(slurm.tokens()) == len(jobs)
    assert [client.poll() for client in clients] == [None] * len(jobs)
    for client, job in zip(clients, jobs):
        assert "still setup" in refused(finish(client))
        succeeded(job.teardown(hurry=True))
