"""What calls ask of the keystore: constants, however many hosts and sessions there are (budgets are counts, never clock times)."""

from __future__ import annotations

import pytest

from fakewarp.frontend import FRONTEND
from tests.support.counting import CountedCluster, ask_without_daemon, busy_hosts
from tests.support.registries import Registry

FILES = {"job": "#!/bin/sh\n#DW jobdw capacity=150 access_mode=striped\n", "nodehostnamefile": "c1\n"}
MORE = {
    "setup": ("--user", "1000", "--groupid", "1000", "--capacity", "default:200"),
    "paths": ("--pathfile", "/path"),
    "pre_run": ("--nodehostnamefile", "/nodes"),
}
POLLED = ("pools", "show_instances", "show_sessions", "show_configurations")
TRANSACTIONS = {
    "job_process": 0,
    "setup": 3,  # the claim, the beginning of its step, the step's end
    "data_in": 0,
    "real_size": 0,
    "paths": 0,
    "pre_run": 3,
    "post_run": 3,
    "data_out": 1,  # nothing is to be copied: that the session is still the same is asked of the store
    "teardown": 3,
}
SIZES = [busy_hosts(0), busy_hosts(24), busy_hosts(24, 200), busy_hosts(600)]


def size(registry: Registry) -> str:
    return registry.name


@pytest.mark.parametrize("registry", SIZES, ids=size)
def test_a_call_and_its_steps_cost_the_same_in_every_cluster(registry: Registry) -> None:
    cluster, spent = CountedCluster(registry, FRONTEND), {}
    for function in (*POLLED, *TRANSACTIONS):
        about = () if function in POLLED else ("--token", "1", "--job", "/script")
        answer, spent[function] = cluster.ask("--function", function, *about, *MORE.get(function, ()), files=FILES)
        assert answer.rc == 0, answer
    assert spent == dict.fromkeys(POLLED, 0) | TRANSACTIONS


@pytest.mark.parametrize("registry", [busy_hosts(24), busy_hosts(240, 1000)], ids=size)
@pytest.mark.parametrize("function", POLLED)
def test_without_a_daemon_a_question_is_one_read(registry: Registry, function: str) -> None:
    answer, requests = ask_without_daemon(registry, FRONTEND, "--function", function)
    assert answer.rc == 0
    assert requests == {"range": 1}
