"""Compute nodes of a site in memory: mount, unmount, retries, and what is never reported as success."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dacc_core.sdk import AlreadyExists, HostUnreachable, InvalidRequest, Swap, Unavailable
from lustre_site import FSNAME, Site

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def made(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.create()
    return site


@pytest.fixture
def link(made: Site) -> str:
    return str(made.root / "mnt" / "7_job_private")


def path(site: Site) -> Path:
    return site.root / "mnt" / "7_job"


def test_every_node_mounts_with_one_call(made: Site) -> None:
    before = len(made.calls)

    done = made.mount("c0", "c1")

    assert (done.hosts, made.calls[before:]) == ({"c0": None, "c1": None}, [("mount", ("c0", "c1"))])
    assert made.commands("c0", "mount") == [f"mount -t lustre -o flock,noatime,nodev,nosuid 10.0.0.1@o2ib1:/dacc0001 {path(made)}"]


def test_mounting_twice_mounts_once(made: Site) -> None:
    made.mount("c0")
    made.mount("c0")

    assert len(made.commands("c0", "mount")) == 1


def test_private_directories_belong_to_the_owner_and_are_linked(made: Site, link: str) -> None:
    made.mount("c0", private=True, link=link, owner=1001, group=1002, mode=0o750)

    found = (path(made) / "private" / "c0").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (1001, 1002, 0o750)
    assert Path(link).readlink() == path(made) / "private" / "c0"


def test_unmount_removes_link_and_directory(made: Site, link: str) -> None:
    made.mount("c0", private=True, link=link)
    (path(made) / "private" / "c0").rmdir()  # of the filesystem, which in memory is the directory beneath
    (path(made) / "private").rmdir()

    done = made.unmount("c0", link=link)

    assert done.hosts == {"c0": None}
    assert not Path(link).is_symlink()
    assert not path(made).exists()


def test_unmounting_what_is_not_mounted_is_fine(made: Site) -> None:
    assert made.unmount("c0").hosts == {"c0": None}


def test_a_mount_that_is_busy_for_a_moment_is_tried_again(made: Site) -> None:
    # data-acc issue 119
    made.hosts["c0"].answers["mount -t lustre"] = [(16, "mount.lustre: busy"), (5, "Input/output error")]

    assert made.mount("c0").hosts == {"c0": None}
    assert len(made.commands("c0", "mount -t lustre")) == 3


def test_a_node_without_modules_is_named_and_the_others_mount(made: Site) -> None:
    made.hosts["c0"].answers["mount -t lustre"] = [(19, "No such device")] * 9

    done = made.mount("c0", "c1")

    assert done.hosts["c1"] is None
    assert "host c0: mount.lustre of 10.0.0.1@o2ib1:/dacc0001 failed with status 19" in str(done.hosts["c0"])
    assert len(made.commands("c0", "modprobe")) == 1


def test_a_node_that_lnet_does_not_reach_says_so_before_any_mount(made: Site) -> None:
    made.hosts["c0"].answers["lctl ping"] = [(1, "failed to ping 10.0.0.1@o2ib1: Input/output error")]

    error = made.mount("c0").hosts["c0"]

    assert "lctl ping 10.0.0.1@o2ib1 failed" in str(error)
    assert not made.commands("c0", "mount")


@pytest.mark.parametrize("source", ["10.0.0.1@o2ib1:/dacc0002", "10.0.0.1@o2ib1:/xdacc0001", "/dev/sda1"])
def test_something_else_at_the_path_is_never_taken_for_the_volume(made: Site, source: str) -> None:
    # data-acc looked for its path as a part of any line of /etc/mtab.
    made.hosts["c0"].table.append([str(path(made)), source, "lustre", "rw"])

    error = made.mount("c0").hosts["c0"]

    assert isinstance(error, AlreadyExists)
    assert isinstance(made.unmount("c0").hosts["c0"], AlreadyExists)


def test_a_path_that_merely_begins_alike_is_another(made: Site) -> None:
    made.hosts["c0"].table.append([f"{path(made)}2", f"10.0.0.1@o2ib1:/{FSNAME}", "lustre", "rw"])

    made.mount("c0")

    assert len(made.commands("c0", "mount")) == 1


def test_a_read_only_mount_is_bound_read_only_and_back(made: Site) -> None:
    made.mount("c0", read_only=True)
    made.mount("c0", read_only=False)

    assert [line.split()[2] for line in made.commands("c0", "mount -o")] == ["remount,bind,nodev,nosuid,ro", "remount,bind,nodev,nosuid,rw"]


def test_what_stays_busy_is_taken_out_of_sight_and_reported(made: Site) -> None:
    made.mount("c0")
    made.hosts["c0"].answers[f"umount {path(made)}"] = [(32, "target is busy")] * 9
    made.hosts["c0"].answers["umount -f"] = [(32, "target is busy")] * 9

    error = made.unmount("c0").hosts["c0"]

    assert isinstance(error, Unavailable)
    assert "the node is dirty" in str(error)
    assert made.commands("c0", "umount -l")


def test_a_dirty_node_stays_dirty_until_the_kernel_has_let_go(made: Site) -> None:
    made.mount("c0")
    node = made.hosts["c0"]
    node.answers[f"umount {path(made)}"] = [(32, "target is busy")] * 9
    node.answers["umount -f"] = [(32, "target is busy")] * 9
    made.unmount("c0")
    play = node._lctl
    node._lctl = lambda words: (0, f"  5 UP lov {FSNAME}-clilov-ffff 7 3\n", "") if words == ["dl"] else play(words)  # type: ignore[method-assign]

    again = made.unmount("c0").hosts["c0"]
    node._lctl = play  # type: ignore[method-assign]

    assert "dirty" in str(again)
    assert made.unmount("c0").hosts["c0"] is None


def test_who_holds_the_mount_is_ended_and_nobody_else(made: Site) -> None:
    made.mount("c0")
    beside = made.root / "mnt" / "7_job2"
    beside.mkdir()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", stubborn], cwd=path(made), stdout=subprocess.PIPE)
    other = subprocess.Popen([sys.executable, "-c", "print(flush=True); import time; time.sleep(600)"], cwd=beside, stdout=subprocess.PIPE)
    try:
        for one in (holder, other):
            assert one.stdout
            one.stdout.readline()
        made.provider = Site(made.root / "other", {"unmount_seconds": 2.0}).provider
        made.hosts["c0"].answers[f"umount {path(made)}"] = [(32, "target is busy")]

        error = made.unmount("c0").hosts["c0"]

        assert error is None
        assert holder.wait(timeout=10) < 0
        assert other.poll() is None
    finally:
        for one in (holder, other):
            one.kill()
            one.communicate()


def test_a_dead_node_is_evicted_and_still_an_error(made: Site) -> None:
    made.mount("c0", "c1")
    made.unreachable.add("c1")
    made.addresses["c1"] = "10.0.0.4"

    done = made.unmount("c0", "c1")

    assert done.hosts["c0"] is None
    assert isinstance(done.hosts["c1"], HostUnreachable)
    assert "its Lustre client was evicted (10.0.0.4@o2ib1)" in str(done.hosts["c1"])
    assert f"lctl set_param mdt.{FSNAME}-MDT*.evict_client=nid:10.0.0.4@o2ib1" in made.commands("b0", "lctl set_param mdt")


def test_with_root_squash_a_storage_host_makes_the_private_directories(tmp_path: Path, link: str) -> None:
    site = Site(tmp_path / "squashed", {"root_squash": "65534:65534"})
    site.create()

    site.mount("c0", "c1", private=True)

    assert [verb for verb, _ in site.calls[-2:]] == ["private", "mount"]
    with pytest.raises(InvalidRequest, match="swap needs root"):
        site.provider.swap_on(Swap(context=site.context(), volume=site.volume, state=site.state, hosts=("c0",), path="/mnt/x", size=1))
    assert not site.provider.capabilities.swap


@pytest.mark.parametrize("host", ["c0;reboot", "-c0", "c0 c1", "$(reboot)", ""])
def test_hostile_names_of_hosts_reach_no_command(made: Site, host: str) -> None:
    with pytest.raises(InvalidRequest, match="host name"):
        made.mount(host)


@pytest.mark.parametrize("where", ["relative", "/", "/mnt/../etc", "/mnt/dac/", "/mnt//dac"])
def test_paths_that_are_not_plain_are_refused(made: Site, where: str) -> None:
    with pytest.raises(InvalidRequest, match="mount path"):
        made.mount("c0", path=where)


@pytest.mark.parametrize("name", ["$(touch x)", "; reboot", "`id`", "a b", "'", "-o", "nl\nx"])
def test_odd_paths_reach_programs_as_one_word(made: Site, name: str) -> None:
    where = str(made.root / "mnt" / name)

    made.mount("c0", path=where)

    assert made.hosts["c0"].ran[-1] != []
    assert [argv[-1] for argv in made.hosts["c0"].ran if argv[0] == "mount"] == [where]


def test_a_mount_after_a_reboot_of_the_servers_needs_a_restore(made: Site) -> None:
    for host in ("b0", "b1"):
        made.hosts[host].power_off()
        made.hosts[host].power_on()

    assert all(isinstance(error, Unavailable) for error in made.mount("c0", "c1").hosts.values())
    assert made.running() == []
    made.provider.restore(made.whole())

    assert made.mount("c0", "c1").hosts == {"c0": None, "c1": None}
    assert len(made.running()) == 6


def test_a_mount_that_fails_for_another_reason_is_not_tried_once_more(made: Site) -> None:
    made.hosts["c0"].answers["mount -t lustre"] = [(110, "timed out")] * 9

    done = made.mount("c0", "c1")

    assert done.hosts["c1"] is None
    assert [verb for verb, hosts in made.calls if verb == "mount"] == ["mount"]
    assert len(made.commands("c0", "mount -t lustre")) == 3
