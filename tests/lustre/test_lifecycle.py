"""Lives of Lustre volumes on hosts with real disks, ssh and mounts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dacc_core.sdk import DaccError, HostUnreachable

from .cluster import LustreCluster, end
from .conftest import OpenCluster
from .lustre_site import FSNAME, MIB, PATH, Lost, Volumes, reached

pytestmark = pytest.mark.long

CREATE_CALLS = 8


@pytest.fixture(scope="module")
def cluster(open_cluster: OpenCluster) -> LustreCluster:
    """Two storage hosts whose bricks are prepared, and two clients."""
    made = open_cluster(storage={"dac1": 2, "dac2": 2}, clients=["c1", "c2"], brick_size=256 * MIB)
    Volumes(made).prepare()
    made.forget_commands()
    return made


@pytest.fixture
def volume(cluster: LustreCluster) -> Iterator[Volumes]:
    """A volume that is not made yet. Afterwards every host is well, and delete leaves nothing of it."""
    made = Volumes(cluster, settings={"unmount_seconds": 10.0, "mount_seconds": 10.0})
    yield made
    cluster.recover()
    made.dies_at = 0
    made.unmount(*cluster.clients)
    made.delete()
    made.assert_gone()


@pytest.fixture
def mounted(volume: Volumes) -> Volumes:
    volume.create()
    assert reached(volume.mount("c1", "c2")) == ["c1", "c2"]
    return volume


def fill(cluster: LustreCluster, host: str) -> str:
    """What dd says when it has filled a mount."""
    return cluster.run(host, ["dd", "if=/dev/zero", f"of={PATH}/global/large", "bs=1M"]).stderr


def test_what_one_node_writes_another_reads(mounted: Volumes) -> None:
    mounted.cluster.check("c1", "sh", "-c", f"echo hello > {PATH}/global/file")
    assert mounted.cluster.check("c2", "cat", f"{PATH}/global/file") == "hello\n"


def test_a_volume_is_full_at_its_capacity(mounted: Volumes) -> None:
    assert "No space left on device" in fill(mounted.cluster, "c1")


def test_delete_leaves_bricks_clean_and_the_mgs_without_logs(mounted: Volumes) -> None:
    """D7: data-acc leaves labels on bricks and logs on the MGS."""
    mounted.unmount("c1", "c2")
    mounted.delete()
    mounted.assert_gone()


def test_bricks_are_partitioned_once(mounted: Volumes) -> None:
    """D4, D8: partitions that come and go with each job were data-acc's worst trouble."""
    assert not [argv for host in mounted.cluster.storage for argv in mounted.cluster.commands(host) if argv[0] == "parted"]


@pytest.mark.parametrize("call", range(1, CREATE_CALLS + 1))
def test_a_coordinator_that_dies_before_a_call_of_create_is_replaced(volume: Volumes, call: int) -> None:
    volume.dies_at = call
    with pytest.raises(Lost):
        volume.create()
    assert volume.create() > 0
    assert reached(volume.mount("c1")) == ["c1"]


@pytest.mark.parametrize("call", [1, 3, 5, CREATE_CALLS])
def test_what_a_dead_coordinator_began_can_be_deleted(volume: Volumes, call: int) -> None:
    """D12: a session that lost a race could never be deleted."""
    volume.dies_at = call
    with pytest.raises(Lost):
        volume.create()
    volume.delete()
    volume.assert_gone()


@pytest.mark.parametrize("call", range(1, 5))
def test_a_delete_that_was_cut_short_is_ended_by_another(volume: Volumes, call: int) -> None:
    volume.create()
    volume.dies_at = call
    with pytest.raises(Lost):
        volume.delete()
    volume.delete()
    volume.assert_gone()


@pytest.mark.parametrize("command", ["wipefs", "mkfs.lustre", "mount.lustre"])
def test_a_storage_host_that_dies_in_a_phase_of_create_can_be_used_again(volume: Volumes, command: str) -> None:
    killer = volume.cluster.kill_in("dac2", command)
    with pytest.raises(DaccError):
        volume.create()
    killer.join()
    volume.cluster.recover()
    assert volume.create() > 0


def test_volumes_outlive_a_restart_of_their_hosts(mounted: Volumes) -> None:
    mounted.cluster.check("c1", "sh", "-c", f"echo hello > {PATH}/global/file")
    mounted.unmount("c1", "c2")
    for host in mounted.cluster.storage:
        mounted.cluster.kill(host)
    mounted.cluster.boot(*mounted.cluster.storage)
    mounted.restore()
    assert reached(mounted.mount("c2")) == ["c2"]
    assert mounted.cluster.check("c2", "cat", f"{PATH}/global/file") == "hello\n"


def test_a_dead_node_does_not_keep_others_from_unmounting(mounted: Volumes) -> None:
    mounted.cluster.kill("c1")
    results = mounted.unmount("c1", "c2")
    assert reached(results) == ["c2"]
    assert isinstance(results.hosts["c1"], HostUnreachable)
    mounted.delete()
    mounted.assert_gone()


