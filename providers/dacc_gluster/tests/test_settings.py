"""The section ``providers.gluster``, and what the provider says of itself."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from dacc_core.sdk import BrickRef, NodeProgram, RestoreProvider, SwapProvider, UsageProvider, Volume

from dacc_gluster import GlusterProvider
from dacc_gluster.layout import GlusterLayout
from dacc_gluster.provider import CLIENT, STORAGE
from dacc_gluster.settings import GlusterSettings

BRICKS = (BrickRef(host="dac1", device="/dev/a"), BrickRef(host="dac2", device="/dev/b"), BrickRef(host="dac1", device="/dev/c"))
VOLUME = Volume(name="a0000001", pool="default", provider="gluster", capacity=1000, bricks=BRICKS)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"seed": ""}, "seed: the name of a storage host is needed"),
        ({"seed": "dac1", "address": "hal"}, "address: 'hal' is the same for all hosts"),
        ({"seed": "dac1", "options": {"--help": "x"}}, "options: '--help' is no option of a volume"),
        ({"seed": "dac1", "options": {"user.dacc-deleted": "x"}}, "options: 'user.dacc-deleted' is no option of a volume"),
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}"):
        GlusterSettings(**settings)


def test_all_that_is_optional_is_there_but_swap() -> None:
    provider = GlusterProvider(GlusterSettings(seed="dac1"))
    assert isinstance(provider, RestoreProvider)
    assert isinstance(provider, UsageProvider)
    assert not isinstance(provider, SwapProvider)
    assert not provider.capabilities.swap


def test_names_and_paths_come_from_the_volumes_name() -> None:
    layout = GlusterLayout(VOLUME, GlusterSettings(seed="dac1", address="%h-ib", brick_root="/b"))
    assert layout.gluster_bricks() == ["dac1-ib:/b/a0000001/0/brick", "dac2-ib:/b/a0000001/1/brick", "dac1-ib:/b/a0000001/2/brick"]
    assert layout.gluster_bricks("dac2") == ["dac2-ib:/b/a0000001/1/brick"]
    assert layout.bricks_of("dac1") == [{"device": "/dev/a", "place": "/b/a0000001/0"}, {"device": "/dev/c", "place": "/b/a0000001/2"}]
    assert layout.servers == ["dac1-ib", "dac2-ib"]


def test_every_brick_must_have_room_for_its_share_rounded_up() -> None:
    assert GlusterLayout(VOLUME, GlusterSettings(seed="dac1")).least == 334


@pytest.mark.parametrize("program", [STORAGE, CLIENT], ids=["storage", "client"])
def test_its_programs_are_for_old_interpreters_too(program: NodeProgram) -> None:
    ast.parse(program.text, feature_version=(3, 6))
