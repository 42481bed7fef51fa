"""The very daemon that a client talks to is killed and started again: the client asks again."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from tests.support.waiting import until

from .harness import CALLS, Job


@pytest.mark.parametrize("place", ["server.received", "server.answers"])
def test_a_job_ends_well_although_the_controller_s_daemon_is_killed_at_each_of_its_calls(directory_job: Job, place: str) -> None:
    survives(directory_job, CALLS, ctl=place)


@pytest.mark.parametrize("place", ["write.before@2", "write.after@2"])
def test_a_job_ends_well_although_the_controller_s_daemon_is_killed_as_it_records_what_is_wished(directory_job: Job, place: str) -> None:
    survives(directory_job, [call for call in CALLS if call != "paths"], ctl=place)  # which wishes nothing


def test_a_job_ends_well_although_every_daemon_is_killed_in_each_of_its_calls(directory_job: Job) -> None:
    survives(directory_job, [call for call in CALLS if call != "paths"], ctl="server.answers", dac1="write.after@3")


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def survives(job: Job, calls: Sequence[str], **places: str) -> None:
    """The job lives its whole life although daemons are killed in each of these calls at these places."""
    crash = job.crash
    for call in CALLS:
        deadly = places if call in calls else {}
        for host, place in deadly.items():
            crash.arm(host, place)
        for host in deadly:
            until(lambda host=host: _listens(crash.site.socket(host)), f"{host} listens, or the call would do without it")
        job.do(call)
        for host in deadly:
            crash.await_deaths(host)
        if call == "pre_run":
            job.compute()
    job.assert_results()
    crash.assert_nothing_left()


def test_a_job_ends_well_although_the_controller_s_daemon_is_killed_as_it_says_what_a_call_is_about(directory_job: Job) -> None:
    survives(directory_job, ["post_run", "data_out", "teardown"], ctl="server.told")


@pytest.mark.parametrize("place", ["step.create.before", "step.mount.after", "stage_out.mounted"])
def test_a_job_ends_well_although_its_calls_ask_the_daemon_that_is_killed_in_its_steps(image_job: Job, place: str) -> None:
    crash = image_job.crash
    image_job.socket = crash.site.socket("dac1")
    crash.arm("dac1", place)
    image_job.live()
    crash.await_deaths("dac1")
    image_job.assert_results()
    crash.assert_nothing_left()


def test_a_job_ends_well_although_its_calls_find_no_daemon_and_the_one_that_pursues_it_is_killed(directory_job: Job) -> None:
    crash = directory_job.crash
    directory_job.socket = str(crash.site.directory / "nobody-listens-here")
    crash.arm("dac1", "stage_in.mounted", "step.mount.after", "step.delete.before")
    directory_job.live()
    crash.await_deaths("dac1", 3)
    directory_job.assert_results()
    crash.assert_nothing_left()
