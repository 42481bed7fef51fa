"""Which lines are directives, how they continue, and where their words stand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from dacc_core.errors import BadDirectives
from dacc_core.values import StageRequest
from fakewarp.directives import Directives, parse_script

Refused = Callable[[str], list[str]]
JOBDW = parse_script("#DW jobdw capacity=1TB access_mode=private pool=p\n")


def test_directives_after_the_first_command_are_not_read_and_noted() -> None:
    directives = parse_script("#!/bin/sh\nsrun x\n\n#DW jobdw capacity=1TB\n")
    assert directives == Directives()
    assert directives.notes == ("line 4: directives after the first command (line 2) are not read",)


def test_empty_lines_do_not_end_the_header_as_in_slurm() -> None:
    assert parse_script("#!/bin/sh\n\n\n#DW jobdw capacity=1TB access_mode=private pool=p") == JOBDW


def test_a_blank_line_with_a_space_ends_the_header_as_in_slurm() -> None:
    assert parse_script("#!/bin/sh\n \n#DW jobdw capacity=1TB\n") == Directives()


@pytest.mark.parametrize(
    "line",
    [
        "#SBATCH -N 1",
        "# DW jobdw capacity=x",
        "#dw jobdw",
        "##DW jobdw",
        "#BBQ",
        "#DWARF",
        "#EXCLUDED DW jobdw capacity=1",
        "#DW",
        "#BB  ",
        "#",
    ],
)
def test_other_lines_that_start_with_a_hash_are_not_our_business(line: str) -> None:
    assert parse_script(f"{line}\n#DW jobdw capacity=1TB access_mode=private pool=p\n") == JOBDW


def test_a_missing_space_after_the_prefix_is_refused_since_slurm_needs_none(refused: Refused) -> None:
    assert refused("#DWjobdw capacity=1TB\n") == [
        "line 1, column 4: Slurm takes this for a directive, but a space is missing after #DW: add it"
    ]


@pytest.mark.parametrize(
    "script",
    [
        "#DW jobdw capacity=1TB \\\n#DW access_mode=private pool=p\n",
        "#DW jobdw \\\n#DW   capacity=1TB \\\n#DW access_mode=private\\\n#DW  pool=p\n",
        "#DW jobdw capacity=1TB access_mode=pri\\\n#DWvate pool=p\n",
        "#DW jobdw capacity=1TB \\\n\n#DW access_mode=private pool=p\n",
        "#DW   jobdw  pool=p    access_mode=private \t capacity=1TB   \n",
        "#DW\tjobdw\t pool=p access_mode=private\tcapacity=1TB\n",
        "#DW jobdw capacity=1TB access_mode='private' pool=p\n",
    ],
)
def test_contract_item_7_spaces_tabs_and_continuations_do_not_matter(script: str) -> None:
    """Contract 4.7: data-acc splits at single spaces, knows no tabs and no continuation."""
    assert parse_script(script) == JOBDW
    assert parse_script(script).digest == JOBDW.digest


def test_a_problem_on_a_continued_line_names_that_line(refused: Refused) -> None:
    assert refused("#DW jobdw \\\n#DW   capacity=x\n")[0].startswith("line 2, column 16: capacity=x")


def test_a_continuation_by_the_other_prefix_is_refused_as_in_slurm(refused: Refused) -> None:
    problems = refused("#DW jobdw capacity=1TB \\\n#BB pool=p\n")
    assert problems == ["line 2, column 1: a #DW line is continued by a #BB line, which Slurm refuses: begin both with #DW"]


@pytest.mark.parametrize("following", ["", "# comment\n", "    pool=p\n", "#SBATCH -N1\n#DW pool=p\n"])
def test_contract_item_7_a_continuation_that_slurm_would_drop_is_refused(following: str, refused: Refused) -> None:
    assert "a backslash ends this directive" in refused(f"#DW jobdw capacity=1TB \\\n{following}")[0]


def test_a_backslash_before_a_trailing_space_is_no_continuation(refused: Refused) -> None:
    assert "a backslash must end its line" in refused("#DW jobdw capacity=1TB \\ \n#DW swap 1GB\n")[0]


@pytest.mark.parametrize(
    "destination", ['"$DW_JOB_STRIPED/a b"', "'$DW_JOB_STRIPED/a b'", '$DW_JOB_STRIPED/"a b"', "$DW_JOB_STRIPED/a' 'b"]
)
def test_go_row_17_quoted_space_is_not_dropped(destination: str) -> None:
    directives = parse_script(f"#DW jobdw capacity=1TB\n#DW stage_in type=file source=/a destination={destination}\n")
    assert directives.stage_in == (StageRequest(source="/a", destination="$DW_JOB_STRIPED/a b"),)


def test_a_quote_of_the_other_kind_is_a_character_of_the_path() -> None:
    directives = parse_script('#DW jobdw capacity=1TB\n#DW stage_in type=file source="/bob\'s" destination=$DW_JOB_STRIPED/\n')
    assert directives.stage_in[0].source == "/bob's"


def test_go_row_23_crlf_is_read_and_noted() -> None:
    directives = parse_script("#!/bin/sh\r\n\r\n#DW jobdw capacity=1TB \\\r\n#DW access_mode=private pool=p\r\nsrun x\r\n")
    assert directives == JOBDW
    assert directives.notes[0].startswith("lines end in CR LF")


def test_go_row_23_tabs_are_not_ignored() -> None:
    assert parse_script("#DW\tjobdw\tcapacity=1TB\taccess_mode=private\tpool=p\n") == JOBDW


def test_go_row_23_an_empty_script_asks_for_nothing() -> None:
    assert parse_script("\n\n") == Directives()


def test_go_row_23_a_nul_byte_is_refused_with_its_place(refused: Refused) -> None:
    problems = refused("#!/bin/sh\n#DW jobdw capacity=1TB\0\n#DW nonsense\n")
    assert problems == ["line 2, column 23: a NUL byte: Slurm reads a script only up to it: remove it"]


@pytest.mark.parametrize("character", ["\x01", "\x1b", "\x7f", "\x85", "\x0b", "\r", "\u2028"])
def test_a_control_character_is_refused_and_not_echoed(character: str, refused: Refused) -> None:
    assert "the control character" in refused(f"#DW stage_in type=file source=/a{character}b destination=$DW_JOB_STRIPED/\n")[0]


def test_go_row_23_broken_utf8_is_refused_in_a_directive_only(refused: Refused) -> None:
    broken = b"# \xff\xfe\n#DW jobdw capacity=1TB\n#DW stage_in type=file source=/\xff destination=$DW_JOB_STRIPED/\n"
    problems = refused(broken.decode(errors="surrogateescape"))
    assert len(problems) == 1
    assert problems[0].startswith("line 3, column 32: bytes that are not UTF-8")


def test_go_row_23_unicode_paths_are_kept() -> None:
    directives = parse_script("#DW jobdw capacity=1TB\n#DW stage_in type=file source=/données/日本 destination=$DW_JOB_STRIPED/\n")
    assert directives.stage_in[0].source == "/données/日本"


def test_a_no_break_space_is_no_separator_and_is_shown(refused: Refused) -> None:
    assert r"\xa0" in refused("#DW jobdw capacity=1TB\u00a0pool=p\n")[0]


def test_go_row_22_ten_thousand_lines() -> None:
    script = "#!/bin/sh\n" + "#SBATCH --comment=x\n" * 10_000 + "#DW jobdw capacity=1TB access_mode=private pool=p\n"
    assert parse_script(script) == JOBDW
    assert parse_script("#DW jobdw capacity=1GB\n" * 10_000).capacity == 10**13


def test_megabytes_of_directives_are_not_read_to_their_end(refused: Refused) -> None:
    script = "#DW stage_in type=list source=/l\n" + "#DW swap 1GB\n" * 100_000 + "#DW jobdw capacity=1TB\n"
    problems = refused(script)
    assert len(problems) == 1
    assert "directives of more than 512 KiB in all, not read from here on" in problems[0]


def test_a_line_that_begins_with_a_carriage_return_ends_the_header() -> None:
    assert parse_script("#!/bin/sh\n\rx\n#DW jobdw capacity=1TB\n") == Directives()


@pytest.mark.parametrize(
    "filler", ["x", " ", "\t", '"', "'", "=", "\\", "(", ",", "$", "..", "a ", "a= ", "''", "capacity ", "capacity= ", "name=a ", "/../"]
)
@pytest.mark.parametrize(
    "start", ["#DW jobdw capacity=1TB access_mode=", "#BB create_persistent name=", "#DW stage_in source=/", "#DW ", "#"]
)
def test_go_row_23_a_line_of_many_kilobytes_is_read_or_refused(start: str, filler: str) -> None:
    """100 kB, so that anything quadratic would be seen to hang."""
    with suppress(BadDirectives):
        parse_script(f"{start}{filler * (100_000 // len(filler))}\n")
