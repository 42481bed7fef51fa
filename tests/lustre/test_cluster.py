"""The cluster that tests of Lustre run on: what is real on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dacc_core.sdk import Command

from .cluster import LustreCluster, end
from .conftest import OpenCluster
from .filesystem import MIB, PLACE, ByHand

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def by_hand(open_cluster: OpenCluster) -> ByHand:
    made = ByHand(open_cluster(storage={"dac1": 2, "dac2": 1}, clients=["c1", "c2"], brick_size=160 * MIB))
    made.partition()
    return made


@pytest.fixture
def fs(by_hand: ByHand) -> Iterator[ByHand]:
    """A filesystem that both clients have mounted."""
    by_hand.start_all()
    for client in by_hand.cluster.clients:
        assert by_hand.mount(client).returncode == 0
    yield by_hand
    by_hand.reset()


@pytest.fixture
def cluster(fs: ByHand) -> LustreCluster:
    return fs.cluster


def test_what_one_client_writes_another_reads(cluster: LustreCluster) -> None:
    cluster.check("c1", "sh", "-c", f"echo hello > {PLACE}/file")
    assert cluster.check("c2", "cat", f"{PLACE}/file") == "hello\n"


def test_a_new_filesystem_is_empty(cluster: LustreCluster) -> None:
    assert cluster.check("c1", "ls", "-A", PLACE) == ""


def test_a_full_filesystem_is_full_for_all(cluster: LustreCluster) -> None:
    done = cluster.run("c1", ["dd", "if=/dev/zero", f"of={PLACE}/large", "bs=1M", "count=200"])
    assert "No space left on device" in done.stderr
    done = cluster.run("c2", ["dd", "if=/dev/zero", f"of={PLACE}/more", "bs=1M", "count=8"])
    assert "No space left on device" in done.stderr


def test_a_mount_in_use_is_busy_on_its_own_host_only(cluster: LustreCluster) -> None:
    holder = cluster.spawn("c1", ["sh", "-c", f"cd {PLACE} && exec sleep 60"])
    try:
        cluster.check("c1", "sh", "-c", f"until readlink /proc/[0-9]*/cwd | grep -qx {PLACE}; do sleep 0.01; done")
        assert cluster.run("c1", ["umount", PLACE]).returncode == 32
        assert cluster.run("c2", ["umount", PLACE]).returncode == 0
    finally:
        end(holder)


def test_findmnt_shows_lustre_by_the_nid(fs: ByHand) -> None:
    words = fs.cluster.check("c1", "findmnt", "-n", "-o", "FSTYPE,SOURCE", "--mountpoint", PLACE).split()
    assert words == ["lustre", f"{fs.nid}:/fs1"]


def test_mount_options_are_real(fs: ByHand) -> None:
    fs.cluster.check("c1", "umount", PLACE)
    assert fs.mount("c1", "ro,nodev,nosuid").returncode == 0
    assert "Read-only file system" in fs.cluster.run("c1", ["touch", f"{PLACE}/file"]).stderr
    fs.cluster.check("c2", "touch", f"{PLACE}/file")


def test_a_host_that_is_cut_off_comes_back(fs: ByHand) -> None:
    fs.cluster.cut("c1")
    assert fs.cluster.run("c1", ["lctl", "ping", fs.nid]).returncode == 1
    fs.cluster.mend("c1")
    fs.cluster.check("c1", "lctl", "ping", fs.nid)


def test_a_host_that_dies_loses_its_mounts_and_keeps_its_disks(fs: ByHand) -> None:
    fs.cluster.kill("dac2")
    assert "Cannot send after transport endpoint shutdown" in fs.cluster.run("c1", ["lfs", "check", "osts"]).stderr
    fs.cluster.boot("dac2")
    assert fs.cluster.run("dac2", ["findmnt", "-t", "lustre"]).stdout == ""
    assert list(fs.cluster.labels("dac2").values()) == ["fs1-OST0002"]
    assert fs.start("dacc-ost", host="dac2").returncode == 0
    fs.cluster.check("c1", "lfs", "check", "osts")


def test_an_evicted_client_finds_its_mount_dead(fs: ByHand) -> None:
    fs.cluster.check("c1", "touch", f"{PLACE}/file")
    fs.cluster.check(fs.first, "lctl", "set_param", f"mdt.fs1-MDT*.evict_client=nid:{fs.cluster.nid('c1')}")
    assert fs.cluster.run("c1", ["cat", f"{PLACE}/file"]).returncode != 0
    fs.cluster.check("c2", "cat", f"{PLACE}/file")
    fs.cluster.check("c1", "umount", PLACE)
    assert fs.mount("c1").returncode == 0


def test_clients_count_the_targets_that_answer(fs: ByHand) -> None:
    assert fs.cluster.check("c1", "lctl", "get_param", "-n", "lov.fs1-clilov-*.activeobd") == "3\n"
    fs.cluster.check("dac2", "umount", "/run/targets/dacc-ost-0")
    assert fs.cluster.check("c1", "lctl", "get_param", "-n", "lov.fs1-clilov-*.activeobd") == "2\n"


def test_an_mgs_keeps_parameters_until_they_are_deleted(fs: ByHand) -> None:
    fs.cluster.check(fs.first, "lctl", "set_param", "-P", "osc.fs1-*.max_dirty_mb=100")
    fs.cluster.check(fs.first, "lctl", "lcfg_erase", "fs1")
    assert fs.cluster.mgs(fs.first) == {"logs": {}, "params": {"osc.fs1-*.max_dirty_mb": "100"}}
    fs.cluster.check(fs.first, "lctl", "set_param", "-P", "-d", "osc.fs1-*.max_dirty_mb")
    assert fs.cluster.mgs(fs.first)["params"] == {}


def test_a_host_has_its_own_disks_only(cluster: LustreCluster) -> None:
    seen = [name for name in cluster.check("dac2", "ls", "/dev").split() if re.fullmatch(r"loop\d.*", name)]
    brick = Path(cluster.bricks["dac2"][0]).name
    assert seen == [brick, f"{brick}p1", f"{brick}p2", f"{brick}p3"]
    assert cluster.check("dac2", "readlink", "-f", "/dev/disk/by-id/nvme-dac2-0").strip() == f"/dev/{brick}"


def test_partitions_come_and_go_with_parted(cluster: LustreCluster) -> None:
    brick = cluster.bricks["dac1"][1]
    cluster.check("dac1", "umount", "/run/targets/dacc-ost-1")
    cluster.check("dac1", "parted", "-s", brick, "rm", "1")
    assert cluster.run("dac1", ["test", "-b", f"{brick}p1"]).returncode == 1
    cluster.check("dac1", "parted", "-s", brick, "mkpart", "dacc-mgt", "1MiB", "33MiB")
    assert "PART_ENTRY_NAME=dacc-mgt" in cluster.check("dac1", "blkid", "-p", "-o", "export", f"{brick}p1")


def test_a_knob_fails_a_command_once(cluster: LustreCluster) -> None:
    cluster.knob("c1", "lctl", rc=5, stderr="spoilt\n", match="list_nids", times=1)
    codes = [cluster.run("c1", ["lctl", *words]).returncode for words in (["dl"], ["list_nids"], ["list_nids"])]
    assert codes == [0, 5, 0]


def test_calls_are_logged_by_host(cluster: LustreCluster) -> None:
    cluster.forget_commands()
    cluster.check("c1", "lctl", "dl")
    assert (cluster.commands("c1"), cluster.commands("c2")) == ([["lctl", "dl"]], [])


def test_daccs_own_runner_reaches_all_hosts(cluster: LustreCluster) -> None:
    results = cluster.runner().run(cluster.hosts, Command(["hostname"]))
    assert [result.stdout.decode().strip() for result in results.values()] == cluster.hosts


def test_the_runner_sees_a_dead_host(cluster: LustreCluster) -> None:
    runner = cluster.runner()
    cluster.kill("c2")
    results = runner.run(["c1", "c2"], Command(["true"]))
    assert (results["c1"].error, results["c2"].error is None) == (None, False)
    cluster.boot("c2")


def test_nothing_is_left_of_a_cluster(tmp_path: Path) -> None:
    with LustreCluster(tmp_path / "cluster", {"dac1": 1}, ["c1"], brick_size=160 * MIB) as cluster:
        made = ByHand(cluster)
        made.partition()
        made.start_all()
        assert made.mount("c1").returncode == 0
        assert cluster.left() != []
    assert cluster.left() == []
    assert not cluster.directory.exists()


@pytest.mark.parametrize("word", ["plain", "two words", 'a "quoted" one', "a\\b", "two\nlines", "ü", ""])
def test_what_a_program_was_called_with_is_kept_to_the_letter(cluster: LustreCluster, word: str) -> None:
    assert cluster.run("c1", ["umount", "/no/such", word]).returncode != 0
    assert cluster.commands("c1")[-1] == ["umount", "/no/such", word]


def test_a_spoilt_program_fails_as_often_as_was_asked_for(cluster: LustreCluster) -> None:
    cluster.knob("c1", "umount", rc=7, stderr="no mood\n", match=PLACE, times=1)
    spoilt = cluster.run("c1", ["umount", PLACE])
    assert (spoilt.returncode, spoilt.stderr) == (7, "no mood\n")
    cluster.check("c1", "umount", PLACE)
    assert cluster.commands("c1")[-2:] == [["umount", PLACE], ["umount", PLACE]]
