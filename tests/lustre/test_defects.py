"""What data-acc did wrong, and what a storage host's death in the midst of a call leaves. More of the defects are in ``test_lifecycle``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dacc_core.sdk import DaccError, HostUnreachable, Unavailable

from .cluster import LustreCluster
from .conftest import OpenCluster
from .lustre_site import FSNAME, MIB, Volumes, reached

pytestmark = pytest.mark.long

PRIMARY = "dac1"
"""The host of the first brick: its MGT and MDT0000 are the volume's."""


@pytest.fixture(scope="module")
def cluster(open_cluster: OpenCluster) -> LustreCluster:
    made = open_cluster(storage={PRIMARY: 1, "dac2": 1}, clients=["c1"], brick_size=256 * MIB)
    Volumes(made).prepare()
    return made


@pytest.fixture
def volume(cluster: LustreCluster) -> Iterator[Volumes]:
    made = Volumes(cluster)
    yield made
    cluster.recover()
    made.unmount("c1")
    made.delete()
    made.assert_gone()


# --- hosts that die ---


@pytest.mark.parametrize(("command", "match"), [("lctl", "set_param -P"), ("lfs", "setstripe")], ids=["tune", "settle"])
def test_a_volume_whose_primary_host_died_while_it_was_set_up_is_made_in_the_end(volume: Volumes, command: str, match: str) -> None:
    killer = volume.cluster.kill_in(PRIMARY, command, match)
    with pytest.raises(HostUnreachable):
        volume.create()
    killer.join()
    volume.cluster.recover()
    assert volume.create() > 0
    assert reached(volume.mount("c1")) == ["c1"]


@pytest.mark.parametrize(("command", "match"), [("umount", "OST"), ("lctl", "lcfg_erase"), ("wipefs", "-a")], ids=["stop", "erase", "wipe"])
def test_a_volume_whose_primary_host_died_while_it_was_deleted_is_gone_in_the_end(volume: Volumes, command: str, match: str) -> None:
    volume.create()
    killer = volume.cluster.kill_in(PRIMARY, command, match)
    with pytest.raises(HostUnreachable):
        volume.delete()
    killer.join()
    volume.cluster.recover()
    volume.delete()
    volume.assert_gone()


# --- defects of data-acc ---


def test_d1_one_host_may_serve_the_mgt_of_all_volumes(open_cluster: OpenCluster) -> None:
    """data-acc handed the device on as a NID."""
    cluster = open_cluster(storage={"mgs1": 1, "dac1": 1}, clients=["c1"], brick_size=256 * MIB)
    volume = Volumes(cluster, bricks=(("dac1", 0),), settings={"mgs_host": "mgs1"})
    volume.prepare()
    volume.create()
    assert volume.logs() == ["mgs1"]
    assert reached(volume.mount("c1")) == ["c1"]
    assert cluster.check("c1", "findmnt", "-no", "SOURCE", volume.path).strip() == f"{cluster.nid('mgs1')}:/{FSNAME}"
    volume.unmount("c1")
    volume.delete()
    volume.assert_gone()


def test_d2_a_volume_with_more_hosts_than_mdts_has_mdts_all_the_same(volume: Volumes) -> None:
    """data-acc divided whole numbers and came to none for each host."""
    volume = Volumes(volume.cluster, settings={"max_mdts": 1})
    volume.create()
    assert [place.rpartition("/")[2] for place in volume.running()] == ["MDT0000", "OST0000", "OST0001"]
    assert reached(volume.mount("c1")) == ["c1"]
    volume.unmount("c1")
    volume.delete()


def test_d6_a_command_that_takes_too_long_is_ended_on_its_host(volume: Volumes) -> None:
    """data-acc ended its ssh, and tried again while mkfs still ran."""
    hasty = Volumes(volume.cluster, settings={"format_seconds": 3.0})
    volume.cluster.hang("dac2", "mkfs.lustre")
    with pytest.raises(Unavailable):
        hasty.create()
    assert volume.cluster.run("dac2", ["pgrep", "-f", "mkfs.lustre"]).stdout == ""
    volume.cluster.unknob()
    assert volume.create() > 0


def test_d9_what_is_no_mgt_is_not_taken_for_one(open_cluster: OpenCluster) -> None:
    """data-acc took any "previously formatted" for its MGS."""
    cluster = open_cluster(storage={"dac1": 1}, brick_size=256 * MIB)
    volume = Volumes(cluster)
    volume.prepare()
    (mgt,) = (part for part, label in cluster.labels("dac1").items() if label == "MGS")
    cluster.check("dac1", "e2label", mgt, "other-OST0000")
    with pytest.raises(DaccError, match="other-OST0000"):
        volume.create()
    assert cluster.labels("dac1") == {mgt: "other-OST0000"}
