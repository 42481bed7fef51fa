"""A volume's life on two storage hosts with two bricks each and two compute nodes."""

from __future__ import annotations

import pytest
from dacc_core.sdk import Busy, NoSpace

from .conftest import JOB, LEAST, MIB, NODES, UID, Site

WELL = dict.fromkeys(NODES)


def test_two_nodes_share_a_directory_whose_files_are_on_all_bricks(site: Site) -> None:
    volume = site.volume()
    site.create(volume)
    assert site.mount(volume).hosts == WELL
    for number in range(40):
        site.write("c1", f"{JOB}/global/file{number}", f"text {number}")
    assert site.on("c2", "cat", f"{JOB}/global/file7") == "text 7"
    assert len(site.on("c2", "ls", f"{JOB}/global").split()) == 40
    places = [("dac1", 0), ("dac1", 1), ("dac2", 2), ("dac2", 3)]
    held = [
        site.on(host, "ls", f"{site.provider.settings.brick_root}/{volume.name}/{number}/brick/global").split() for host, number in places
    ]
    assert sum(map(len, held)) == 40
    assert all(held)
    assert site.unmount(volume).hosts == WELL
    site.delete(volume)
    assert site.left() == []


def test_every_call_can_be_made_twice(site: Site) -> None:
    volume = site.volume()
    first = site.create(volume)
    assert site.mount(volume, private=True, link=f"{JOB}_private").hosts == WELL
    site.write("c1", f"{JOB}/global/kept", "42")
    assert site.create(volume) == first
    assert site.mount(volume, private=True, link=f"{JOB}_private").hosts == WELL
    assert site.on("c2", "cat", f"{JOB}/global/kept") == "42"
    assert len(site.mounts("c1", JOB)) == 1
    site.provider.restore(site.about(volume))
    site.provider.restore(site.about(volume))
    for _ in range(2):
        assert site.unmount(volume, link=f"{JOB}_private").hosts == WELL
    for _ in range(2):
        site.delete(volume)
    assert site.left() == []


def test_the_directory_is_the_owners_and_mounts_allow_no_devices_and_no_setuid(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    site.mount(volume, ["c1"])
    assert site.on("c1", "stat", "-c", "%u %a", f"{JOB}/global").split() == [str(UID), "700"]
    assert site.on("c1", "stat", "-c", "%u %a", JOB).split() == ["0", "755"]
    options = site.on("c1", "findmnt", "-no", "OPTIONS", JOB)
    assert "nosuid" in options
    assert "nodev" in options
    assert not site.exists("c2", JOB)


def test_each_node_has_a_private_directory_behind_one_link(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    assert site.mount(volume, private=True, link=f"{JOB}_private").hosts == WELL
    for node in NODES:
        site.write(node, f"{JOB}_private/mine", node)
    assert site.on("c1", "cat", f"{JOB}/private/c2/mine") == "c2"
    assert site.on("c2", "cat", f"{JOB}_private/mine") == "c2"
    assert site.on("c1", "stat", "-c", "%u %a", f"{JOB}/private/c1").split() == [str(UID), "700"]
    assert site.unmount(volume, link=f"{JOB}_private").hosts == WELL
    assert not site.exists("c1", f"{JOB}_private")
    assert not site.exists("c1", JOB)


def test_a_full_brick_refuses_more(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    assert site.create(volume).capacity >= LEAST
    site.mount(volume, ["c1"])
    said = site.on("c1", "dd", "if=/dev/zero", f"of={JOB}/global/big", "bs=1M", f"count={600}", check=False)
    assert "No space left on device" in said
    usage = site.provider.usage(site.about(volume))
    assert usage["used"] > LEAST - MIB


def test_usage_follows_what_is_written_and_removed(site: Site) -> None:
    volume = site.volume()
    made = site.create(volume)
    site.mount(volume, ["c1"])
    empty = site.provider.usage(site.about(volume))
    assert empty["capacity"] == made.capacity
    assert empty["used"] < 4 * MIB
    site.on("c1", "dd", "if=/dev/zero", f"of={JOB}/global/some", "bs=1M", "count=64", "conv=fsync")
    assert 64 * MIB <= site.provider.usage(site.about(volume))["used"] < 72 * MIB
    site.on("c1", "rm", f"{JOB}/global/some")
    assert site.provider.usage(site.about(volume))["used"] < 8 * MIB


def test_bricks_that_are_too_small_are_refused(site: Site) -> None:
    volume = site.volume("dac1", capacity=2 * 512 * MIB)
    with pytest.raises(
        NoSpace, match=r"host dac1: brick /dev/loop\d+ has room for \d+ bytes and \d+ are needed: lower the pool's granularity"
    ):
        site.create(volume)
    site.delete(volume)
    assert site.left() == []


def test_a_persistent_volume_keeps_its_data_between_jobs_at_paths_of_theirs(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    for job, node in (("7", "c1"), ("8", "c2")):
        path = f"/mnt/dac/{job}_persistent_climate"
        assert site.mount(volume, [node], path).hosts == {node: None}
        site.write(node, f"{path}/global/{job}", "")
    assert site.unmount(volume, ["c1"], "/mnt/dac/7_persistent_climate").hosts == {"c1": None}
    assert site.on("c2", "ls", "/mnt/dac/8_persistent_climate/global").split() == ["7", "8"]
    assert site.unmount(volume, ["c2"], "/mnt/dac/8_persistent_climate").hosts == {"c2": None}


def test_a_read_only_mount_refuses_writes_and_can_become_writable(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    assert site.mount(volume, ["c1"], read_only=True).hosts == {"c1": None}
    assert "Read-only file system" in site.on("c1", "touch", f"{JOB}/global/x", check=False)
    assert site.mount(volume, ["c1"]).hosts == {"c1": None}
    site.on("c1", "touch", f"{JOB}/global/x")


def test_a_path_with_a_link_above_it_is_one_mount(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    site.on("c1", "ln", "-sfT", "/mnt", "/run/linked")
    path = "/run/linked/dac/9_job"
    for _ in range(2):
        assert site.mount(volume, ["c1"], path).hosts == {"c1": None}
    assert site.mounts("c1", "9_job") == ["/mnt/dac/9_job"]
    assert site.unmount(volume, ["c1"], path).hosts == {"c1": None}
    assert site.mounts("c1", "9_job") == []


def test_a_mount_in_use_is_not_reported_as_unmounted(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    site.mount(volume)
    with site.working("c1", f"{JOB}/global") as pid:
        result = site.unmount(volume).hosts
        assert isinstance(result["c1"], Busy)
        assert str(pid) in str(result["c1"])
        assert result["c2"] is None
        assert site.mounts("c1", JOB) == [JOB]
    assert site.unmount(volume).hosts == WELL


def test_a_copying_host_mounts_where_only_root_may_enter(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    path = "/run/movers/7/volume"
    assert site.mount(volume, ["dac2"], path, role="mover").hosts == {"dac2": None}
    assert site.on("dac2", "stat", "-c", "%u %a", "/run/movers/7").split() == ["0", "700"]
    assert site.exists("dac2", f"{path}/global")
    assert site.unmount(volume, ["dac2"], path, role="mover").hosts == {"dac2": None}
    assert site.mounts("dac2", path) == []
