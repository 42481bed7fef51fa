"""Slurm kills a call at any moment: SIGTERM, 10 ms later SIGKILL, to its process group."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest

from .conftest import Build
from .harness import CrashSite, Job

TRIES = 200
WITHOUT_DAEMON = 20
LONGEST_WAIT = 2.0


@pytest.fixture(scope="module")
def quick_site(build: Build) -> CrashSite:
    """Bricks in plenty, and volumes that are nothing."""
    return build(hosts=2, bricks=4, backing="none")


def kill_like_slurm(job: Job, delay: float) -> None:
    """Call setup and kill it after so many seconds."""
    call = job.begin("setup")
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.killpg(call.process.pid, signal.SIGTERM)
        time.sleep(0.010)
        os.killpg(call.process.pid, signal.SIGKILL)
    call.process.communicate()


def assert_not_held_up(job: Job) -> None:
    """The same call again succeeds, and does not wait for anything that the killed one left."""
    done = job.crash.call(*job.arguments("setup"), **job.env)
    assert (done.rc, done.output) == (0, "")
    assert done.seconds < LONGEST_WAIT
    job.do("teardown")
    job.script.unlink()
    job.nodes.unlink()


def test_a_setup_that_was_killed_holds_nobody_up_and_succeeds_when_repeated(quick_site: CrashSite) -> None:
    moments = random.Random(6)
    for _ in range(TRIES):
        job = Job(quick_site, staged=False, mebibytes=16 * moments.randint(1, 4))
        kill_like_slurm(job, moments.uniform(0.0, 0.040))
        assert_not_held_up(job)
    quick_site.assert_nothing_left()


def test_a_setup_that_was_killed_while_it_claimed_bricks_itself_holds_nobody_up(quick_site: CrashSite) -> None:
    moments = random.Random(7)
    for _ in range(WITHOUT_DAEMON):
        job = Job(quick_site, staged=False, socket=str(quick_site.site.directory / "nobody-listens-here"))
        kill_like_slurm(job, moments.uniform(0.1, 0.4))
        job.socket = ""
        assert_not_held_up(job)
    quick_site.assert_nothing_left()
