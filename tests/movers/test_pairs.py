"""Paths as users write them."""

from __future__ import annotations

import pytest

from dacc_core.errors import InvalidRequest
from dacc_core.movers.base import Direction
from dacc_core.movers.pairs import PathReader

ROOTS = {"DW_JOB_STRIPED": "/m/j", "DW_PERSISTENT_STRIPED_x": "/m/x"}


def reader(direction: Direction = "in") -> PathReader:
    return PathReader(direction, ROOTS, "/home/u")


@pytest.mark.parametrize(
    ("written", "variable", "path"),
    [
        ("$DW_JOB_STRIPED", "DW_JOB_STRIPED", "."),
        ("$DW_JOB_STRIPED/", "DW_JOB_STRIPED", "./"),
        ("$DW_JOB_STRIPED/a/b", "DW_JOB_STRIPED", "./a/b"),
        ("${DW_PERSISTENT_STRIPED_x}/a", "DW_PERSISTENT_STRIPED_x", "./a"),
        ("~", "", "/home/u"),
        ("~/a", "", "/home/u/a"),
        ("/a:b/-c", "", "/a:b/-c"),
        ("/$DW_JOB_STRIPED", "", "/$DW_JOB_STRIPED"),
    ],
)
def test_a_path_may_start_with_a_buffer_or_the_home(written: str, variable: str, path: str) -> None:
    parsed = reader().path("source", written)
    assert (parsed.variable, parsed.path) == (variable, path)


@pytest.mark.parametrize(
    "written",
    ["", "a", "./a", "-e", "~other/a", "$HOME/a", "$DW_OTHER/a", "$DW_JOB_STRIPEDx/a", "${DW_JOB_STRIPED/a", "/a\0b"],
)
def test_any_other_path_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^stage_in source "):
        reader().path("source", written)


def test_a_buffer_that_the_job_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(InvalidRequest, match=r"it has: \$DW_JOB_STRIPED, \$DW_PERSISTENT_STRIPED_x"):
        reader().path("source", "$DW_JOB_PRIVATE/a")


@pytest.mark.parametrize(("direction", "side"), [("in", "destination"), ("out", "source")])
def test_one_side_must_be_a_buffer(direction: Direction, side: str) -> None:
    with pytest.raises(InvalidRequest, match=f"stage_{direction} {side} /. must start with a buffer's variable"):
        reader(direction).pair("file", "/a", "/b")


def test_only_one_side_may_be_a_buffer() -> None:
    with pytest.raises(InvalidRequest, match="only one side may be a buffer"):
        reader().pair("file", "$DW_PERSISTENT_STRIPED_x/a", "$DW_JOB_STRIPED/a")


def pairs(text: str, base: str = "") -> list[tuple[str, str]]:
    return [(pair.source.path, pair.destination.path) for pair in reader().pairs_of_list("/list", text.encode(), base)]


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("/a $DW_JOB_STRIPED/b", ("/a", "./b")),
        ("  /a\t\t$DW_JOB_STRIPED/b  ", ("/a", "./b")),
        ("'/a b' \"$DW_JOB_STRIPED/c d\"", ("/a b", "./c d")),
        ("/a\\ b $DW_JOB_STRIPED/c", ("/a b", "./c")),
        ("/#a $DW_JOB_STRIPED/#b", ("/#a", "./#b")),
        ("/a;b $DW_JOB_STRIPED/$(c)", ("/a;b", "./$(c)")),
        ("/a $DW_JOB_STRIPED/b\r", ("/a", "./b")),
    ],
)
def test_a_line_of_a_list_is_two_paths(line: str, pair: tuple[str, str]) -> None:
    assert pairs(line) == [pair]


def test_empty_lines_and_comments_are_skipped() -> None:
    assert pairs("\n# /a /b\n   \n") == []


@pytest.mark.parametrize("line", ["/a", "/a b c", "'/a", "a $DW_JOB_STRIPED/b", "/a /b"])
def test_any_other_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^stage_in list /list, line 2: "):
        pairs(f"\n{line}\n")


def test_with_a_destination_lines_may_be_relative_to_it() -> None:
    assert pairs("/a/b c/d\n/e/f\n/g/h/ \n", "$DW_JOB_STRIPED/in/") == [
        ("/a/b", "./in/c/d"),
        ("/e/f", "./in/f"),
        ("/g/h/", "./in/h"),
    ]
