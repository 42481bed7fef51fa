"""A daemon that is told to stop while steps run ends well, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.waiting import until

from .harness import CrashSite, Job, Rsync


@pytest.fixture
def rsync(directory_job: Job) -> Iterator[Rsync]:
    hanging = Rsync(directory_job.crash)
    yield hanging
    hanging.close()


def terminate(crash: CrashSite, host: str) -> None:
    """Tell a daemon to stop, and see it end without an error."""
    crash.site.daemons[host].send_signal(signal.SIGTERM)
    assert crash.site.daemons[host].wait(15.0) == 0


def building(job: Job) -> bool:
    """Whether a daemon builds it. The record says so a moment earlier: who is told to stop in between leaves it to another daemon."""
    words = f'msg="step begins" session={job.token} step=create'
    return any(words in job.crash.site.log(host) for host in job.crash.site.daemons)


def finish(job: Job) -> None:
    """What is left of the job's life after its session was built."""
    job.after("setup")
    job.assert_results()
    job.crash.assert_nothing_left()


def test_a_daemon_that_stops_lets_a_short_step_end_and_records_it(directory_job: Job) -> None:
    job, crash = directory_job, directory_job.crash
    crash.fault(call="create", delay=0.7)
    crash.arm("dac1")
    waiting = job.begin("setup")
    until(lambda: building(job), "it is built")
    terminate(crash, "dac1")
    status = crash.records().status(job.token)
    assert (status.filesystem, status.running) == ("ready", None)
    crash.site.launch("dac1")
    assert until(lambda: waiting.ended(0.1), "the call ends", 20.0).rc == 0
    assert [event.what for event in status.events] == ["create"]
    finish(job)


def test_a_daemon_that_stops_ends_a_copy_and_the_next_one_does_it_anew(directory_job: Job, rsync: Rsync) -> None:
    job, crash = directory_job, directory_job.crash
    crash.arm("dac1", "", PATH=rsync.path)
    job.do("setup")
    waiting = job.begin("data_in")
    until(rsync.hangs, "the copy hangs")
    terminate(crash, "dac1")
    assert not rsync.hangs()
    crash.site.launch("dac1")
    assert until(lambda: waiting.ended(0.1), "the call ends", 20.0).rc == 0
    assert not rsync.went_on
    finish(job)


def test_a_call_that_waits_comes_through_the_stop_of_the_daemon_that_it_asked(directory_job: Job) -> None:
    job, crash = directory_job, directory_job.crash
    crash.fault(call="create", delay=0.7)
    crash.arm("dac1")
    waiting = job.begin("setup")
    until(lambda: building(job), "it is built")
    terminate(crash, "ctl")
    crash.site.launch("ctl")
    assert until(lambda: waiting.ended(0.1), "the call ends", 20.0).rc == 0
    finish(job)
