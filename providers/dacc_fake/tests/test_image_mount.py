"""Backing image: mounts in the hosts' own namespaces, as root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import AlreadyExists, Busy, CancelToken, HostUnreachable, InvalidRequest, NotFound

if TYPE_CHECKING:
    from conftest import Site


@pytest.fixture
def made(image: Site) -> Iterator[Site]:
    """A volume that exists and is mounted nowhere."""
    image.create()
    yield image
    image.unmount("c1", "c2", link=image.link)
    image.delete()


def holder_on(site: Site, host: str, *argv: str) -> subprocess.Popen[bytes]:
    """A process on a host that stays."""
    return subprocess.Popen(["nsenter", f"--mount={site.mounts.parent}/ns/{host}", *argv])


def test_two_hosts_share_global(made: Site) -> None:
    made.mount("c1", "c2")

    made.on("c1", "touch", f"{made.path}/global/from-c1")

    assert made.on("c2", "ls", f"{made.path}/global") == "from-c1"


def test_mounts_of_two_hosts_at_once_share_one_loop_device(made: Site) -> None:
    made.mount("c1", "c2")

    assert made.attached() == [str(made.place(".img"))]


def test_each_host_has_its_private_directory_behind_the_link(made: Site) -> None:
    made.mount("c1", "c2", private=True, link=made.link)

    for host in ("c1", "c2"):
        made.on(host, "touch", f"{made.link}/only-{host}")

    assert made.on("c1", "ls", made.link) == "only-c1"
    assert made.on("c2", "readlink", made.link) == f"{made.path}/private/c2"


def test_private_directories_belong_to_the_owner(made: Site) -> None:
    made.mount("c1", private=True, link=made.link, owner=1234, group=4321)

    assert made.on("c1", "stat", "-c", "%u %g %a", f"{made.path}/private/c1") == "1234 4321 700"


def test_a_mode_that_the_owner_chose_survives_another_mount(made: Site) -> None:
    made.mount("c1", private=True, link=made.link, owner=1234, group=4321)
    made.on("c1", "chmod", "711", f"{made.path}/private/c1")

    made.mount("c1", private=True, link=made.link, owner=1234, group=4321)

    assert made.on("c1", "stat", "-c", "%a", f"{made.path}/private/c1") == "711"


def test_mounts_are_nodev_and_nosuid(made: Site) -> None:
    made.mount("c1")

    options = made.on("c1", "findmnt", "-n", "-o", "OPTIONS", made.path).split(",")

    assert {"nodev", "nosuid", "rw"} <= set(options)


def test_mount_ten_times_is_one_mount(made: Site) -> None:
    for _ in range(10):
        assert not made.mount("c1", private=True, link=made.link).failed

    assert made.on("c1", "findmnt", "-n", "-o", "TARGET", made.path) == made.path


def test_unmount_ten_times(made: Site) -> None:
    made.mount("c1")

    for _ in range(10):
        assert not made.unmount("c1").failed

    assert not made.mounted("c1")


def test_unmount_removes_directory_and_link(made: Site) -> None:
    made.mount("c1", private=True, link=made.link)

    made.unmount("c1", link=made.link)

    assert made.on("c1", "ls", str(made.mounts)) == ""


def test_unmount_leaves_the_other_host_alone(made: Site) -> None:
    made.mount("c1", "c2")

    made.unmount("c1")

    assert made.mounted("c2")
    assert not made.mounted("c1")


def test_unmount_of_what_was_never_mounted(made: Site) -> None:
    assert made.unmount("c1", "c2", link=made.link).hosts == {"c1": None, "c2": None}


def test_a_link_that_leads_elsewhere_is_left_alone(made: Site) -> None:
    made.on("c1", "ln", "-s", "/etc", made.link)

    assert not made.unmount("c1", link=made.link).failed

    assert made.on("c1", "readlink", made.link) == "/etc"
    made.on("c1", "rm", made.link)


def test_a_link_in_the_way_is_an_error_that_names_it(made: Site) -> None:
    made.on("c1", "ln", "-s", "/etc", made.link)

    error = made.mount("c1", private=True, link=made.link).hosts["c1"]

    made.on("c1", "rm", made.link)
    assert isinstance(error, AlreadyExists)
    assert f"host c1: {made.link} is in the way" in str(error)


def test_job1_is_not_taken_for_job12(made: Site) -> None:
    longer = made.path.replace("7_job", "72_job")
    made.mount("c1", path=longer)

    made.mount("c1")
    made.unmount("c1")

    assert made.mounted("c1", longer)
    made.unmount("c1", path=longer)


def test_another_filesystem_at_the_path_is_an_error(made: Site) -> None:
    made.on("c1", "mkdir", made.path)
    made.on("c1", "mount", "-t", "tmpfs", "tmpfs", made.path)

    mounting = made.mount("c1").hosts["c1"]
    unmounting = made.unmount("c1").hosts["c1"]

    made.on("c1", "umount", made.path)
    made.on("c1", "rmdir", made.path)
    for error in (mounting, unmounting):
        assert isinstance(error, AlreadyExists)
        assert "another filesystem (tmpfs, device" in str(error)


def test_another_volume_at_the_path_is_an_error(made: Site) -> None:
    made.mount("c1")
    made.name, made.base, first = "vfake002", made.base / "more", (made.name, made.base)
    made.create()

    error = made.mount("c1").hosts["c1"]

    made.delete()
    made.name, made.base = first
    assert isinstance(error, AlreadyExists)


def test_a_symbolic_link_at_the_path_is_an_error(made: Site) -> None:
    made.on("c1", "ln", "-s", "/etc", made.path)

    error = made.mount("c1").hosts["c1"]

    made.on("c1", "rm", made.path)
    assert isinstance(error, AlreadyExists)


def test_mount_of_a_volume_that_is_not_there(image: Site) -> None:
    error = image.mount("c1").hosts["c1"]

    assert isinstance(error, NotFound)
    assert "create the volume first" in str(error)


def test_a_host_that_is_down_does_not_hide_the_others(made: Site) -> None:
    outcome = made.mount("c1", "c9").hosts

    assert outcome["c1"] is None
    assert isinstance(outcome["c9"], HostUnreachable)


def test_a_busy_mount_names_who_holds_it(made: Site) -> None:
    made.mount("c1")
    holder = holder_on(made, "c1", "sh", "-c", f"cd {made.path} && exec sleep 60")
    made.on("c1", "sleep", "0.3")

    error = made.unmount("c1").hosts["c1"]

    holder.kill()
    holder.wait()
    assert isinstance(error, Busy)
    assert f"{made.path} is busy: process {holder.pid} uses it" in str(error)


def test_a_process_on_another_host_is_not_named_as_holder(made: Site) -> None:
    made.mount("c1", "c2")
    holder = holder_on(made, "c2", "sh", "-c", f"cd {made.path} && exec sleep 60")
    made.on("c1", "sleep", "0.3")

    outcome = made.unmount("c1").hosts["c1"]

    holder.kill()
    holder.wait()
    assert outcome is None


def test_a_mount_below_is_named(made: Site) -> None:
    made.mount("c1")
    made.on("c1", "mount", "-t", "tmpfs", "tmpfs", f"{made.path}/global")

    error = made.unmount("c1").hosts["c1"]

    made.on("c1", "umount", f"{made.path}/global")
    assert f"{made.path}/global is mounted" in str(error)


def test_read_only(made: Site) -> None:
    made.mount("c1", "c2")

    made.mount("c2", read_only=True)

    assert "Read-only file system" in made.on("c2", "touch", f"{made.path}/global/x")
    assert made.on("c1", "touch", f"{made.path}/global/x") == ""


def test_read_only_can_be_taken_back(made: Site) -> None:
    made.mount("c1", read_only=True)

    made.mount("c1", read_only=False)

    assert made.on("c1", "touch", f"{made.path}/global/x") == ""


def test_the_movers_parent_directory_is_for_root_only(made: Site) -> None:
    path = f"{made.mounts}/movers/{made.name}"
    made.mount("c1", path=path, role="mover")

    mode = made.on("c1", "stat", "-c", "%u %a", f"{made.mounts}/movers")

    made.unmount("c1", path=path, role="mover")
    made.on("c1", "rmdir", f"{made.mounts}/movers")
    assert mode == "0 700"


def test_a_movers_parent_that_others_may_enter_is_refused(made: Site) -> None:
    made.on("c1", "mkdir", "-m", "755", f"{made.mounts}/movers")

    error = made.mount("c1", path=f"{made.mounts}/movers/{made.name}", role="mover").hosts["c1"]

    made.on("c1", "rmdir", f"{made.mounts}/movers")
    assert isinstance(error, InvalidRequest)
    assert "mode 0700" in str(error)


def test_the_directory_stays_while_another_namespace_has_a_mount_on_it(made: Site, tmp_path: Path) -> None:
    # Removing it would succeed, and take the other host's mount away.
    path = str(tmp_path / "shared" / "7_job")
    made.mount("c1", "c2", path=path)

    made.unmount("c1", path=path)

    assert made.mounted("c2", path)
    made.unmount("c2", path=path)
    assert not Path(path).exists()


def test_hosts_in_one_namespace_have_roots_of_their_own(made: Site, tmp_path: Path) -> None:
    made.configure(root=f"{tmp_path}/hosts/%h")
    made.runner = LocalRunner(fence_dir=tmp_path / "fence2")
    made.fence = None

    made.mount("c1", "c2", private=True, link=made.link)

    linked = (tmp_path / "hosts/c2" / made.link[1:]).resolve()
    made.unmount("c1", "c2", link=made.link)
    assert linked == tmp_path / "hosts/c2" / made.path[1:] / "private/c2"
    assert not (tmp_path / "hosts/c2" / made.path[1:]).exists()
    made.configure(root="")
    made.runner = LocalRunner(fence_dir=tmp_path / "fence", namespace=f"{made.mounts.parent}/ns/%h")


def test_mounts_and_unmounts_of_many_at_once(made: Site) -> None:
    def cycle(host: str) -> bool:
        return not any(made.mount(host).failed or made.unmount(host).failed for _ in range(4))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(cycle, ("c1", "c2"))) == [True, True]


def test_a_cancelled_mount_ends_at_once(made: Site) -> None:
    cancel = CancelToken()
    cancel.cancel()

    with pytest.raises(Exception, match="cancelled"):
        made.mount("c1", context=made.context(cancel=cancel))


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/a/", "/"])
def test_a_path_that_cannot_be_meant_is_refused(made: Site, path: str) -> None:
    with pytest.raises(InvalidRequest, match="absolute path"):
        made.mount("c1", path=path)
