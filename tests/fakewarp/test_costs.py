"""What calls cost the keystore: constants, whatever the size of a job or a cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .driver import STAGED, Reply, Slurm, cluster

Begin = Callable[[Slurm], Reply]

LIFECYCLE: list[tuple[str, Begin]] = [
    ("setup", lambda slurm: slurm.begin_setup("7", STAGED)),
    ("data_in", lambda slurm: slurm.begin_job("data_in", "7")),
    ("real_size", lambda slurm: slurm.begin("--function", "real_size", "--token", "7")),
    ("paths", lambda slurm: slurm.begin("--function", "paths", "--token", "7", "--pathfile", "/p")),
    ("pre_run", lambda slurm: slurm.begin_pre_run("7")),
    ("post_run", lambda slurm: slurm.begin_job("post_run", "7")),
    ("data_out", lambda slurm: slurm.begin_job("data_out", "7")),
    ("teardown", lambda slurm: slurm.begin_teardown("7")),
]
TRANSACTIONS = {"setup": 1, "data_in": 1, "real_size": 0, "paths": 0, "pre_run": 1, "post_run": 1, "data_out": 1, "teardown": 1}


def spent(slurm: Slurm) -> dict[str, int]:
    """Transactions of each call of a job's life."""
    costs = {}
    for name, begin in LIFECYCLE:
        reply = begin(slurm)
        (answer,) = slurm.finish(reply)
        assert answer.rc == 0
        costs[name] = reply.commits
    return costs


@pytest.mark.parametrize("hosts", [1, 3, 12])
def test_each_call_costs_one_transaction_or_none(hosts: int) -> None:
    assert spent(cluster(hosts=hosts, bricks=2)) == TRANSACTIONS


def test_a_lifecycle_costs_at_most_twenty_revisions() -> None:
    slurm = cluster()
    before = slurm.sim.rules.revision()
    spent(slurm)
    assert slurm.sim.rules.revision() - before <= 20


def test_after_a_lifecycle_only_its_history_stays() -> None:
    slurm = cluster()
    before = set(slurm.sim.store.range("/").items)
    spent(slurm)
    after = {item.key for item in slurm.sim.store.range("/").items}
    assert after - {item.key for item in before} == {"/dacc/1/history/7"}


def test_a_repeated_call_costs_no_transaction_but_the_one_that_asks_whether_it_is_the_same_session() -> None:
    slurm = cluster()
    for name, begin in LIFECYCLE[:-1]:
        slurm.finish(begin(slurm))
        again = begin(slurm)
        slurm.finish(again)
        assert (name, again.commits) == (name, int(name in ("post_run", "data_out")))


@pytest.mark.parametrize("function", ["pools", "show_instances", "show_sessions", "show_configurations"])
def test_what_slurm_polls_costs_nothing(function: str) -> None:
    slurm = cluster()
    reply = slurm.begin("--function", function)
    slurm.finish(reply, within=0.0001)
    assert reply.commits == 0


def test_create_persistent_costs_one_transaction() -> None:
    slurm = cluster()
    reply = slurm.begin_create("mybuf")
    slurm.finish(reply)
    assert reply.commits == 1


def test_destroying_costs_one_more_for_its_barrier_and_one_to_see_that_it_is_the_same_buffer() -> None:
    slurm = cluster()
    slurm.create("mybuf")
    reply = slurm.begin_teardown("mybuf")
    slurm.finish(reply)
    assert reply.commits == 3