def test_a_node_that_hangs_does_not_keep_others_from_mounting(volume: Volumes) -> None:
    volume.create()
    volume.cluster.hang("c1", "mount.lustre")
    assert reached(volume.mount("c1", "c2")) == ["c2"]


def test_a_process_that_holds_the_mount_is_ended(mounted: Volumes) -> None:
    holder = mounted.cluster.spawn("c1", ["sh", "-c", f"cd {PATH}/global && exec sleep 600"])
    try:
        mounted.cluster.check("c1", "sh", "-c", f"until readlink /proc/[0-9]*/cwd | grep -q ^{PATH}; do sleep 0.01; done")
        assert reached(mounted.unmount("c1", "c2")) == ["c1", "c2"]
    finally:
        end(holder)


def test_a_brick_that_mkfs_fails_on_is_named(volume: Volumes) -> None:
    volume.cluster.knob("dac2", "mkfs.lustre", rc=5, stderr="mkfs.lustre FATAL: mkfs failed 5\n")
    with pytest.raises(DaccError, match="dac2"):
        volume.create()


def test_a_full_mdt_is_told(volume: Volumes) -> None:
    volume.cluster.knob("dac1", "lfs", rc=28, stderr="lfs: No space left on device\n", match="setstripe")
    with pytest.raises(DaccError, match="No space left on device"):
        volume.create()


def test_d5_a_mount_that_is_busy_for_a_moment_is_tried_again(volume: Volumes) -> None:
    volume.create()
    volume.cluster.knob("c1", "mount.lustre", rc=16, stderr="mount.lustre: failed: Device or resource busy\n", times=1)
    assert reached(volume.mount("c1")) == ["c1"]


def test_d3_what_else_is_mounted_there_is_not_taken_for_the_volume(volume: Volumes) -> None:
    volume.create()
    volume.cluster.check("c1", "mkdir", "-p", PATH)
    volume.cluster.check("c1", "mount", "-t", "tmpfs", "other", PATH)
    assert reached(volume.mount("c1", "c2")) == ["c2"]
    volume.cluster.check("c1", "umount", PATH)


def test_d3_a_job_whose_number_begins_anothers_is_not_taken_for_it(mounted: Volumes) -> None:
    assert reached(mounted.mount("c1", path="/mnt/dacc/7")) == ["c1"]
    assert mounted.cluster.run("c1", ["findmnt", "/mnt/dacc/7"]).stdout
    assert reached(mounted.unmount("c1", path="/mnt/dacc/7")) == ["c1"]


def test_d4_a_brick_whose_node_is_gone_is_never_written_to_as_a_file(volume: Volumes) -> None:
    device = volume.cluster.bricks["dac2"][0]
    gone = f"{device}p1 {device}p2 {device}p3"
    volume.cluster.check("dac2", "sh", "-c", f"rm -f {gone}")
    with pytest.raises(DaccError, match="dac2"):
        volume.create()
    assert volume.cluster.run("dac2", ["sh", "-c", f"ls {gone}"]).stdout == ""
    volume.cluster.check("dac2", "partprobe", device)


def test_the_same_volume_made_twice_at_once_is_made_once(volume: Volumes) -> None:
    twin = Volumes(volume.cluster)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(one.create) for one in (volume, twin)]
    assert [one.result() > 0 for one in both if one.exception() is None], [one.exception() for one in both]
    assert volume.create() > 0
    assert len(volume.running()) == 6


def test_two_volumes_with_the_same_primary_host_do_not_meet(volume: Volumes) -> None:
    volume.bricks = (("dac1", 0), ("dac2", 0))
    other = Volumes(volume.cluster, "dacc0002", (("dac1", 1), ("dac2", 1)), path="/mnt/dacc/8_job")
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda one: one.create(), (volume, other)))
    assert reached(volume.mount("c1")) == reached(other.mount("c1")) == ["c1"]
    volume.cluster.check("c1", "touch", f"{PATH}/global/file")
    assert volume.cluster.check("c1", "ls", "/mnt/dacc/8_job/global") == ""
    assert reached(other.unmount("c1")) == ["c1"]
    other.delete()
    other.assert_gone()
    assert len(volume.running()) == 4


def test_hostile_paths_reach_no_shell(volume: Volumes) -> None:
    volume.create()
    for name in ("a b", "a;touch x", "$(touch x)", "a'b\"c", "-rf", "ü"):
        volume.mount("c1", path=f"/mnt/dacc/{name}")
        volume.unmount("c1", path=f"/mnt/dacc/{name}")
    assert volume.cluster.run("c1", ["sh", "-c", "find /mnt /root /run -name x"]).stdout == ""
    assert FSNAME not in volume.cluster.run("c1", ["cat", "/proc/self/mounts"]).stdout
