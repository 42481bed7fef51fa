"""Many jobs at once live their lives while members of etcd are killed, hang and restart."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.etcd import EtcdCluster
from tests.support.waiting import until

from .conftest import QUICK
from .sites import BEGINNING, CALM_SECONDS, END, Site, running

REPEATS = 5
"""How often a call may fail before it must succeed: Slurm, too, tries again."""
MANY = 64
FEW = 12
SLOW = {"faults": [{"call": call, "times": 0, "delay": 0.2} for call in ("create", "mount", "unmount", "delete")]}
"""Steps take a while, so that faults meet them under way."""


class Storm:
    """So many jobs at once, each followed by the next until the storm is over. ``ended`` counts calls."""

    tokens = itertools.count(1001)

    def __init__(self, site: Site, jobs: int) -> None:
        self.site, self.jobs = site, jobs
        self.ended = 0
        self._over = threading.Event()
        self._lock, self._waiting = threading.Lock(), threading.Lock()
        self._pool = ThreadPoolExecutor(jobs)
        self._clients: list[Future[None]] = []

    def __enter__(self) -> Storm:
        self._clients = [self._pool.submit(self._client) for _ in range(self.jobs)]
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def goes_on(self) -> None:
        """Wait until as many more calls have ended as there are jobs."""
        so_far = self.ended
        until(lambda: self.ended >= so_far + self.jobs or self._has_failed(), "calls come to their ends", CALM_SECONDS)

    def _has_failed(self) -> bool:
        return any(client.done() and client.exception() for client in self._clients)

    def _client(self) -> None:
        while True:
            with self._lock:
                token = str(next(self.tokens))
            self._live(token)
            if self._over.is_set():
                return

    def _live(self, token: str) -> None:
        job = self.site.job(token)
        for function in (*BEGINNING, *END):
            job.repeats(function, REPEATS, self._well)
            with self._lock:
                self.ended += 1

    def _well(self) -> None:
        with self._waiting:  # one asks for all
            until(self.site.is_well, "all hosts are alive again", CALM_SECONDS)


def restart(etcd: EtcdCluster, number: int) -> None:
    etcd.members[number].kill()
    etcd.start(number)


def a_member_is_killed(storm: Storm) -> None:
    for number in range(3):
        storm.site.etcd.members[number].kill()
        storm.goes_on()
        storm.site.etcd.start(number)


def a_member_hangs(storm: Storm) -> None:
    for member in storm.site.etcd.members:
        member.signal(signal.SIGSTOP)
        storm.goes_on()
        member.signal(signal.SIGCONT)


def all_members_restart_in_turn(storm: Storm) -> None:
    for _ in range(2):
        for number in range(3):
            restart(storm.site.etcd, number)


def the_majority_is_lost(storm: Storm) -> None:
    etcd = storm.site.etcd
    for member in etcd.members[1:]:
        member.kill()
    until(lambda: "has not been heard from" in storm.site.ask("pools").output, "staleness is said", CALM_SECONDS)
    etcd.start(1, 2)


Fault = Callable[[Storm], None]
FAULTS: list[Fault] = [a_member_is_killed, a_member_hangs, all_members_restart_in_turn, the_majority_is_lost]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with room for all jobs at once, on three members."""
    etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"), size=3, flags=QUICK)
    with running(etcd, tmp_path_factory.mktemp("site"), hosts=3, bricks=30, provider=SLOW) as site:
        yield site


def come_through(site: Site, jobs: int, *faults: Fault) -> None:
    before = site.records()
    with Storm(site, jobs) as storm:
        for fault in faults:
            fault(storm)
            storm.goes_on()
    assert site.broken_rules_since(before) == []
    site.assert_nothing_left()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__.replace("_", " ") for fault in FAULTS])
def test_jobs_come_through_when(site: Site, fault: Fault) -> None:
    come_through(site, FEW, fault)


@pytest.mark.long
def test_sixty_four_jobs_at_once_come_through_all_of_it(site: Site) -> None:
    come_through(site, MANY, *FAULTS)
