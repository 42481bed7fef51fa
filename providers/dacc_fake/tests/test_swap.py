"""Swap files on a mounted image, as root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dacc_core.sdk import AlreadyExists, Busy, InvalidRequest, NoSpace, NotFound

from dacc_fake.faults import PARTIAL

if TYPE_CHECKING:
    from conftest import Site

MIB = 1 << 20


@pytest.fixture
def mounted(image: Site) -> Iterator[Site]:
    """A volume mounted on c1 and c2."""
    image.create()
    image.mount("c1", "c2")
    yield image
    image.configure(faults=[])
    image.swap("swap_off", "c1", "c2")
    assert not image.unmount("c1", "c2").failed
    image.delete()


def active(site: Site, host: str = "c1") -> bool:
    """Whether the kernel swaps to the host's file."""
    return f"{site.path}/swap/{host} " in Path("/proc/swaps").read_text().replace("\t", " ")


def test_swap_on_and_off(mounted: Site) -> None:
    assert not mounted.swap("swap_on").failed
    assert active(mounted)

    assert not mounted.swap("swap_off").failed
    assert not active(mounted)


def test_each_host_has_its_own(mounted: Site) -> None:
    mounted.swap("swap_on", "c1")
    mounted.swap("swap_on", "c2")

    assert active(mounted, "c1")
    assert active(mounted, "c2")


def test_only_root_may_enter_its_directory(mounted: Site) -> None:
    mounted.swap("swap_on")

    assert mounted.on("c1", "stat", "-c", "%u %a", f"{mounted.path}/swap", f"{mounted.path}/swap/c1") == "0 700\n0 600"


def test_ten_times_on_and_off(mounted: Site) -> None:
    for _ in range(10):
        assert not mounted.swap("swap_on").failed
    for _ in range(10):
        assert not mounted.swap("swap_off").failed


def test_no_room_is_no_space_and_leaves_no_file(mounted: Site) -> None:
    error = mounted.swap("swap_on", size=64 * MIB).hosts["c1"]

    assert isinstance(error, NoSpace)
    assert mounted.on("c1", "ls", f"{mounted.path}/swap") == ""


def test_another_size_is_refused(mounted: Site) -> None:
    mounted.swap("swap_on", size=4 * MIB)

    assert isinstance(mounted.swap("swap_on", size=2 * MIB).hosts["c1"], AlreadyExists)


def test_a_size_that_cannot_be_meant(mounted: Site) -> None:
    with pytest.raises(InvalidRequest):
        mounted.swap("swap_on", size=0)


def test_it_needs_the_mount(image: Site) -> None:
    image.create()

    error = image.swap("swap_on").hosts["c1"]

    image.delete()
    assert isinstance(error, NotFound)


def test_off_without_a_mount_is_fine(image: Site) -> None:
    assert not image.swap("swap_off").failed


def test_unmount_names_the_swap_file(mounted: Site) -> None:
    mounted.swap("swap_on")

    error = mounted.unmount("c1").hosts["c1"]

    assert isinstance(error, Busy)
    assert f"{mounted.path}/swap/c1 is swapped to" in str(error)


@pytest.mark.parametrize(("call", "place"), [(call, place) for call in ("swap_on", "swap_off") for place in PARTIAL[call]])
def test_again_after_a_crash(mounted: Site, call: str, place: str) -> None:
    if call == "swap_off":
        mounted.swap("swap_on")
    mounted.configure(faults=[{"call": call, "partial": place}])
    assert mounted.swap(call).failed

    assert not mounted.swap(call).failed
    assert active(mounted) == (call == "swap_on")
