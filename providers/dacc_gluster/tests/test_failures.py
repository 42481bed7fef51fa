"""What goes wrong, and what is still right then."""

from __future__ import annotations

import subprocess

import pytest
from dacc_core.sdk import AlreadyExists, Cancelled, HostUnreachable, Unavailable

from .conftest import JOB, NODES, STORAGE, Site


def test_a_bad_node_does_not_hide_the_others(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    result = site.mount(volume, ["c1", "nonesuch", "c2"]).hosts
    assert result["c1"] is None
    assert result["c2"] is None
    assert isinstance(result["nonesuch"], HostUnreachable)
    result = site.unmount(volume, ["c1", "nonesuch", "c2"]).hosts
    assert [host for host, error in result.items() if error is None] == ["c1", "c2"]


def test_a_node_that_something_else_is_mounted_on_is_refused_and_left_alone(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    site.on("c1", "mkdir", "-p", JOB)
    site.on("c1", "mount", "-t", "tmpfs", "other", JOB)
    try:
        result = site.mount(volume).hosts
        assert str(result["c1"]) == f"host c1: {JOB} is a mount of other: unmount that first"
        assert result["c2"] is None
        assert isinstance(result["c1"], AlreadyExists)
        assert isinstance(site.unmount(volume).hosts["c1"], AlreadyExists)
        assert site.mounts("c1", JOB) == [JOB]
    finally:
        site.on("c1", "umount", JOB)


def test_a_mount_whose_client_died_is_renewed(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    site.create(volume)
    site.mount(volume, ["c1"])
    site.write("c1", f"{JOB}/global/kept", "42")
    for pid in site.servers.processes("c1"):
        subprocess.run(["kill", "-9", str(pid)], check=True)
    assert "cannot open directory" in site.on("c1", "ls", JOB, check=False)
    assert site.mount(volume, ["c1"]).hosts == {"c1": None}
    assert site.on("c1", "cat", f"{JOB}/global/kept") == "42"
    for pid in site.servers.processes("c1"):
        subprocess.run(["kill", "-9", str(pid)], check=True)
    assert site.unmount(volume, ["c1"]).hosts == {"c1": None}


def test_a_rebooted_storage_host_serves_again_after_a_restore(site: Site) -> None:
    volume = site.volume()
    site.create(volume)
    site.mount(volume, ["c1"])
    for number in range(20):
        site.write("c1", f"{JOB}/global/{number}", str(number))
    site.servers.crash("dac2")
    site.restart("dac2")
    with pytest.raises(Unavailable, match=r"host dac2: .* is not mounted: restore volume"):
        site.provider.usage(site.about(volume))
    site.provider.restore(site.about(volume))
    assert site.mount(volume).hosts == dict.fromkeys(NODES)
    assert len(site.on("c2", "ls", f"{JOB}/global").split()) == 20
    assert site.on("c2", "sh", "-c", f"cat {JOB}/global/*").strip()
    site.unmount(volume)
    site.delete(volume)
    assert site.left() == []


def test_a_rebooted_storage_host_can_be_cleaned_without_a_restore(site: Site) -> None:
    volume = site.volume()
    site.create(volume)
    site.mount(volume)
    site.servers.crash("dac2")
    assert site.unmount(volume).hosts == dict.fromkeys(NODES)
    site.restart("dac2")
    site.delete(volume)
    assert site.left() == []


def test_a_restore_formats_nothing(site: Site) -> None:
    volume = site.volume("dac1", bricks=1)
    with pytest.raises(Unavailable, match=rf"does not hold volume {volume.name} but nothing"):
        site.provider.restore(site.about(volume))
    assert site.holds(volume.bricks[0].device) == ""


@pytest.mark.parametrize("label", ["theirs", "b0010000"], ids=["foreign", "another volume's"])
def test_a_brick_that_holds_something_is_not_formatted(site: Site, label: str) -> None:
    volume = site.volume()
    device = volume.bricks[3].device
    subprocess.run(["mkfs.xfs", "-q", "-f", "-K", "-L", label, device], check=True)
    try:
        before = site.holds(device)
        with pytest.raises(
            AlreadyExists, match=rf"host dac2: brick {device} holds .*{label}: if nobody needs it, clean the device with wipefs"
        ):
            site.create(volume)
        if label == "theirs":
            with pytest.raises(AlreadyExists, match=f"brick {device} holds xfs, labelled theirs"):
                site.delete(volume)
        else:
            site.delete(volume)  # the brick is in use by another session, so this one's volume is gone from there
        assert site.holds(device) == before
        assert not any(site.holds(brick.device) for brick in volume.bricks[:3])
    finally:
        subprocess.run(["wipefs", "-a", "-q", device], check=True)


def test_volumes_are_made_at_once_on_hosts_that_they_share(site: Site) -> None:
    first, second = site.volume(bricks=1, first=0), site.volume(bricks=1, first=1)
    site.together(site.create, [first, second])
    for volume in (first, second):
        site.mount(volume, ["c1"], f"/mnt/dac/{volume.name}")
        site.write("c1", f"/mnt/dac/{volume.name}/global/name", volume.name)
    assert site.on("c1", "cat", f"/mnt/dac/{first.name}/global/name") == first.name
    for volume in (first, second):
        site.unmount(volume, ["c1"], f"/mnt/dac/{volume.name}")
    site.together(site.delete, [first, second])
    assert site.left() == []


def test_hosts_join_one_pool_although_volumes_are_made_at_once(site: Site) -> None:
    for host in ("dac2", "dac3"):
        site.on("dac1", "gluster", "--mode=script", "peer", "detach", host, check=False)  # it may not have joined yet
    assert len(site.on("dac1", "gluster", "pool", "list").splitlines()) == 2
    volumes = [site.volume("dac2", bricks=1), site.volume("dac3", bricks=1), site.volume("dac2", "dac3", bricks=1, first=1)]
    site.together(site.create, volumes)
    assert set(site.known()) == {volume.name for volume in volumes}
    site.together(site.delete, volumes)
    assert site.left() == []


def test_one_volume_is_made_mounted_and_deleted_by_two_callers_at_once(site: Site) -> None:
    volume = site.volume()
    site.together(site.create, [volume, volume])
    site.together(lambda one: site.mount(one).check(), [volume, volume])
    assert len(site.mounts("c1", JOB)) == 1
    site.together(lambda one: site.unmount(one).check(), [volume, volume])
    site.together(site.delete, [volume, volume])
    assert site.left() == []


def test_a_glusterd_that_is_away_is_named(site: Site) -> None:
    volume = site.volume()
    site.servers.stop("dac2")
    try:
        with pytest.raises(Unavailable, match=r"host dac2: .*[Cc]onnection failed"):
            site.create(volume)
        with pytest.raises(Unavailable, match=r"host dac2: glusterd does not answer .*: start it with systemctl start glusterd"):
            site.check("dac2", *site.servers.devices["dac2"])
    finally:
        site.restart("dac2")
    site.create(volume)


def test_a_volume_is_deleted_while_the_glusterd_of_one_of_its_hosts_is_away(site: Site) -> None:
    volume = site.volume()
    site.create(volume)
    site.servers.stop("dac1")
    try:
        site.delete(volume)
        assert not any(site.holds(brick.device) for brick in volume.bricks)
    finally:
        site.servers.launch("dac1")
        site.servers.await_server("dac1")
    site.wait(lambda: "Connected" in site.on("dac1", "gluster", "peer", "status"), "dac1 finds its pool again")
    site.delete(volume)
    assert site.left() == []


def test_a_volume_is_deleted_while_a_host_of_the_pool_that_has_none_of_it_is_away(site: Site) -> None:
    wide = site.volume(*STORAGE)
    site.create(wide)  # now all three are in the pool
    site.delete(wide)
    volume = site.volume("dac1")
    site.create(volume)
    site.servers.stop("dac3")
    try:
        site.delete(volume)
        site.delete(volume)
        assert not any(site.holds(brick.device) for brick in volume.bricks)
        assert site.known() == [volume.name]  # gluster forgets it when all are back
    finally:
        site.restart("dac3")
    other = site.volume("dac2")
    site.create(other)
    site.delete(other)
    assert site.left() == []


def test_hosts_that_are_gone_are_left_alone_and_the_others_cleaned(site: Site) -> None:
    volume = site.volume()
    site.create(volume)
    site.servers.crash("dac2")
    try:
        site.delete(volume, gone=["dac2"])
        assert [bool(site.holds(brick.device)) for brick in volume.bricks] == [False, False, True, True]
        assert "dac2:" not in site.on("dac1", "gluster", "volume", "info", volume.name)  # so that the pool can detach it
    finally:
        site.restart("dac2")
        for brick in volume.bricks[2:]:
            subprocess.run(["wipefs", "-a", "-q", brick.device], check=True)


def test_a_call_that_is_cancelled_gives_no_command(site: Site) -> None:
    volume = site.volume()
    context = site.context(volume)
    context.cancel.cancel()
    with pytest.raises(Cancelled):
        site.create(volume, context=context)
    assert site.left() == []


def test_a_call_whose_deadline_has_passed_gives_no_command(site: Site) -> None:
    volume = site.volume()
    with pytest.raises(Unavailable):
        site.create(volume, context=site.context(volume, seconds=0.0))
    assert site.left() == []


def test_a_fit_host_passes_its_check(site: Site) -> None:
    site.check("dac1", *site.servers.devices["dac1"])


def test_a_host_without_the_device_fails_its_check(site: Site) -> None:
    with pytest.raises(Unavailable, match=r"^host dac1: brick /dev/nonesuch: No such file or directory$"):
        site.check("dac1", *site.servers.devices["dac1"], "/dev/nonesuch")


def test_a_directory_is_no_brick(site: Site) -> None:
    with pytest.raises(Unavailable, match=r"^host dac1: brick /tmp is no block device"):
        site.check("dac1", "/tmp")
