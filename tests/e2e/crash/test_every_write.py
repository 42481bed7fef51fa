"""In each call of a job's life the daemon that pursues its session is killed at one of its writes, and started again."""

from __future__ import annotations

import pytest

from .harness import Job

CALLS = ("setup", "data_in", "pre_run", "post_run", "data_out", "teardown")
"""The calls that make the brick host's daemon write."""

REGISTERING = (
    "keystore.sqlite.before_commit@1",
    "keystore.sqlite.after_commit@1",
    "write.before@1",
    "keystore.sqlite.before_commit@2",
    "keystore.sqlite.after_commit@2",
    "write.after@1",
)
"""A daemon that was just started first takes a lease, then writes its registration."""

STEPPING = [
    # The same writes from outside the keystore.
    *(pytest.param(f"write.{moment}@{number}", marks=pytest.mark.long) for number in (2, 3) for moment in ("before", "after")),
    *(f"keystore.sqlite.{moment}@{number}" for number in (3, 4) for moment in ("before_commit", "after_commit")),
]
"""What it writes next is a step's beginning, and its end; in between, of a copy, that what was at its destinations before is removed."""

COPIES = ("data_in", "data_out")


def test_each_call_of_a_job_takes_three_writes_of_which_the_daemon_s_two_are_tried_below_and_a_copy_four(directory_job: Job) -> None:
    crash = directory_job.crash
    for call in CALLS:
        before = crash.records().revision
        directory_job.do(call)
        if call == "pre_run":
            directory_job.do("paths")
            directory_job.compute()
        assert crash.records().revision - before == (4 if call in COPIES else 3), call
    crash.assert_nothing_left()


@pytest.mark.parametrize("place", STEPPING)
def test_a_job_ends_well_although_the_daemon_is_killed_in_each_of_its_calls_at_the_write(directory_job: Job, place: str) -> None:
    survives(directory_job, dict.fromkeys(CALLS, place))


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_a_job_ends_well_although_the_daemon_is_killed_at_the_end_of_its_copies(directory_job: Job, moment: str) -> None:
    places = dict.fromkeys(CALLS, f"keystore.sqlite.{moment}@4")
    survives(directory_job, places | dict.fromkeys(COPIES, f"keystore.sqlite.{moment}@5"))


def test_a_job_ends_well_although_the_daemon_is_killed_in_each_of_its_calls_while_it_registers(directory_job: Job) -> None:
    survives(directory_job, dict(zip(CALLS, REGISTERING)))


def survives(job: Job, places: dict[str, str]) -> None:
    """The job lives its whole life although its daemon is killed in each call at the place that is named for it."""
    crash = job.crash
    for call, place in places.items():
        crash.arm("dac1", place)
        job.do(call)
        crash.await_deaths("dac1")
        if call == "pre_run":
            job.do("paths")
            job.compute()
    job.assert_results()
    crash.assert_nothing_left()
