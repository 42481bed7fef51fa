"""Jobs on 30,000 nodes: their records stay below what etcd takes at once, or they are refused at once."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator

import pytest

from dacc_core.names import fold
from dacc_core.verbs.goals import MAX_NODES
from tests.support.etcd import EtcdCluster

from .sites import BEGINNING, END, Site, running

MOST_BYTES = 3 << 19
"""What etcd takes at once: 1.5 MiB."""
TOO_LARGE = 17
NODES = [f"x{number // 100:03}c{number % 100:02}" for number in range(60_000)]
CHANCE = random.Random(4)
SETS = {
    "beside each other": NODES[:30_000],
    "every other": NODES[::2],
    "here and there": CHANCE.sample(NODES, 30_000),
}
DOWN = {"faults": [{"call": "mount", "token": "31", "times": 0, "error": "Unavailable", "text": "the node is down " * 20}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(
        EtcdCluster(tmp_path_factory.mktemp("etcd")), tmp_path_factory.mktemp("site"), provider=DOWN, retries={"first_wait": 0.05}
    ) as site:
        yield site


@pytest.mark.parametrize("nodes", SETS.values(), ids=SETS)
def test_a_job_runs_on_30000_nodes_that_lie(site: Site, nodes: list[str]) -> None:
    job = site.job("11", *nodes).does(*BEGINNING)
    assert site.largest_record() < MOST_BYTES / 2
    job.does(*END)
    site.assert_nothing_left()


def test_the_longest_list_of_nodes_may_be_followed_by_others(site: Site) -> None:
    lists = [apart("a"), apart("b")]
    jobs = [site.job("21", *nodes) for nodes in lists]
    jobs[0].does(*BEGINNING)
    for turn in range(1, 4):
        site.job("21", *lists[turn % 2]).does("pre_run")
        assert site.largest_record() < MOST_BYTES
    jobs[0].does(*END)
    assert site.largest_record() < MOST_BYTES / 10  # the history
    site.assert_nothing_left()


def apart(letter: str) -> list[str]:
    """Nodes whose names do not fold, as many as are allowed."""
    names = {letter + "".join(CHANCE.choices(string.ascii_letters, k=7)) for _ in range(MAX_NODES // 9)}
    assert MAX_NODES * 0.99 < len(fold(names)) <= MAX_NODES
    return sorted(names)


def test_a_longer_list_of_nodes_is_refused_at_once(site: Site) -> None:
    job = site.job("22", *apart("a"), *apart("b")).does(*BEGINNING[:-1])
    answer = job.ask("pre_run")
    assert (answer.rc, answer.is_clear) == (TOO_LARGE, True)
    assert "the folded list of the job's nodes is" in answer.output
    job.does("teardown")
    site.assert_nothing_left()


def test_mounts_that_fail_on_30000_nodes_do_not_make_a_record_too_large(site: Site) -> None:
    job = site.job("31", *SETS["here and there"]).does(*BEGINNING[:-1])
    for _ in range(2):
        assert job.ask("pre_run").is_clear
        assert site.largest_record() < MOST_BYTES / 2
    job.does("teardown")
    site.assert_nothing_left()
