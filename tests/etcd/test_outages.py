"""etcd is down for seconds, and for a minute, while jobs are in the middle of their lives."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.etcd import EtcdCluster
from tests.support.waiting import until

from .sites import BEGINNING, CALM_SECONDS, END, Job, Site, running

LIFE = (*BEGINNING, *END)
SLOW = {"faults": [{"call": call, "times": 0, "delay": 2.0} for call in ("create", "mount", "unmount", "delete")]}
"""Steps take long enough for an outage to begin meanwhile."""
RUNNING = {"create", "mount", "unmount", "delete"}
SLURM = {"other_timeout": 40, "stage_in_timeout": 40, "stage_out_timeout": 40}
DEADLINES = {"job_process": 3.0, "paths": 3.0}
DEADLINE = 30.0
"""Of the other calls, with these settings: 10 s before Slurm would kill them."""
SLACK = 8.0
REPEATS = 3


@pytest.mark.parametrize("seconds", [pytest.param(60, marks=pytest.mark.long), 15, 3])
def test_jobs_live_on_after_an_outage_of(seconds: int, tmp_path: Path) -> None:
    with running(EtcdCluster(tmp_path / "etcd"), tmp_path / "site", bricks=4, provider=SLOW, slurm=SLURM) as site:
        before = site.records()
        # One job for each call; that call meets the outage.
        jobs = {function: site.job(str(11 + place)) for place, function in enumerate(LIFE)}
        with ThreadPoolExecutor(len(jobs)) as pool:
            list(pool.map(lambda function: jobs[function].does(*LIFE[: LIFE.index(function)]), jobs))
            begun = [pool.submit(live_on, job, function, seconds) for function, job in jobs.items()]
            until(lambda: {session["running"] for session in site.local.ask("status")["sessions"]} >= RUNNING, "all steps are under way")
            be_away(site, seconds)
            for life in begun:
                life.result()
        assert site.broken_rules_since(before) == []
        site.assert_nothing_left()


def be_away(site: Site, seconds: float) -> None:
    """Its length is what an outage is about."""
    site.etcd.members[0].kill()
    time.sleep(seconds)
    site.etcd.start()


def live_on(job: Job, function: str, outage: float) -> None:
    """A job's life from this call on."""
    for call in LIFE[LIFE.index(function) :]:
        answers = job.repeats(call, REPEATS, lambda: until(job.site.is_well, "all hosts are alive", outage + CALM_SECONDS))
        late = [answer for answer in answers if answer.seconds > DEADLINES.get(call, DEADLINE) + SLACK]
        assert late == [], (job.token, call)
