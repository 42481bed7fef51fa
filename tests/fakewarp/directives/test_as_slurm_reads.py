"""Where Slurm's own reading of a line would differ from ours, the line is refused or noted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fakewarp.directives import parse_script

Refused = Callable[[str], list[str]]


@pytest.mark.parametrize(
    "line",
    [
        '#DW jobdw capacity="1 TB"',
        "#DW jobdw capacity='1TB'",
        '#DW jobdw capacity=1TB pool="p q"',
        '#DW persistentdw name="a"',
        '#BB create_persistent capacity=1TB name="a b"',
        '#BB create_persistent capacity=1TB name=a access="striped"',
        '#BB create_persistent capacity=1TB name=a type="scratch"',
        '#BB destroy_persistent "name=a"',
        '#DW swap 1GB pool="p"',
    ],
)
def test_quotes_around_a_value_that_slurm_reads_are_refused(line: str, refused: Refused) -> None:
    problems = refused(line)
    assert len(problems) == 1
    assert "up to a space and keeps the quotes" in problems[0]


@pytest.mark.parametrize(
    "line",
    [
        "#DW jobdw pool=p\tcapacity=1TB",
        "#DW persistentdw name=a\t",
        "#BB create_persistent name=a\tcapacity=1TB",
        "#BB destroy_persistent name=a\thurry",
    ],
)
def test_a_tab_after_a_name_that_slurm_reads_is_refused(line: str, refused: Refused) -> None:
    problems = refused(line)
    assert len(problems) == 1
    assert "put a space there" in problems[0]


def test_a_tab_after_a_persistent_buffers_capacity_is_refused_since_slurm_hands_on_what_it_read(refused: Refused) -> None:
    assert "put a space there" in refused("#BB create_persistent capacity=1TB\tname=a")[0]


def test_a_tab_after_a_jobs_capacity_is_noted_since_real_size_corrects_it() -> None:
    directives = parse_script("#DW jobdw capacity=1TB\taccess_mode=private\n")
    assert directives.capacity == 10**12
    assert "line 1: a tab follows capacity=" in directives.notes[0]


@pytest.mark.parametrize(
    ("line", "option"),
    [("#DW jobdw pfs=/a/capacity=3 capacity=1TB", "capacity"), ("#DW jobdw pfs=/pool=x capacity=1TB", "pool")],
)
def test_an_option_hidden_in_a_value_is_refused_since_slurm_takes_the_first_it_finds(line: str, option: str, refused: Refused) -> None:
    assert f"Slurm takes the first {option}= of the line" in refused(line)[0]


def test_an_option_after_the_one_that_slurm_finds_hides_nothing() -> None:
    assert parse_script("#DW swap 1GB pool=p pool=p").pool == "p"
    assert parse_script("#DW jobdw capacity=1TB pfs=/a/capacity=3").capacity == 10**12


def test_access_mode_is_not_mistaken_for_a_hidden_access() -> None:
    assert parse_script("#BB create_persistent name=a capacity=1TB access_mode=striped").creates[0].access == "striped"


def test_a_name_with_hurry_in_it_is_not_destroyed_in_a_hurry_by_accident(refused: Refused) -> None:
    assert "Slurm finds the word hurry in this name" in refused("#BB destroy_persistent name=hurrycane\n")[0]
    assert parse_script("#BB destroy_persistent name=hurrycane hurry\n").destroys[0].hurry
