"""More claims than bricks, all at once, from many processes: each brick is given once, and who gets none waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.etcd import EtcdCluster
from tests.support.waiting import until

from .conftest import QUICK
from .sites import Answer, Job, Site, running

HOSTS, BRICKS = 4, 25


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hundred bricks, on three members."""
    etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"), size=3, flags=QUICK)
    with running(etcd, tmp_path_factory.mktemp("site"), hosts=HOSTS, bricks=BRICKS) as site:
        yield site


Calls = dict[Job, Future[Answer]]


def race(pool: ThreadPoolExecutor, jobs: list[Job], daemons: list[dict[str, str]]) -> Calls:
    """All jobs' setups at once, each through the next of these daemons."""
    return {job: pool.submit(job.ask, "setup", **daemons[place % len(daemons)]) for place, job in enumerate(jobs)}


def owners(site: Site) -> Counter[str]:
    """How often each brick has an owner."""
    return Counter(str(brick) for entry in site.records().sessions.values() for brick in entry.record.bricks)


def assert_all_get_bricks_in_the_end(site: Site, calls: Calls, former: list[Job], bricks: int) -> None:
    """As many as there are bricks at once; the others wait until those ``former`` jobs and the winners end."""
    until(lambda: sum(call.done() for call in calls.values()) >= bricks, "the first have got theirs", 120.0)
    until(lambda: len(site.records().sessions) == len(calls) + len(former), "the others are listed", 120.0)
    winners = [job for job, call in calls.items() if call.done()]
    assert len(winners) == bricks
    assert set(owners(site).values()) == {1}
    assert {token for token, entry in site.records().sessions.items() if not entry.record.claiming} == {
        job.token for job in winners + former
    }
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda job: job.does("teardown"), former + winners))
    assert Counter(call.result().rc for call in calls.values()) == {0: len(calls)}


def test_two_hundred_setups_share_a_hundred_bricks(site: Site) -> None:
    before = site.records()
    jobs = [site.job(str(number)) for number in range(1001, 1201)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        calls = race(pool, jobs, [{"DACC_SOCKET": site.local.socket(host)} for host in site.local.daemons])
        assert_all_get_bricks_in_the_end(site, calls, [], 100)
        assert site.free() == (0, 100)
        list(pool.map(lambda job: job.does("teardown"), jobs))
    assert site.broken_rules_since(before) == []
    site.assert_nothing_left()


def test_so_do_setups_that_claim_without_a_daemon(site: Site) -> None:
    before = site.records()
    taken = [site.job(str(number)) for number in range(2001, 2091)]
    jobs = [site.job(str(number)) for number in range(3001, 3021)]
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda job: job.does("setup"), taken))
        assert_all_get_bricks_in_the_end(site, race(pool, jobs, [site.without_daemon]), taken, 10)
        list(pool.map(lambda job: job.does("teardown"), jobs))
    assert site.broken_rules_since(before) == []
    site.assert_nothing_left()
