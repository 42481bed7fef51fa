"""Calls that take longer than Slurm waits: they end in time with a line, and the work goes on."""

from __future__ import annotations

import time

from tests.support.waiting import until

from .slurm import NOBODY, Slurm, finish, refused, succeeded

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


def test_setup_says_before_slurm_ends_it_what_is_in_the_way_and_goes_on_when_it_is_called_again(slurm: Slurm) -> None:
    succeeded(slurm.striped(mib=32 * 6).setup())
    succeeded(slurm.dacc("drain", "dac2"))
    job = slurm.striped(mib=32 * 4)
    line = refused(job.setup())
    assert f"session {job.token} still waits for bricks: pool default has 0 free of 6 bricks and 4 are needed" in line
    assert line.endswith(": 3 on hosts that are drained: ask an operator; call setup again")
    created = [row["created"] for row in slurm.read("show_sessions") if row["token"] == job.token]
    succeeded(slurm.dacc("undrain", "dac2"), slurm.jobs[0].teardown(), job.setup())
    assert created == [row["created"] for row in slurm.read("show_sessions")]


def test_a_buffer_that_waited_in_vain_is_gone(slurm: Slurm) -> None:
    succeeded(slurm.striped(mib=32 * 6, token="900").setup())
    client = slurm.start("create_persistent", "-c", "CLI", "-t", "vain", "-u", str(NOBODY.pw_uid), "-C", "default:32MiB")
    until(lambda: "vain" in slurm.tokens(), "it is listed")
    assert "pool default has 0 free of 6 bricks" in refused(finish(client))
    assert slurm.tokens() == {"900"}
