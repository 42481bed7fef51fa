"""Real etcd clusters, proxies before them, and stores that are closed at the end of a test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import etcd
from tests.support.etcd import EtcdCluster
from tests.support.proxy import Proxy
from tests.support.requirements import require

if TYPE_CHECKING:
    from dacc_core.keystore.etcd.store import EtcdKeystore

    from .network import NetworkSite

# A leader is missed soon, so that tests of its loss do not take long.
QUICK = ("--heartbeat-interval=50", "--election-timeout=500")
MakeProxy = Callable[..., Proxy]
Open = Callable[..., "EtcdKeystore"]


@pytest.fixture(scope="session", autouse=True)
def needed() -> None:
    words = etcd.lacking()
    require(not words, words)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """One etcd for the tests of a module."""
    with EtcdCluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
def single(running: EtcdCluster) -> EtcdCluster:
    """One etcd, empty."""
    running.empty()
    return running


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Three members for the tests of a module."""
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), size=3, flags=QUICK) as cluster:
        yield cluster


@pytest.fixture
def cluster(three: EtcdCluster) -> Iterator[EtcdCluster]:
    """Three members, empty; they may be stopped and killed, and are well again afterwards."""
    three.empty()
    yield three
    for number, member in enumerate(three.members):
        if member.process is None:
            three.launch(number)
        member.signal(signal.SIGCONT)
    for number in range(three.size):
        three.await_member(number)


@pytest.fixture
def proxy() -> Iterator[MakeProxy]:
    """Make proxies before members."""
    made: list[Proxy] = []

    def make(cluster: EtcdCluster, member: int = 0) -> Proxy:
        made.append(Proxy(cluster.members[member].client_port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def open_store() -> Iterator[Open]:
    """Open stores: ``open_store(endpoint, …, cacert=…, user=…)``. The first endpoint is called first."""
    from dacc_core.keystore.etcd.access import EtcdAccess
    from dacc_core.keystore.etcd.store import EtcdKeystore

    made: list[EtcdKeystore] = []

    def open_(*endpoints: str, **access: str) -> EtcdKeystore:
        made.append(EtcdKeystore(EtcdAccess(endpoints, **access), first=0))
        return made[-1]

    yield open_
    for store in made:
        store.close()


@pytest.fixture
def store(single: EtcdCluster, open_store: Open) -> EtcdKeystore:
    """A store on one etcd."""
    return open_store(*single.endpoints)


@pytest.fixture(scope="module")
def network() -> Iterator[NetworkSite]:
    """A site whose machines have networks of their own. When it is closed, nothing of it may be left."""
    fits = os.geteuid() == 0 and Path("/dev/loop-control").exists()
    require(fits, "root and loop devices, for hosts with networks and mounts of their own")
    require(Path("/usr/sbin/sshd").exists(), "sshd (Debian: openssh-server)")
    from .network import NetworkSite

    site = NetworkSite()
    try:
        yield site.open()
    finally:
        site.close()
