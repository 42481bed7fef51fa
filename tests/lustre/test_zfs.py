"""Volumes on ZFS, whose pools are real (zfs-fuse)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dacc_core.sdk import AlreadyExists, DaccError

from .conftest import OpenCluster
from .lustre_site import MIB, ON_ZFS, Lost, Volumes, reached

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def prepared(open_cluster: OpenCluster) -> Volumes:
    made = Volumes(open_cluster(storage={"dac1": 1, "dac2": 1}, clients=["c1", "c2"], brick_size=320 * MIB, zfs=True), settings=ON_ZFS)
    made.prepare()
    return made


@pytest.fixture
def volume(prepared: Volumes) -> Iterator[Volumes]:
    """Nothing is left of it, whatever a test did."""
    yield prepared
    prepared.dies_at = 0
    prepared.cluster.recover()
    prepared.unmount("c1", "c2")
    prepared.delete()
    prepared.assert_gone()
    assert pools(prepared) <= {"MGS"}


def pools(volume: Volumes) -> set[str]:
    """Pools that are imported on any host."""
    names = (volume.cluster.check(host, "zpool", "list", "-H", "-o", "name") for host in volume.cluster.storage)
    return {name for text in names for name in text.split() if name not in ("no", "pools", "available")}


def test_what_one_node_writes_another_reads(volume: Volumes) -> None:
    assert volume.create() >= volume.volume.capacity
    assert reached(volume.mount("c1", "c2")) == ["c1", "c2"]
    volume.cluster.check("c1", "sh", "-c", f"echo hello > {volume.path}/global/file")
    assert volume.cluster.check("c2", "cat", f"{volume.path}/global/file") == "hello\n"


def test_each_target_is_a_pool_by_its_name(volume: Volumes) -> None:
    volume.create()
    assert pools(volume) == {"MGS", "dacc0001-MDT0000", "dacc0001-MDT0001", "dacc0001-OST0000", "dacc0001-OST0001"}
    assert volume.labels() == sorted(pools(volume) - {"MGS"})


def test_volumes_outlive_a_restart_of_their_hosts(volume: Volumes) -> None:
    volume.create()
    volume.mount("c1")
    volume.cluster.check("c1", "sh", "-c", f"echo hello > {volume.path}/global/file")
    volume.unmount("c1")
    for host in volume.cluster.storage:
        volume.cluster.kill(host)
    volume.cluster.boot(*volume.cluster.storage)
    assert pools(volume) == set()
    volume.restore()
    assert reached(volume.mount("c1")) == ["c1"]
    assert volume.cluster.check("c1", "cat", f"{volume.path}/global/file") == "hello\n"


def test_a_pool_that_a_host_had_imported_comes_back_on_that_host_only(volume: Volumes) -> None:
    ost = volume.cluster.bricks["dac1"][0] + "p3"
    volume.cluster.check("dac1", "zpool", "create", "-f", "-O", "canmount=off", "others", ost)
    for host in volume.cluster.storage:
        volume.cluster.kill(host)
    volume.cluster.boot(*volume.cluster.storage)
    found = {host: volume.cluster.check(host, "zpool", "list", "-H", "-o", "name") for host in volume.cluster.storage}
    volume.cluster.check("dac1", "zpool", "export", "others")
    volume.cluster.check("dac1", "wipefs", "-a", ost)
    assert ("others" in found["dac1"], "others" in found["dac2"]) == (True, False)


@pytest.mark.parametrize("call", range(1, 9))
def test_a_coordinator_that_dies_before_a_call_of_create_is_replaced(volume: Volumes, call: int) -> None:
    volume.dies_at = call
    with pytest.raises(Lost):
        volume.create()
    volume.create()
    assert reached(volume.mount("c1")) == ["c1"]


@pytest.mark.parametrize("call", range(1, 8))
def test_a_delete_that_was_cut_short_is_ended_by_another(volume: Volumes, call: int) -> None:
    volume.create()
    volume.dies_at = call
    with pytest.raises(Lost):
        volume.delete()
    volume.delete()
    volume.assert_gone()


@pytest.mark.parametrize(
    ("command", "match"), [("mkfs.lustre", "--ost"), ("zpool", "export"), ("zpool", "import"), ("mount.lustre", "OST")]
)
def test_a_storage_host_that_dies_while_it_makes_or_starts_a_pool_can_be_used_again(volume: Volumes, command: str, match: str) -> None:
    killer = volume.cluster.kill_in("dac2", command, match)
    with pytest.raises(DaccError):
        volume.create()
    killer.join()
    volume.cluster.recover()
    assert volume.create() > 0


def test_a_pool_that_is_none_of_ours_is_left_alone(volume: Volumes) -> None:
    ost = volume.cluster.bricks["dac2"][0] + "p3"
    volume.cluster.check("dac2", "zpool", "create", "-f", "-O", "canmount=off", "others", ost)
    volume.cluster.check("dac2", "zpool", "export", "others")
    with pytest.raises(AlreadyExists, match="others"):
        volume.create()
    assert volume.cluster.labels("dac2")[ost] == "others"
    volume.cluster.check("dac2", "wipefs", "-a", ost)
