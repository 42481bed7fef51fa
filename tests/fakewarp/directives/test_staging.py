"""The two sides of a stage request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core.values import StageRequest
from fakewarp.directives import parse_script

Refused = Callable[[str], list[str]]
BUFFERS = "#DW jobdw capacity=1TB\n#DW persistentdw name=my-buf\n"


def stage_in(source: str, destination: str, kind: str = "file") -> str:
    return f'{BUFFERS}#DW stage_in type={kind} source="{source}" destination="{destination}"\n'


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("$DW_JOB_STRIPED", "$DW_JOB_STRIPED"),
        ("$DW_JOB_STRIPED/", "$DW_JOB_STRIPED/"),
        ("${DW_JOB_STRIPED}/a/b", "$DW_JOB_STRIPED/a/b"),
        ("$DW_JOB_STRIPED/a/../b/", "$DW_JOB_STRIPED/a/../b/"),
        ("$DW_JOB_STRIPED/..a", "$DW_JOB_STRIPED/..a"),
        ("$DW_PERSISTENT_STRIPED_my_buf/x", "$DW_PERSISTENT_STRIPED_my_buf/x"),
        ("${DW_PERSISTENT_STRIPED_my_buf}", "$DW_PERSISTENT_STRIPED_my_buf"),
    ],
)
def test_the_side_in_the_buffer(written: str, stored: str) -> None:
    assert parse_script(stage_in("/a", written)).stage_in == (StageRequest(source="/a", destination=stored),)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("$DW_JOB_PRIVATE/a", "the nodes are unknown when data is staged: use $DW_JOB_STRIPED"),
        ("${DW_JOB_PRIVATE}", "the nodes are unknown when data is staged"),
        ("$DW_JOB_STRIPED/..", "leaves the buffer"),
        ("$DW_JOB_STRIPED/a/../../b", "leaves the buffer"),
        ("$DW_JOB_STRIPED/./../b", "leaves the buffer"),
        ("$DW_JOB_STRIPED//../b", "leaves the buffer"),
        ("/lustre/a", "must be in a buffer"),
        ("x", "must be in a buffer"),
        ("$HOME/a", "must be in a buffer"),
        ("${DW_JOB_STRIPED/a", "must be in a buffer"),
        ("$DW_JOB_STRIPEDa", "must be in a buffer"),
        ("$DW_JOB_STRIPED-a", "must be in a buffer"),
        ("$DW_PERSISTENT_STRIPED_my-buf/x", "must be in a buffer"),
        ("$DW_PERSISTENT_STRIPED_other/x", "no line of this script attaches $DW_PERSISTENT_STRIPED_other"),
    ],
)
def test_a_wrong_side_in_the_buffer(written: str, said: str, refused: Refused) -> None:
    problems = refused(stage_in("/a", written))
    assert len(problems) == 1
    assert problems[0].startswith("line 3, column ")
    assert said in problems[0]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("/a", "/a"),
        ("~/a", "~/a"),
        ("~", "~/"),
        ("/a b/c", "/a b/c"),
        ("/a;reboot", "/a;reboot"),
        ("/a`x`", "/a`x`"),
        ("/-e", "/-e"),
        ("/cost$", "/cost$"),
    ],
)
def test_go_row_17_a_path_is_taken_as_it_is(written: str, stored: str) -> None:
    assert parse_script(stage_in(written, "$DW_JOB_STRIPED/")).stage_in[0].source == stored


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("a", "absolute path or ~/path"),
        ("./a", "absolute path"),
        ("~bob/a", "absolute path"),
        ("-e/x/evil.sh", "absolute path"),
        ("$(x)", "absolute path"),
        ("$HOME/a", "absolute path"),
        ("/a/$(x)", "no shell expands"),
        ("/scratch/$USER/a", "no shell expands"),
        ("/scratch/${USER}/a", "no shell expands"),
        ("$DW_JOB_STRIPED/a", "must be outside the buffers"),
        ("${DW_PERSISTENT_STRIPED_my_buf}/a", "must be outside the buffers"),
    ],
)
def test_go_row_17_what_cannot_be_copied_is_refused_not_skipped(written: str, said: str, refused: Refused) -> None:
    problems = refused(stage_in(written, "$DW_JOB_STRIPED/"))
    assert len(problems) == 1
    assert said in problems[0]


def test_contract_item_6_a_home_directory_is_staged() -> None:
    """Contract 4.6: data-acc drops the arguments after a ``~`` and skips the copy, as its own README writes it."""
    assert parse_script(stage_in("~/in put", "$DW_JOB_STRIPED/")).stage_in[0].source == "~/in put"


def test_contract_item_6_an_equals_sign_or_colon_in_a_path_drops_nothing() -> None:
    request = parse_script(stage_in("/a=b:c", "$DW_JOB_STRIPED/d=e")).stage_in[0]
    assert (request.source, request.destination) == ("/a=b:c", "$DW_JOB_STRIPED/d=e")


def test_stage_out_goes_the_other_way(refused: Refused) -> None:
    script = "#DW jobdw capacity=1TB\n#DW stage_out type=directory source={} destination={}\n"
    request = StageRequest(source="$DW_JOB_STRIPED/o", destination="/o", kind="directory")
    assert parse_script(script.format("$DW_JOB_STRIPED/o", "/o")).stage_out == (request,)
    assert len(refused(script.format("/o", "$DW_JOB_STRIPED/o"))) == 2


def test_go_row_18_a_list_is_a_file_of_pairs_without_destination(refused: Refused) -> None:
    line = f"{BUFFERS}#DW stage_in type=list source=/l"
    assert parse_script(line).stage_in == (StageRequest(source="/l", destination="", kind="list"),)
    assert "takes no destination" in refused(f"{line} destination=$DW_JOB_STRIPED/\n")[0]


def test_go_row_18_a_bogus_type_is_refused_at_submit(refused: Refused) -> None:
    assert "type=bogus" in refused(stage_in("/a", "$DW_JOB_STRIPED/", "bogus"))[0]


@pytest.mark.parametrize(
    ("jobdw", "said"),
    [("", "add #DW jobdw capacity=SIZE"), ("#DW jobdw capacity=1TB access_mode=private\n", "write access_mode=striped,private")],
)
def test_staging_needs_a_striped_buffer(jobdw: str, said: str, refused: Refused) -> None:
    assert said in refused(f"{jobdw}#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/\n")[0]
    assert said in refused(f"{jobdw}#DW stage_out type=list source=/a\n")[0]


def test_a_buffer_may_be_named_after_the_stage_line() -> None:
    line = "#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/\n"
    assert parse_script(line + "#DW jobdw capacity=1TB\n") == parse_script("#DW jobdw capacity=1TB\n" + line)


def test_a_buffer_with_a_problem_is_not_said_to_be_missing_too(refused: Refused) -> None:
    line = "#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/\n"
    assert len(refused("#DW jobdw capacity=x\n" + line)) == 1
    assert len(refused("#DW jobdv capacity=1TB\n" + line)) == 1
    assert len(refused("#DW jobdw 'capacity=1TB\n" + line)) == 1


def test_a_missing_buffer_is_told_together_with_other_problems(refused: Refused) -> None:
    line = "#DW stage_in type=file source={} destination=$DW_JOB_STRIPED/\n"
    assert len(refused(line.format("/a") + line.format("b"))) == 3


def test_go_row_22_stage_requests_are_bounded_by_size(refused: Refused) -> None:
    lines = [f"#DW stage_in type=file source=/in/{number:050} destination=$DW_JOB_STRIPED/{number:050}\n" for number in range(3000)]
    assert len(parse_script("#DW jobdw capacity=1TB\n" + "".join(lines[:1500])).stage_in) == 1500
    problems = refused("#DW jobdw capacity=1TB\n" + "".join(lines))
    assert len(problems) == 1
    assert "more than 256 KiB" in problems[0]
