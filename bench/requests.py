"""How many keystore requests a call makes: the same number however large the cluster is."""

from __future__ import annotations

from collections.abc import Iterator

from fakewarp.frontend import FRONTEND
from tests.support.counting import CountedCluster, ask_without_daemon, busy_hosts
from tests.support.registries import Registry

from .baselines import REQUESTS
from .rows import Row
from .site import LIFECYCLE, CallFailed
from .verbs import POLLED

SCRIPT = "#!/bin/sh\n#DW jobdw capacity=150 access_mode=striped\n"
FILES = {"job": SCRIPT, "nodehostnamefile": "c1\n"}
MORE = {
    "setup": ("--user", "1000", "--groupid", "1000", "--capacity", "default:200"),
    "paths": ("--pathfile", "/path"),
    "pre_run": ("--nodehostnamefile", "/nodes"),
}
SMALL, LARGE = busy_hosts(24, 10), busy_hosts(240, 10)


def measure(*, quick: bool) -> Iterator[Row]:
    """A row for each verb: its requests at the larger cluster, and the ratio to those at the smaller one."""
    small, large = _through_dacd(SMALL), _through_dacd(LARGE)
    for function, requests in large.items():
        yield _row(function, small[function], requests)
    for function in POLLED:
        yield _row(f"{function} without dacd", _alone(SMALL, function), _alone(LARGE, function))


def _through_dacd(registry: Registry) -> dict[str, int]:
    cluster = CountedCluster(registry, FRONTEND)
    return {function: _ask(cluster, function) for function in (*POLLED, *LIFECYCLE)}


def _ask(cluster: CountedCluster, function: str) -> int:
    answer, requests = cluster.ask("--function", function, *_arguments(function), files=FILES)
    if answer.rc:
        raise CallFailed(answer.stdout)
    return requests


def _arguments(function: str) -> tuple[str, ...]:
    return () if function in POLLED else ("--token", "1", "--job", "/script", *MORE.get(function, ()))


def _alone(registry: Registry, function: str) -> int:
    return ask_without_daemon(registry, FRONTEND, "--function", function)[1].total()


def _row(name: str, small: int, large: int) -> Row:
    return Row(REQUESTS, name, large, "", large / small if small else float(large == small), "24 hosts")
