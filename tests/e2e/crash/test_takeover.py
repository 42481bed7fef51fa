"""The host that pursues a session falls silent for good, or for a while: another takes over, and the former one's work ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.waiting import until

from .harness import Job, Rsync

PLACES = [
    ("setup", "step.create.after"),
    ("data_in", "stage_in.mounted"),
    ("pre_run", "step.mount.before"),
    ("post_run", "step.unmount.after"),
    ("data_out", "stage_out.copied"),
    ("teardown", "step.delete.after"),
    ("teardown", "write.after@3"),
]

STANDSTILLS = [
    ("data_in", "write.before@2"),
    ("data_in", "write.before@3"),
    ("data_in", "stage_in.copied@1"),
    ("pre_run", "step.mount.before@1"),
    ("data_out", "stage_out.mounted@1"),
    ("teardown", "step.delete.before@1"),
]


@pytest.fixture
def rsync(pair_job: Job) -> Iterator[Rsync]:
    hanging = Rsync(pair_job.crash)
    yield hanging
    hanging.close()


def coordinator(job: Job) -> str:
    """The host that pursues the job's session."""
    return until(lambda: job.crash.records().status(job.token).coordinator, "somebody pursues it")  # type: ignore[no-any-return]


def up_to(job: Job, call: str) -> str:
    """Do everything before a call, and say which host will be asked to act in it."""
    job.do("setup")
    host = coordinator(job)
    if call == "setup":
        job.do("teardown")  # the next session of this token gets the same bricks
        return host
    job.until(call, done=1)
    return host


def arm_coordinator(job: Job, call: str, place: str, **env: str) -> str:
    """Arm the host that is to act in a call, and say which; on a busy machine another takes over while its daemon is replaced."""
    host = up_to(job, call)
    while True:
        job.crash.arm(host, place, **env)
        job.crash.site.await_daemon(host)  # its own registration is a write; and only a host that is alive is given a session
        if call == "setup":  # nobody's session yet
            return host
        former, host = host, coordinator(job)
        if host == former:
            return host
        job.crash.arm(former)


@pytest.mark.parametrize(("call", "place"), PLACES)
def test_another_host_takes_over_when_the_coordinator_is_killed_and_stays_away(pair_job: Job, call: str, place: str) -> None:
    job, crash = pair_job, pair_job.crash
    host = arm_coordinator(job, call, place)
    crash.left_dead.add(host)
    job.do(call)
    assert call == "teardown" or coordinator(job) != host
    job.after(call)
    until(lambda: crash.site.daemons[host].poll() == -signal.SIGKILL, "it was killed")
    crash.left_dead.clear()
    crash.arm(host)
    crash.site.await_daemon(host)
    job.assert_results()
    crash.assert_nothing_left()


def test_a_takeover_ends_a_command_that_the_dead_coordinator_left_hanging(pair_job: Job, rsync: Rsync) -> None:
    job, crash = pair_job, pair_job.crash
    host = up_to(job, "data_in")
    crash.arm(host, "", PATH=rsync.path)
    crash.site.await_daemon(host)
    crash.left_dead.add(host)
    waiting = job.begin("data_in")
    until(rsync.hangs, "the copy hangs")
    crash.site.daemons[host].kill()
    done = until(lambda: waiting.ended(0.1), "the call ends", 30.0)
    assert (done.rc, done.output) == (0, "")
    assert not rsync.hangs()
    rsync.let_go()
    assert coordinator(job) != host
    job.after("data_in")
    assert not rsync.went_on
    crash.left_dead.clear()
    crash.arm(host)
    crash.site.await_daemon(host)
    job.assert_results()
    crash.assert_nothing_left()


@pytest.mark.parametrize(("call", "place"), STANDSTILLS)
def test_a_coordinator_that_stood_still_for_longer_than_its_lease_writes_nothing_when_it_goes_on(
    pair_job: Job, call: str, place: str
) -> None:
    job, crash = pair_job, pair_job.crash
    since, there = crash.records().revision, crash.site.directory / f"there.{job.token}"
    host = arm_coordinator(job, call, f"{place}:pause", DACC_FAILPOINT_FILE=str(there))
    waiting = job.begin(call)
    until(there.exists, "it comes there")
    crash.stand_still(host)
    there.unlink()
    done = until(lambda: waiting.ended(0.1), "the call ends", 30.0)
    assert (done.rc, done.output) == (0, "")
    crash.site.daemons[host].send_signal(signal.SIGCONT)
    crash.site.await_daemon(host)
    job.after(call)
    job.assert_results()
    crash.assert_nothing_left()
    assert_one_coordinator_after_the_other(job, since)


def test_a_copy_of_a_coordinator_that_stood_still_ends_with_the_takeover(pair_job: Job, rsync: Rsync) -> None:
    job, crash = pair_job, pair_job.crash
    since = crash.records().revision
    host = up_to(job, "data_in")
    crash.arm(host, "", PATH=rsync.path)
    crash.site.await_daemon(host)
    waiting = job.begin("data_in")
    until(rsync.hangs, "the copy hangs")
    crash.stand_still(host)
    done = until(lambda: waiting.ended(0.1), "the call ends", 30.0)
    assert (done.rc, done.output) == (0, "")
    assert not rsync.hangs()
    crash.site.daemons[host].send_signal(signal.SIGCONT)
    rsync.let_go()
    job.after("data_in")
    assert not rsync.went_on
    job.assert_results()
    crash.assert_nothing_left()
    assert_one_coordinator_after_the_other(job, since)


def assert_one_coordinator_after_the_other(job: Job, since: int) -> None:
    """The store's log shows each incarnation's writes in one piece, each with a higher generation than the one before."""
    writers: list[tuple[str, int]] = []
    hosts: set[str] = set()
    for status in job.crash.history("status", job.token, since):
        assert not writers or status.generation >= writers[-1][1], "an older generation wrote after a newer one"
        if not writers or writers[-1][0] != status.incarnation:
            assert status.incarnation not in [incarnation for incarnation, _ in writers], "a former coordinator wrote again"
        writers.append((status.incarnation, status.generation))
        hosts.add(status.coordinator)
    assert len(hosts) > 1, "nobody took over"
