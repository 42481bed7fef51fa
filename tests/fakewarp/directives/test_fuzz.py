"""Whatever a script holds, the answer is directives or problems, and the work grows with the script only."""

from __future__ import annotations

from cProfile import Profile

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacc_core.errors import BadDirectives
from fakewarp.directives import PoolSize, check_pools, parse_script

PIECES = """#DW |#BB |#DW|#BB|jobdw|persistentdw|swap|stage_in|stage_out|create_persistent|destroy_persistent|hurry|capacity=|pool=|name=|
access_mode=|access=|type=|source=|destination=|mode=|group=|striped|private|scratch|cache|file|list|1TB|12N|3.5TB|-1|0|$DW_JOB_STRIPED|${DW_JOB_STRIPED}|
$DW_JOB_PRIVATE|$DW_PERSISTENT_STRIPED_a|/..|/a|~/|a|a-b|(MFS=1)|(|)|,|=|"|'| |  |\t|\\|\\\n#DW |\\\n#BB |\r\n|\n|\0|\x1b|\udcff|é|\u2028"""
SCRIPTS = st.lists(st.sampled_from(PIECES.replace("|\n", "|").split("|")) | st.text(max_size=5), max_size=40).map("".join)
BYTES = st.binary(max_size=200).map(lambda raw: raw.decode(errors="surrogateescape"))


def parse_and_check(script: str) -> None:
    try:
        directives = parse_script(script)
        check_pools(directives, {"a": PoolSize(1 << 30, 3)}, "a")
    except BadDirectives as error:
        lines = str(error).split("\n")
        assert all(line.startswith(("line ", "and ")) and line.isprintable() and len(line) < 800 for line in lines), lines
    else:
        assert all(note.isprintable() for note in directives.notes)
        msgspec.json.encode((directives.stage_in, directives.stage_out, directives.digest))


@given(SCRIPTS)
@settings(max_examples=400)
def test_any_mixture_of_the_grammar_is_parsed_or_refused(script: str) -> None:
    parse_and_check(script)
    parse_and_check(f"#DW jobdw {script}")
    parse_and_check(f"#DW stage_in type=file {script}")


@given(st.text() | BYTES)
def test_any_text_is_parsed_or_refused(script: str) -> None:
    parse_and_check(script)
    parse_and_check(f"#DW {script}")


@given(SCRIPTS)
def test_a_script_gives_the_same_answer_twice(script: str) -> None:
    def answer() -> str:
        try:
            return parse_script(script).digest
        except BadDirectives as error:
            return str(error)

    assert answer() == answer()


def calls(script: str) -> int:
    """The number of functions called: a measure of work that no clock and no other process disturbs."""
    profile = Profile()
    profile.runcall(parse_and_check, script)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize(
    "line",
    [
        "#SBATCH x\n",
        "#DW jobdw capacity=1GB pool=a\n",
        "#DW jobdw capacity=1GB \\\n",
        "#DW persistentdw name=a\n",
        "#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/\n",
        "#DW nonsense\n",
        "#DW stage_in type=file 'a b' source=x\n",
        "\n",
        "a=b ",
        "'a b' ",
        "\\\n#DW ",
    ],
)
def test_the_work_is_in_proportion_to_the_script(line: str) -> None:
    start = "#DW jobdw capacity=1TB "
    assert calls(start + line * 2000) < 4.5 * calls(start + line * 500)
