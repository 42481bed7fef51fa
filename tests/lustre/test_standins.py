"""The stand-ins answer as the table of Lustre's programs says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from .conftest import OpenCluster
from .filesystem import MIB, PLACE, ByHand
from .table import TABLE, Row

pytestmark = pytest.mark.long

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def by_hand(open_cluster: OpenCluster) -> ByHand:
    made = ByHand(open_cluster(storage={"dac1": 2, "dac2": 1}, clients=["c1"], brick_size=160 * MIB))
    made.partition()
    return made


@pytest.fixture
def fs(by_hand: ByHand) -> Iterator[ByHand]:
    """Partitions with nothing on them."""
    yield by_hand
    by_hand.reset()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.command}: {row.situation.replace('_', ' ')}")
def test_a_stand_in_answers_as_lustre_does_to(row: Row, fs: ByHand) -> None:
    done = SITUATIONS[row.situation](fs)
    said = done.stdout + done.stderr
    assert (done.returncode, row.gist.lower() in said.lower()) == (row.rc, True), said


def test_each_row_names_its_source() -> None:
    assert [row.situation for row in TABLE if ".c" not in row.source and "(2)" not in row.source] == []


def test_each_situation_is_a_row() -> None:
    assert sorted(SITUATIONS) == sorted(row.situation for row in TABLE)


# --- mkfs.lustre ---


def no_kind_of_target(fs: ByHand) -> Done:
    return mkfs(fs, "--fsname=fs1")


def an_ost_that_is_an_mdt_too(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--mdt", "--fsname=fs1", f"--mgsnode={fs.nid}")


def an_ost_without_an_mgs(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--fsname=fs1", "--index=0")


def a_target_without_a_filesystem(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--index=0", f"--mgsnode={fs.nid}")


def a_filesystem_name_of_nine_letters(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--fsname=ninechars", "--index=0", f"--mgsnode={fs.nid}")


def a_filesystem_name_with_a_dot(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--fsname=a.b", "--index=0", f"--mgsnode={fs.nid}")


def an_index_that_is_no_number(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--fsname=fs1", "--index=first", f"--mgsnode={fs.nid}")


def a_mounted_device(fs: ByHand) -> Done:
    fs.start_mgs()
    return fs.format("mgs", 0, "--reformat")


def a_formatted_device(fs: ByHand) -> Done:
    fs.format("ost")
    return fs.format("ost")


def a_formatted_device_that_may_be_reformatted(fs: ByHand) -> Done:
    fs.format("ost")
    return fs.format("ost", 0, "--reformat")


def a_dry_run(fs: ByHand) -> Done:
    done = fs.format("ost", 0, "--dryrun")
    assert fs.cluster.labels(fs.first) == {}
    return done


def a_device_of_sixteen_mebibytes(fs: ByHand) -> Done:
    fs.cluster.check(fs.first, "truncate", "-s", "16M", "/run/small")
    return fs.cluster.run(fs.first, ["mkfs.lustre", "--mgs", "/run/small"])


def a_device_whose_node_has_gone(fs: ByHand) -> Done:
    done = fs.cluster.run(fs.first, ["mkfs.lustre", "--mgs", "/dev/loop999p1"])
    assert fs.cluster.check(fs.first, "stat", "-c", "%F", "/dev/loop999p1").strip() == "regular file"
    fs.cluster.check(fs.first, "rm", "/dev/loop999p1")
    return done


def a_dataset_without_a_pool(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--backfstype=zfs", "--index=0", "--fsname=fs1", f"--mgsnode={fs.nid}", "ost")


def a_dataset_without_an_index(fs: ByHand) -> Done:
    return mkfs(fs, "--ost", "--backfstype=zfs", "--fsname=fs1", f"--mgsnode={fs.nid}", "pool/ost")


# --- mount.lustre ---


def a_dataset_whose_pool_is_not_imported(fs: ByHand) -> Done:
    return fs.cluster.run(fs.first, ["mount.lustre", "pool/ost", "/mnt"])


def a_device_that_is_not_formatted(fs: ByHand) -> Done:
    return fs.start("dacc-ost")


def a_mount_point_that_is_missing(fs: ByHand) -> Done:
    fs.format("mgs")
    return fs.cluster.run(fs.first, ["mount.lustre", fs.part("dacc-mgt"), "/run/missing"])


def a_new_target_while_no_mgs_runs(fs: ByHand) -> Done:
    fs.format("mdt")
    return fs.start("dacc-mdt")


def a_registered_target_while_no_mgs_runs(fs: ByHand) -> Done:
    fs.start_mgs()
    fs.start_mdt()
    fs.cluster.check(fs.first, "umount", "/run/targets/dacc-mdt-0", "/run/targets/dacc-mgt-0")
    return fs.start("dacc-mdt")


def a_target_a_second_time(fs: ByHand) -> Done:
    fs.start_mgs()
    return fs.start("dacc-mgt")


def a_target_at_a_second_place(fs: ByHand) -> Done:
    fs.start_mgs()
    return fs.start("dacc-mgt", place="/run/targets/other")


def a_second_mgs_on_a_host(fs: ByHand) -> Done:
    fs.start_mgs()
    fs.format("mgs", brick=1)
    return fs.start("dacc-mgt", brick=1)


def an_index_that_another_disk_has(fs: ByHand) -> Done:
    fs.start_all()
    fs.cluster.check("dac2", "umount", "/run/targets/dacc-ost-0")
    fs.format("ost", 0, "--reformat", host="dac2")
    return fs.start("dacc-ost", host="dac2")


def an_index_whose_logs_were_erased(fs: ByHand) -> Done:
    fs.start_all()
    fs.cluster.check("dac2", "umount", "/run/targets/dacc-ost-0")
    fs.format("ost", 0, "--reformat", host="dac2")
    fs.cluster.check(fs.first, "lctl", "lcfg_erase", fs.fsname)
    return fs.start("dacc-ost", host="dac2")


def a_client_where_no_ost_is_known(fs: ByHand) -> Done:
    fs.start_mgs()
    fs.start_mdt()
    return fs.mount("c1")


def a_client_of_an_unknown_filesystem(fs: ByHand) -> Done:
    fs.start_all()
    return fs.mount("c1", spec=f"{fs.nid}:/other")


def a_client_while_no_mgs_runs(fs: ByHand) -> Done:
    return fs.mount("c1")


def a_client_while_the_mgs_is_cut_off(fs: ByHand) -> Done:
    fs.start_all()
    fs.cluster.cut(fs.first)
    return fs.mount("c1")


def a_client_of_a_name_of_nine_letters(fs: ByHand) -> Done:
    return fs.mount("c1", spec=f"{fs.nid}:/ninechars")


def a_client_a_second_time(fs: ByHand) -> Done:
    fs.start_all()
    assert fs.mount("c1").returncode == 0
    return fs.mount("c1")


def a_client_with_an_unknown_host(fs: ByHand) -> Done:
    return fs.mount("c1", spec="nobody@o2ib1:/fs1")


def a_client_without_modules(fs: ByHand) -> Done:
    fs.start_all()
    fs.cluster.unload("c1")
    return fs.mount("c1")


# --- the others ---


def tuning_what_is_not_formatted(fs: ByHand) -> Done:
    return fs.cluster.run(fs.first, ["tunefs.lustre", fs.part("dacc-ost")])


def tuning_a_mounted_device(fs: ByHand) -> Done:
    fs.start_mgs()
    return fs.cluster.run(fs.first, ["tunefs.lustre", "--writeconf", fs.part("dacc-mgt")])


def erasing_logs_elsewhere_than_on_the_mgs(fs: ByHand) -> Done:
    fs.start_mgs()
    return fs.cluster.run("dac2", ["lctl", "lcfg_erase", "fs1"])


def setting_permanently_elsewhere_than_on_the_mgs(fs: ByHand) -> Done:
    return fs.cluster.run("c1", ["lctl", "set_param", "-P", "osc.fs1-*.max_dirty_mb=100"])


def an_unknown_parameter(fs: ByHand) -> Done:
    return fs.cluster.run("c1", ["lctl", "get_param", "no.such.parameter"])


def pinging_a_host_that_is_cut_off(fs: ByHand) -> Done:
    fs.cluster.cut("dac2")
    return fs.cluster.run("c1", ["lctl", "ping", fs.cluster.nid("dac2")])


def pinging_a_host_that_is_dead(fs: ByHand) -> Done:
    fs.cluster.kill("dac2")
    done = fs.cluster.run("c1", ["lctl", "ping", fs.cluster.nid("dac2")])
    fs.cluster.boot("dac2")
    return done


def nids_without_lnet(fs: ByHand) -> Done:
    fs.cluster.unload("c1")
    return fs.cluster.run("c1", ["lctl", "list_nids"])


def which_nodemap_a_nid_in_a_range_is_in(fs: ByHand) -> Done:
    fs.start_mgs()
    fs.cluster.check(fs.first, "lctl", "nodemap_add", "site")
    fs.cluster.check(fs.first, "lctl", "nodemap_add_range", "--name", "site", "--range", "10.78.0.[1-9]@o2ib1")
    return fs.cluster.run(fs.first, ["lctl", "nodemap_test_nid", "10.78.0.9@o2ib1"])


def which_nodemap_any_other_nid_is_in(fs: ByHand) -> Done:
    which_nodemap_a_nid_in_a_range_is_in(fs)
    return fs.cluster.run(fs.first, ["lctl", "nodemap_test_nid", "10.78.0.10@o2ib1"])


def which_nodemap_a_nid_is_in_where_no_server_runs(fs: ByHand) -> Done:
    return fs.cluster.run("c1", ["lctl", "nodemap_test_nid", "10.78.0.9@o2ib1"])


def adding_a_nodemap_that_there_is(fs: ByHand) -> Done:
    fs.start_mgs()
    fs.cluster.check(fs.first, "lctl", "nodemap_add", "site")
    return fs.cluster.run(fs.first, ["lctl", "nodemap_add", "site"])


def adding_a_nodemap_with_a_hyphen(fs: ByHand) -> Done:
    fs.start_mgs()
    return fs.cluster.run(fs.first, ["lctl", "nodemap_add", "my-site"])


def layouts_outside_of_lustre(fs: ByHand) -> Done:
    return fs.cluster.run("c1", ["lfs", "setstripe", "-c", "1", "/mnt"])


def unmounting_what_is_in_use(fs: ByHand) -> Done:
    fs.start_all()
    assert fs.mount("c1").returncode == 0
    return fs.cluster.run("c1", ["sh", "-c", f"cd {PLACE} && umount {PLACE}"])


# --- helping the situations ---


def mkfs(fs: ByHand, *words: str) -> Done:
    return fs.cluster.run(fs.first, ["mkfs.lustre", *words, fs.part("dacc-ost")])


SITUATIONS: dict[str, Callable[[ByHand], Done]] = {row.situation: globals()[row.situation] for row in TABLE}
