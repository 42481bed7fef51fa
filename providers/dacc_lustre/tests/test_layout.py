"""The default layout of files."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacc_lustre.layout import arguments, clip, parse_component
from dacc_lustre.settings import LustreSettings

DEFAULT = [parse_component(text) for text in LustreSettings().layout]


@given(st.integers(1, 300), st.booleans())
def test_no_component_wants_more_osts_than_there_are(osts: int, data_on_mdt: bool) -> None:
    made = clip(DEFAULT, osts, data_on_mdt)

    assert all(one.count < osts for one in made if one.count != -1)
    assert made[-1] == (made[-1].__class__("-1", -1, made[-1].size))


@given(st.integers(1, 300), st.booleans())
def test_ends_rise_and_no_two_neighbours_are_alike(osts: int, data_on_mdt: bool) -> None:
    made = clip(DEFAULT, osts, data_on_mdt)

    ends = [one.end for one in made]
    assert ends == [one.end for one in DEFAULT if one.end in ends]
    assert all(first.count != second.count or second.size for first, second in itertools.pairwise(made))


def test_a_cambridge_filesystem_has_the_whole_layout() -> None:
    words = " ".join(arguments(clip(DEFAULT, 288, True)))

    assert words == "-E 64K -L mdt -E 16M -c 1 -S 16M -E 1G -c 2 -E 4G -c 4 -E 16G -c 8 -E 64G -c 16 -E -1 -c -1"


def test_one_ost_needs_one_component_beside_the_mdt() -> None:
    assert " ".join(arguments(clip(DEFAULT, 1, True))) == "-E 64K -L mdt -E -1 -c -1 -S 16M"


def test_without_data_on_mdt_nothing_is_there() -> None:
    assert "mdt" not in arguments(clip(DEFAULT, 4, False))


@pytest.mark.parametrize("text", ["", "16M", "16M 0", "16 1", "16M one", "-1 mdt", "16M 1 16", "16M 1 16M more", "16M 1; reboot"])
def test_a_component_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no component"):
        parse_component(text)
