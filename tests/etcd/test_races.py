"""More claims than bricks, all at once, from many processes: each brick is given once, and who gets none is told so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dacc_core.testing.etcd import EtcdCluster

from .conftest import QUICK
from .sites import Answer, Job, Site, running

NO_SPACE = 51
HOSTS, BRICKS = 4, 25
FULL = re.compile(r"pool default has 0 free of 100 bricks and 1 are needed \(\d+ bytes in units of \d+\): wait for other jobs to end\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hundred bricks, on three members."""
    etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"), size=3, flags=QUICK)
    with running(etcd, tmp_path_factory.mktemp("site"), hosts=HOSTS, bricks=BRICKS) as site:
        yield site


def race(jobs: list[Job], daemons: list[dict[str, str]]) -> dict[Job, Answer]:
    """All jobs' setups at once, each through the next of these daemons."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        begun = {job: pool.submit(job.ask, "setup", **daemons[place % len(daemons)]) for place, job in enumerate(jobs)}
        return {job: answer.result() for job, answer in begun.items()}


def owners(site: Site) -> Counter[str]:
    """How often each brick has an owner."""
    return Counter(str(brick) for entry in site.records().sessions.values() for brick in entry.record.bricks)


def assert_only_winners_got_anything(site: Site, answers: dict[Job, Answer], bricks: int) -> None:
    winners = {job.token for job, answer in answers.items() if answer.rc == 0}
    assert len(winners) == bricks, Counter(answer.output for answer in answers.values() if answer.rc)
    assert {(answer.rc, bool(FULL.fullmatch(answer.output))) for answer in answers.values() if answer.rc} == {(NO_SPACE, True)}
    assert set(site.records().sessions) == winners
    assert set(owners(site).values()) == {1}


def test_two_hundred_setups_share_a_hundred_bricks(site: Site) -> None:
    before = site.records()
    jobs = [site.job(str(number)) for number in range(1001, 1201)]
    answers = race(jobs, [{"DACC_SOCKET": site.local.socket(host)} for host in site.local.daemons])
    assert_only_winners_got_anything(site, answers, 100)
    assert site.free() == (0, 100)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda job: job.does("teardown"), jobs))
    assert site.broken_rules_since(before) == []
    site.assert_nothing_left()


def test_so_do_setups_that_claim_without_a_daemon(site: Site) -> None:
    before = site.records()
    taken = [site.job(str(number)) for number in range(2001, 2091)]
    jobs = [site.job(str(number)) for number in range(3001, 3021)]
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda job: job.does("setup"), taken))
    answers = race(jobs, [site.without_daemon])
    assert_only_winners_got_anything(site, answers | {job: Answer(0, "") for job in taken}, 100)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda job: job.does("teardown"), taken + jobs))
    assert site.broken_rules_since(before) == []
    site.assert_nothing_left()
