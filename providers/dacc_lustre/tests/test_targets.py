"""Numbering and placement of targets."""

from __future__ import annotations

import pytest
from dacc_core.sdk import BrickRef, InvalidRequest, Volume
from hypothesis import given
from hypothesis import strategies as st
from lustre_world import volume

from dacc_lustre.settings import LustreSettings
from dacc_lustre.targets import layout_of

sizes = st.lists(st.integers(1, 12), min_size=1, max_size=30)
counts = st.integers(1, 40)


@given(sizes, counts, counts)
def test_indices_are_contiguous_and_every_brick_is_one_ost(hosts: list[int], per_host: int, most: int) -> None:
    layout = layout_of(volume(*hosts), LustreSettings(mdts_per_host=per_host, max_mdts=most))

    assert [one.index for one in layout.osts] == list(range(sum(hosts)))
    assert [one.index for one in layout.mdts] == list(range(len(layout.mdts)))
    assert len({(one.host, one.device, one.kind) for one in layout.targets}) == len(layout.targets)


@given(sizes, counts, counts)
def test_there_is_always_an_mdt_and_never_more_than_allowed(hosts: list[int], per_host: int, most: int) -> None:
    # data-acc divided the most MDTs by the hosts: with more hosts than that it had none at all.
    layout = layout_of(volume(*hosts), LustreSettings(mdts_per_host=per_host, max_mdts=most))

    assert len(layout.mdts) == min(most, sum(min(per_host, bricks) for bricks in hosts))


@given(sizes, counts, counts)
def test_mdts_are_spread_so_that_no_host_gets_two_before_another_has_one(hosts: list[int], per_host: int, most: int) -> None:
    layout = layout_of(volume(*hosts), LustreSettings(mdts_per_host=per_host, max_mdts=most))
    counted = {f"h{number}": sum(one.host == f"h{number}" for one in layout.mdts) for number in range(len(hosts))}

    highest = max(counted.values())
    assert all(counted[f"h{number}"] >= min(highest - 1, bricks) for number, bricks in enumerate(hosts))


@given(sizes)
def test_mdt0000_is_on_the_first_brick_and_its_host_serves_the_mgt(hosts: list[int]) -> None:
    layout = layout_of(volume(*hosts), LustreSettings())

    assert (layout.primary.name, layout.primary.host, layout.primary.device) == ("MDT0000", "h0", "/dev/nvme0n1")
    assert layout.mgs_host == "h0"


def test_cambridge_has_24_mdts_and_288_osts() -> None:
    layout = layout_of(volume(*[12] * 24), LustreSettings())

    assert (len(layout.mdts), len(layout.osts)) == (24, 288)
    assert layout.osts[-1].name == "OST011f"


def test_the_mgs_may_be_a_host_without_bricks() -> None:
    assert layout_of(volume(1), LustreSettings(mgs_host="mgs1")).mgs_host == "mgs1"


@pytest.mark.parametrize("name", ["Dacc0001", "dacc00012", "../etc01", "da cc", "", "dacc-001", "1acc0000"])
def test_a_name_that_is_no_fsname_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="no Lustre fsname"):
        layout_of(Volume(name=name, pool="p", provider="lustre", capacity=1, bricks=volume(1).bricks), LustreSettings())


@pytest.mark.parametrize(
    ("host", "device", "says"),
    [
        ("h;reboot", "/dev/sdb", "host name"),
        ("-oProxyCommand=x", "/dev/sdb", "host name"),
        ("h0", "/dev/../etc", "device"),
        ("h0", "sdb", "device"),
    ],
)
def test_hostile_hosts_and_devices_are_refused(host: str, device: str, says: str) -> None:
    bricks = (BrickRef(host=host, device=device),)

    with pytest.raises(InvalidRequest, match=says):
        layout_of(Volume(name="dacc0001", pool="p", provider="lustre", capacity=1, bricks=bricks), LustreSettings())


def test_a_brick_named_twice_is_refused() -> None:
    bricks = volume(1).bricks * 2

    with pytest.raises(InvalidRequest, match="twice"):
        layout_of(Volume(name="dacc0001", pool="p", provider="lustre", capacity=1, bricks=bricks), LustreSettings())
