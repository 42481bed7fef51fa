"""Daemons are killed at random moments, again and again, while several jobs live their lives."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.waiting import until

from .conftest import Build
from .harness import CALLS, Called, CrashSite, Job

JOBS = 4
KILLS = 20
REPEATS = 3


@pytest.fixture
def storm_site(build: Build) -> CrashSite:
    """Two brick hosts with room for all jobs at once, taking over quickly."""
    return build(hosts=2, bricks=4, backing="directory", extra={"lease_ttl": 2.0})


class Caller:
    """One job's calls; an error is forgiven if a repeat of the call cures it."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def live(self) -> Job:
        for call in CALLS:
            self._do(call)
            if call == "pre_run":
                self.job.compute()
        return self.job

    def _do(self, function: str) -> None:
        errors = []
        for _ in range(REPEATS):
            done = self._once(function)
            if done.rc == 0:
                return
            errors.append(done.output)
            # A host that is just starting has no bricks to give.
            until(lambda: self.job.crash.records().alive.keys() == {"ctl", "dac1", "dac2"}, "all hosts live", 30.0)
        pytest.fail(f"{function} of {self.job.token}: {errors}")

    def _once(self, function: str) -> Called:
        call = self.job.begin(function)
        done = call.ended(60.0)
        call.kill()
        assert done is not None, f"{function} of {self.job.token} did not end"
        return done


def test_jobs_come_through_a_storm_of_kills(storm_site: CrashSite) -> None:
    crash, chance = storm_site, random.Random(1)
    with ThreadPoolExecutor(JOBS) as pool:
        lives = [pool.submit(Caller(Job(crash)).live) for _ in range(JOBS)]
        for _ in range(KILLS):
            # Not to hide a race but to make one: the moment is the point.
            time.sleep(chance.uniform(0.05, 0.5))
            host = chance.choice(("dac1", "dac2", "ctl"))
            crash.site.daemons[host].kill()
            crash.site.daemons[host].wait()
            crash.revive()
            if all(life.done() for life in lives):
                lives.append(pool.submit(Caller(Job(crash)).live))
        jobs = [life.result(120.0) for life in lives]
    for job in jobs:
        job.assert_results()
        job.forget()
    crash.assert_nothing_left()
