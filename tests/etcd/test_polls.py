"""Slurm's polls while etcd dies and comes back: the whole truth, or an error that Slurm takes for none."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.support.etcd import EtcdCluster
from tests.support.waiting import until

from .conftest import QUICK
from .sites import POLLED, Answer, Site, running

READ_SECONDS = 3.0
"""What a poll may take, by the reference."""
SLACK = 9.0
"""For a slow machine, and the start of a program that loads gRPC."""


LEASE_SECONDS = 60.0
"""Longer than any outage here: a host whose lease has ended truly has no free bricks until its daemon has a new one."""


@dataclass
class Polls:
    """Polls of every function, beside each other, again and again until they are to end."""

    site: Site
    env: Mapping[str, str]
    answers: dict[str, list[Answer]] = field(default_factory=lambda: {function: [] for function in POLLED})
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, function: str) -> None:
        while not self.over.is_set():
            self.answers[function].append(self.site.ask(function, **self.env))

    def count(self, *, good: bool) -> int:
        return min(sum((answer.rc == 0) == good for answer in answers) for answers in self.answers.values())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with some jobs on it that nobody touches, on three members."""
    etcd = EtcdCluster(tmp_path_factory.mktemp("etcd"), size=3, flags=QUICK)
    with running(etcd, tmp_path_factory.mktemp("site"), bricks=4, lease_ttl=LEASE_SECONDS) as site:
        for token in ("11", "12", "13"):
            site.begin(token)
        yield site


@pytest.mark.parametrize("client", ["through dacd", "without dacd"])
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_polls_tell_all_or_nothing_while_etcd(site: Site, fault: signal.Signals, client: str) -> None:
    until(site.is_well, "what the former test did is over")
    truth = {function: json.loads(site.call(function)) for function in POLLED}
    polls = Polls(site, {} if client == "through dacd" else site.without_daemon)
    with ThreadPoolExecutor(len(POLLED)) as pool:
        polling = pool.map(polls.run, POLLED)
        for _ in range(2):
            await_more(polls, good=True)
            strike(site.etcd, fault)
            await_more(polls, good=False)
            mend(site.etcd)
        await_more(polls, good=True)
        polls.over.set()
        list(polling)
    for function, answers in polls.answers.items():
        assert [answer for answer in answers if answer.rc != 0 and not answer.is_clear] == []
        assert [answer for answer in answers if answer.rc == 0 and json.loads(answer.output) != truth[function]] == []
        assert [answer for answer in answers if answer.seconds > READ_SECONDS + SLACK] == []


def await_more(polls: Polls, *, good: bool) -> None:
    so_far = polls.count(good=good)
    until(lambda: polls.count(good=good) > so_far, f"polls {'succeed' if good else 'fail'}", 60.0)


def strike(etcd: EtcdCluster, fault: signal.Signals) -> None:
    for member in etcd.members:
        member.kill() if fault is signal.SIGKILL else member.signal(fault)


def mend(etcd: EtcdCluster) -> None:
    for number, member in enumerate(etcd.members):
        if member.process is None:
            etcd.launch(number)
        member.signal(signal.SIGCONT)
    for number in range(etcd.size):
        etcd.await_member(number)


def test_a_dacd_that_starts_while_etcd_is_away_lists_nothing(site: Site) -> None:
    until(site.is_well, "what the former test did is over")
    truth = site.call("show_sessions")
    strike(site.etcd, signal.SIGKILL)
    site.local.kill("ctl")
    daemon = site.local.launch("ctl")
    until(lambda: "the store cannot be read" in site.local.log("ctl"), "it is said that etcd is away")
    with ThreadPoolExecutor(len(POLLED)) as pool:
        assert all(answer.is_clear for answer in pool.map(site.ask, POLLED))
    mend(site.etcd)
    until(lambda: site.ask("show_sessions").output == truth, "all of them are listed again")
    assert daemon.poll() is None
