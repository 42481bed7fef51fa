"""Backing image: create and delete, the capacity, restore, usage and checks, as root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dacc_core.sdk import AlreadyExists, BrickRef, Busy, Cancelled, CancelToken, InvalidRequest, NoSpace, NotFound, Unavailable
from dacc_core.sdk.node.kit import NodeError, need_programs

if TYPE_CHECKING:
    from conftest import Site

MIB = 1 << 20
FILL = """
import os, sys
wanted, block = int(sys.argv[2]), bytes(1 << 20)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with open(sys.argv[1], "wb", buffering=0) as file:
    while wanted:
        wanted -= file.write(block[:wanted])
    os.fsync(file.fileno())
"""


def fill(site: Site, size: int) -> str:
    """Write a file as an ordinary user on c1; what the interpreter says."""
    return site.on("c1", sys.executable, "-", f"{site.path}/global/file", str(size), stdin=FILL.encode())


@pytest.fixture
def mounted(image: Site) -> Iterator[Site]:
    """A volume of uid 65534, mounted on c1."""
    image.create(owner=65534, group=65534)
    assert not image.mount("c1").failed
    yield image
    assert not image.unmount("c1").failed
    image.delete()


def test_a_user_can_write_the_whole_capacity(mounted: Site) -> None:
    assert fill(mounted, mounted.capacity) == ""


def test_a_write_beyond_the_capacity_fails_with_no_space(mounted: Site) -> None:
    said = fill(mounted, mounted.capacity * 105 // 100 + 4 * MIB + 1)

    assert "No space left on device" in said


@pytest.mark.parametrize("mebibytes", [1, 16, 100, 1000, 10_000, 500_000])
def test_usable_bytes_are_within_the_documented_bound(image: Site, mebibytes: int) -> None:
    image.capacity = mebibytes * MIB

    usable = image.create()

    image.delete()
    assert image.capacity <= usable <= image.capacity * 105 // 100 + 4 * MIB


def test_create_reports_what_the_mounted_filesystem_has(mounted: Site) -> None:
    blocks, size = mounted.on("c1", "stat", "--file-system", "--format=%a %S", mounted.path).split()

    assert int(blocks) * int(size) == mounted.create(owner=65534, group=65534)


def test_the_image_is_sparse(image: Site) -> None:
    image.capacity = 1000 * MIB
    image.create()

    blocks = image.place(".img").stat().st_blocks

    image.delete()
    assert blocks * 512 < 2 * MIB


def test_only_root_may_read_the_image(image: Site) -> None:
    image.create()

    mode = image.place(".img").stat().st_mode

    image.delete()
    assert mode & 0o777 == 0o600


def test_global_belongs_to_the_owner_with_the_mode_that_was_asked(image: Site) -> None:
    image.create(owner=1234, group=4321, mode=0o750)
    image.mount("c1")

    said = image.on("c1", "stat", "-c", "%u %g %a", f"{image.path}/global")

    image.unmount("c1")
    image.delete()
    assert said == "1234 4321 750"


def test_the_state_is_small_and_names_backing_image_and_server(image: Site) -> None:
    image.create()

    image.delete()
    assert image.state == {"backing": "image", "image": str(image.place(".img")), "server": "b1"}


def test_create_ten_times_keeps_the_data(image: Site) -> None:
    image.create()
    image.mount("c1")
    image.on("c1", "touch", f"{image.path}/global/kept")

    for _ in range(10):
        image.create()

    assert "kept" in image.on("c1", "ls", f"{image.path}/global")
    image.unmount("c1")
    image.delete()


def test_delete_ten_times(image: Site) -> None:
    image.create()

    for _ in range(10):
        image.delete()


def test_delete_of_what_never_was(image: Site) -> None:
    image.delete()


def test_delete_without_state_finds_the_volume(image: Site) -> None:
    image.create()
    image.state = {}

    image.delete()


def test_two_creators_at_once(image: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = [future.result() for future in [pool.submit(image.create) for _ in range(2)]]

    image.delete()
    assert made[0] == made[1]


def test_every_brick_is_marked(image: Site) -> None:
    image.spread = True
    image.create()

    left = image.left()

    image.delete()
    assert left == ["b1/vfake001.brick", "b1/vfake001.img", "b2/vfake001.brick"]


def test_a_brick_that_holds_another_volume_is_refused(image: Site) -> None:
    image.create()
    image.name = "vfake002"

    with pytest.raises(AlreadyExists, match=r"host b1: .*/b1 holds volume vfake001: delete that one first"):
        image.create()

    image.delete()
    image.name = "vfake001"
    image.delete()


def test_delete_while_mounted_in_a_namespace_is_refused_and_tells_where(image: Site) -> None:
    image.create()
    image.mount("c1")
    holder = subprocess.Popen(["nsenter", f"--mount={image.mounts.parent}/ns/c1", "sleep", "60"])

    try:
        with pytest.raises(Busy, match=rf"still mounted at {image.path} \(seen by process {holder.pid}\)"):
            image.delete()
    finally:
        holder.kill()
        holder.wait()
        image.unmount("c1")
        image.delete()


def test_delete_while_mounted_where_no_process_looks_is_refused(image: Site) -> None:
    image.create()
    image.mount("c1")

    with pytest.raises(Busy, match="in a mount namespace that no process is in"):
        image.delete()

    image.unmount("c1")
    image.delete()


def test_delete_detaches_what_was_attached_by_hand(image: Site) -> None:
    image.create()
    subprocess.run(["losetup", "--find", str(image.place(".img"))], check=True)

    image.delete()


def test_no_space_for_an_image_that_no_filesystem_can_hold(image: Site) -> None:
    image.capacity = 1 << 60

    with pytest.raises(NoSpace, match="host b1: "):
        image.create()

    image.delete()


def test_usage_counts_what_was_written(mounted: Site) -> None:
    before = mounted.provider.usage(mounted.whole())["used"]
    fill(mounted, 5 * MIB)

    after = mounted.provider.usage(mounted.whole())

    assert 5 * MIB <= after["used"] - before < 6 * MIB
    assert after["capacity"] >= mounted.capacity


def test_usage_of_a_volume_that_is_not_mounted_leaves_nothing_attached(image: Site) -> None:
    image.create()

    image.provider.usage(image.whole())

    image.delete()


def test_usage_of_what_never_was(image: Site) -> None:
    with pytest.raises(NotFound, match="never created or is deleted"):
        image.provider.usage(image.whole())


def test_restore_keeps_the_data(image: Site) -> None:
    image.create()
    image.mount("c1")
    image.on("c1", "touch", f"{image.path}/global/kept")
    image.unmount("c1")

    image.provider.restore(image.whole())

    image.mount("c1")
    assert image.on("c1", "ls", f"{image.path}/global") == "kept"
    image.unmount("c1")
    image.delete()


def test_restore_while_mounted_changes_nothing(mounted: Site) -> None:
    mounted.provider.restore(mounted.whole())


def test_restore_of_what_never_was(image: Site) -> None:
    with pytest.raises(NotFound):
        image.provider.restore(image.whole())


def test_check_host_makes_the_brick_directory(image: Site) -> None:
    image.check("b1")

    assert (image.base / "b1").is_dir()


def test_check_host_tells_what_to_mend(image: Site) -> None:
    (image.base / "b1").write_text("")

    with pytest.raises(Unavailable, match=r"host b1: .*/b1: File exists"):
        image.check("b1")

    (image.base / "b1").unlink()


def test_check_host_names_missing_programs() -> None:
    with pytest.raises(NodeError, match=r"^no-such-program is missing: install no-such-package there"):
        need_programs({"mount": "mount", "no-such-program": "no-such-package"})


def test_a_lock_that_is_held_is_reported_in_time(image: Site) -> None:
    image.create()
    lock = os.open(image.base / "b1", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)

    with pytest.raises(Busy, match="another call holds the lock"):
        image.delete(image.context(seconds=1.5))

    os.close(lock)
    image.delete()


def test_a_cancelled_call_does_nothing(image: Site) -> None:
    cancel = CancelToken()
    cancel.cancel()

    with pytest.raises(Cancelled):
        image.create(image.context(cancel=cancel))


def test_a_passed_deadline_does_nothing(image: Site) -> None:
    with pytest.raises(Unavailable, match="deadline"):
        image.create(image.context(seconds=0))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../etc"},
        {"capacity": 0},
        {"bricks": ()},
        {"bricks": (BrickRef(host="b1", device="relative"),)},
        {"bricks": (BrickRef(host="b1", device="/a/../b"),)},
    ],
)
def test_a_volume_that_cannot_be_meant_is_refused(image: Site, change: dict[str, object]) -> None:
    request = image.whole()
    fields = {name: getattr(request.volume, name) for name in ("name", "pool", "provider", "capacity", "bricks")}
    volume = type(request.volume)(**(fields | change))

    with pytest.raises(InvalidRequest):
        image.provider.delete(replace(request, volume=volume))


def test_restore_repairs_what_a_power_cut_left(image: Site) -> None:
    image.create()
    image.mount("c1")
    image.on("c1", "touch", f"{image.path}/global/kept")
    image.on("c1", "sync", "-f", image.path)
    shutil.copy(image.place(".img"), image.base / "copy")
    image.unmount("c1")
    (image.base / "copy").rename(image.place(".img"))

    image.provider.restore(image.whole())

    check = subprocess.run(["e2fsck", "-fn", str(image.place(".img"))], capture_output=True, text=True)
    image.delete()
    assert check.returncode == 0, check.stdout
