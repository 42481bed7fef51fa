"""What broke data-acc, numbered as in the measurements of it: the same events leave dacc's jobs unharmed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.support.waiting import until

from .conftest import Build
from .harness import CrashSite, Job

OUTAGE = 3.0
HOLD = """
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN IMMEDIATE")
print(flush=True)
time.sleep(float(sys.argv[2]))
store.execute("ROLLBACK")
"""


@pytest.fixture(scope="module")
def hasty_site(build: Build) -> CrashSite:
    """A site where an outage is longer than every lease."""
    return build(hosts=2, backing="directory", extra={"lease_ttl": OUTAGE * 2 / 3})


def test_row_7_a_daemon_killed_while_it_builds_a_filesystem_makes_no_second_one(image_job: Job) -> None:
    # There: rc 1 after 61 s, a second filesystem under another name, the first one an orphan, every later setup refused.
    crash = image_job.crash
    crash.fault(call="create", partial="formatted")
    crash.arm("dac1", "step.create.after")
    image_job.do("setup")
    crash.await_deaths("dac1")
    volume = crash.records().sessions[image_job.token].record.volume
    assert volume is not None
    images = [path.name for path in (crash.site.directory / "bricks" / "dac1").glob("*/*.img*")]
    assert images == [f"{volume.name}.img"]
    image_job.do("setup", "teardown")
    crash.assert_nothing_left()


def test_row_8_a_daemon_killed_while_it_mounts_mounts_nothing_twice(image_job: Job) -> None:
    # There: rc 1 after 61 s, and again at each repeat; only a teardown helped.
    crash = image_job.crash
    crash.fault(call="mount", partial="mounted", host="c2")
    image_job.do("setup", "data_in", "paths")
    crash.arm("dac1", "step.mount.after")
    image_job.do("pre_run")
    crash.await_deaths("dac1")
    image_job.do("pre_run")
    for node in crash.site.compute_nodes:
        table = subprocess.run(crash.site.on(node, ["cat", "/proc/self/mountinfo"]), capture_output=True, text=True).stdout
        assert table.count(f" {crash.site.mount_root}/{image_job.token}_job ") == 1
    image_job.compute()
    image_job.do("post_run", "data_out", "teardown")
    image_job.assert_results()
    crash.assert_nothing_left()


@contextmanager
def locked(crash: CrashSite) -> Iterator[None]:
    """Another process holds the store's write lock for a while; at the end it has given it back."""
    path = crash.site.directory / "state" / "store.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, path, str(OUTAGE)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
        assert holder.wait() == 0


def test_row_9_calls_wait_while_the_store_takes_no_writes_and_then_succeed(directory_job: Job) -> None:
    job, crash = directory_job, directory_job.crash
    with locked(crash):
        assert crash.free() == (2, 2)
        job.do("setup")
    job.do("data_in", "paths", "pre_run")
    with locked(crash):
        job.compute()
        job.do("post_run")
    job.do("data_out", "teardown")
    assert not crash.killed
    job.assert_results()
    crash.assert_nothing_left()


def test_row_10_daemons_live_on_after_an_outage_of_the_store_that_outlasts_their_leases(hasty_site: CrashSite) -> None:
    # There: every daemon of the cluster panics, and afterwards no brick is free and nothing can be torn down.
    job, crash = Job(hasty_site), hasty_site
    job.do("setup")
    with locked(crash):
        job.do("data_in")
    job.do("paths", "pre_run")
    job.compute()
    with locked(crash):
        waiting = [job.begin("post_run"), Job(crash, staged=False).begin("setup")]
    done = [until(partial(call.ended, 0.1), "the call ends", 20.0) for call in waiting]
    assert [one.rc for one in done] == [0, 0]
    job.do("data_out", "teardown")
    crash.succeed("teardown", "--token", waiting[1].args[2], "--job", waiting[1].args[4])
    job.assert_results()
    job.forget()
    crash.assert_nothing_left()


def test_row_10_while_the_store_is_out_of_reach_slurm_is_told_nothing_rather_than_of_nothing(hasty_site: CrashSite) -> None:
    crash = hasty_site
    state = crash.site.directory / "state"
    state.rename(state.with_name("away"))
    try:
        refused = until(lambda: (done := crash.call("pools")).rc and done, "it notices")
        sessions = crash.call("show_sessions")
    finally:
        state.with_name("away").rename(state)
    for done in (refused, sessions):
        assert done.rc != 0
        with pytest.raises(ValueError):
            json.loads(done.output)
    until(lambda: (done := crash.call("pools")).rc == 0 and '"free":4' in done.output, "the pool is whole again")
    assert not crash.killed
    job = Job(crash)
    job.live()
    job.assert_results()
    job.forget()
    crash.assert_nothing_left()


@pytest.mark.parametrize("attempt", range(5))
def test_row_12_three_daemons_that_start_together_on_an_empty_store_all_live(build: Build, attempt: int) -> None:
    # There: one of them dies in a quarter of the tries. `build` launches all daemons before it waits for any.
    crash = build(hosts=2, backing="none", nodes=0)
    until(lambda: crash.records().alive.keys() == {"ctl", "dac1", "dac2"}, "all are members")
    assert all(daemon.poll() is None for daemon in crash.site.daemons.values())
    assert crash.free() == (4, 4)
