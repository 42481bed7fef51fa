"""What each directive asks for, and how each wrong one is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core.values import StageRequest
from fakewarp.directives import CreateBuffer, DestroyBuffer, Directives, parse_script

Refused = Callable[[str], list[str]]
TB = 10**12


def test_a_script_without_directives_asks_for_nothing() -> None:
    assert parse_script("#!/bin/bash\n#SBATCH -N 2\nsrun hostname\n") == Directives()
    assert parse_script("") == Directives()


def test_everything_at_once() -> None:
    script = """#!/bin/bash
#SBATCH --nodes=2
#DW jobdw type=scratch capacity=1TB access_mode=striped,private pool=fast
#DW swap 100GB
#DW persistentdw name=climate-2
#DW stage_in type=directory source=~/in destination=$DW_JOB_STRIPED/in
#DW stage_out type=file source=$DW_PERSISTENT_STRIPED_climate_2/out destination=/lustre/me/out
srun ./model
"""
    assert parse_script(script) == Directives(
        capacity=TB,
        pool="fast",
        striped=True,
        private=True,
        swap=100 * 10**9,
        persistent=("climate-2",),
        stage_in=(StageRequest(source="~/in", destination="$DW_JOB_STRIPED/in", kind="directory"),),
        stage_out=(StageRequest(source="$DW_PERSISTENT_STRIPED_climate_2/out", destination="/lustre/me/out"),),
    )


@pytest.mark.parametrize(
    ("options", "striped", "private"),
    [
        ("", True, False),
        ("access_mode=striped", True, False),
        ("access=striped", True, False),
        ("access_mode=private", False, True),
        ("access_mode=private,striped", True, True),
        ("access_mode=striped(MFS=2GB,client_cache=yes),private(MFC=10)", True, True),
        ("access=private access_mode=private", False, True),
    ],
)
def test_access_modes(options: str, striped: bool, private: bool) -> None:
    directives = parse_script(f"#DW jobdw capacity=1TB {options}\n")
    assert (directives.striped, directives.private) == (striped, private)


def test_several_jobdw_lines_are_summed_and_the_last_pool_wins_as_in_slurm() -> None:
    directives = parse_script("#DW jobdw capacity=1TB pool=a\n#DW jobdw capacity=2TB pool=b access_mode=private\n")
    assert (directives.capacity, directives.pool) == (3 * TB, "b")
    assert directives.striped
    assert directives.private
    assert directives.notes == ("line 2: a job has one pool, the last that is named: b",)


def test_a_last_jobdw_without_a_pool_means_the_default_pool_as_in_slurm() -> None:
    directives = parse_script("#DW jobdw capacity=1TB pool=a\n#DW jobdw capacity=2TB\n")
    assert directives.pool == ""
    assert "the default pool" in directives.notes[0]


def test_capacity_in_granules() -> None:
    directives = parse_script("#DW jobdw capacity=12N\n#DW jobdw capacity=3nodes\n#DW jobdw capacity=48\n")
    assert (directives.granules, directives.capacity) == (15, 48)


@pytest.mark.parametrize(
    ("line", "swap"),
    [("swap 150GiB", 150 << 30), ("swap 150GB", 150 * 10**9), ("swap 150", 150 << 30), ("swap 1T pool=fast", 1 << 40)],
)
def test_swap_keeps_its_unit_and_a_bare_number_is_gib_as_in_slurms_bb_option(line: str, swap: int) -> None:
    assert parse_script(f"#DW {line}\n").swap == swap


def test_swap_with_a_pool_as_salloc_bb_writes_it() -> None:
    directives = parse_script("#DW swap 5GiB pool=p\n#DW jobdw capacity=100GB access_mode=striped pool=p type=scratch")
    assert (directives.swap, directives.swap_pool, directives.pool, directives.capacity) == (5 << 30, "p", "p", 100 * 10**9)
    assert directives.notes == ()


def test_swap_in_another_pool_is_charged_to_the_last_as_in_slurm() -> None:
    directives = parse_script("#DW jobdw capacity=1TB pool=a\n#DW swap 1GB pool=b\n")
    assert (directives.pool, directives.swap_pool) == ("b", "b")
    assert "one pool" in directives.notes[0]


def test_create_persistent_with_all_options() -> None:
    script = "#BB create_persistent name=my_buf capacity=1TB access=striped type=scratch pool=fast\n"
    assert parse_script(script).creates == (CreateBuffer("my_buf", TB, pool="fast"),)


def test_create_persistent_with_what_slurm_needs() -> None:
    created = CreateBuffer("b", TB, pool="", access="striped", type="scratch")
    assert parse_script("#BB create_persistent name=b capacity=1TB\n").creates == (created,)


def test_destroy_persistent() -> None:
    script = "#BB destroy_persistent name=a\n#BB destroy_persistent name=b hurry\n"
    assert parse_script(script).destroys == (DestroyBuffer("a"), DestroyBuffer("b", hurry=True))


def test_a_buffer_used_twice_is_attached_once() -> None:
    assert parse_script("#DW persistentdw name=a\n#DW persistentdw name=a\n").persistent == ("a",)


@pytest.mark.parametrize(
    "option", ["sync_on_close=yes", "read_ahead=8M:4", "optimization_strategy=wear", "pfs=/lustre", "write_window_length=1"]
)
def test_modifiers_of_datawarp_are_noted_and_have_no_effect(option: str) -> None:
    directives = parse_script(f"\n#DW jobdw capacity=1TB {option}\n")
    assert directives.notes == (f"line 2: {option.partition('=')[0]} of jobdw is accepted and has no effect",)
    assert directives == parse_script("#DW jobdw capacity=1TB\n")


def test_tolerate_errors_is_noted() -> None:
    script = "#DW jobdw capacity=1TB\n#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/a tolerate_errors=yes\n"
    assert parse_script(script).notes == ("line 2: tolerate_errors of stage_in is accepted and has no effect",)


def test_modifiers_of_an_access_mode_are_noted() -> None:
    assert "MFS of access_mode" in parse_script("#DW jobdw capacity=1TB access_mode=striped(MFS=1GB)\n").notes[0]


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("#DW jobdv capacity=1TB", 5, "unknown command jobdv: write one of jobdw, persistentdw"),
        ("#DW create_persistent name=a capacity=1TB", 5, "permission error: write #BB create_persistent"),
        ("#DW destroy_persistent name=a", 5, "permission error: write #BB destroy_persistent"),
        ("#BB jobdw capacity=1TB", 5, "belongs on a #DW line"),
        ("#BB stage_in type=file", 5, "belongs on a #DW line"),
        ("#DW jobdw", 5, "jobdw needs capacity="),
        ("#DW jobdw capacity", 11, "option capacity has no value"),
        ("#DW jobdw capacity=", 11, "option capacity has an empty value"),
        ("#DW jobdw capacity=3.5TB", 20, "Slurm reads 3.5TB as 3 bytes: write 3500GB"),
        ("#DW jobdw capacity=0", 20, "more than 0"),
        ("#DW jobdw capacity=1TB color=red", 24, "unknown option color of jobdw: it takes capacity=, pool=,"),
        ("#DW jobdw capacity=1TB red", 24, "red is no option of jobdw"),
        ("#DW jobdw capacity=1TB type=cache", 29, "cache buffers are not supported"),
        ("#DW jobdw capacity=1TB type=raw", 29, "only type is scratch"),
        ("#DW jobdw capacity=1TB access_mode=ldbalance", 36, "load-balanced access is not supported"),
        ("#DW jobdw capacity=1TB access_mode=striped,", 36, "write striped, private"),
        ("#DW jobdw capacity=1TB access_mode=striped(MFS=1", 36, "write striped, private"),
        ("#DW jobdw capacity=1TB access_mode=striped(color=1)", 36, "modifiers of an access mode are MFS="),
        ("#DW jobdw capacity=1TB pool=a/b", 29, "pool=a/b: use a letter"),
        ("#DW jobdw capacity=1TB capacity=2TB", 24, "given twice, as 1TB and 2TB"),
        ("#DW jobdw capacity=1TB access=private access_mode=striped", 39, "given twice, as private and striped"),
        ("#DW swap", 5, "swap needs a size"),
        ("#DW swap pool=p", 5, "swap needs a size"),
        ("#DW swap 1.5GB", 10, "swap 1.5GB: Slurm reads 1.5GB as 1 byte: write 1500MB"),
        ("#DW swap 0", 10, "more than 0"),
        ("#DW swap 12N", 10, "units of a pool are not allowed"),
        ("#DW swap=5GiB", 5, "unknown command"),
        ("#DW persistentdw", 5, "persistentdw needs name="),
        ("#DW persistentdw name=a'b", 24, "a quote that is never closed"),
        ("#BB create_persistent name=a", 5, "create_persistent needs capacity="),
        ("#BB create_persistent capacity=1TB", 5, "create_persistent needs name="),
        ("#BB create_persistent name=a capacity=12N", 39, "units of a pool are not allowed"),
        ("#BB create_persistent name=a capacity=1TB access=private", 50, "can only be striped"),
        ("#BB create_persistent name=a capacity=1TB mode=770", 48, "cannot be shared"),
        ("#BB create_persistent name=a capacity=1TB group=climate", 49, "cannot be shared"),
        ("#BB destroy_persistent name=a quickly", 31, "it takes name=, hurry"),
        ("#DW stage_in type=bogus source=/a destination=$DW_JOB_STRIPED/", 19, "write file, directory or list"),
        ("#DW stage_in source=/a destination=$DW_JOB_STRIPED/", 5, "needs type="),
        ("#DW stage_in type=file destination=$DW_JOB_STRIPED/", 5, "needs source="),
        ("#DW stage_in type=file source=/a", 5, "needs destination="),
        ("#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/ tolerate_errors=maybe", 79, "write yes or no"),
    ],
)
def test_a_wrong_directive_is_refused_at_its_place(line: str, column: int, said: str, refused: Refused) -> None:
    problems = refused(f"#!/bin/sh\n#DW jobdw capacity=1TB\n{line}\n")
    assert len(problems) == 1
    assert problems[0].startswith(f"line 3, column {column}: ")
    assert said in problems[0]


def test_all_problems_are_told_at_once_in_the_order_of_the_script(refused: Refused) -> None:
    problems = refused("#DW jobdw capacity=x color=red\n#DW swap -1\n#BB create_persistent name=1 capacity=1.5\n")
    assert [problem.partition(":")[0] for problem in problems] == [
        "line 1, column 20",
        "line 1, column 22",
        "line 2, column 10",
        "line 3, column 28",
        "line 3, column 39",
    ]


def test_ten_thousand_problems_are_counted_not_printed(refused: Refused) -> None:
    problems = refused("#DW nonsense\n" * 10_000)
    assert len(problems) == 101
    assert problems[-1] == "and 9900 more"


def test_the_same_value_twice_is_fine() -> None:
    assert parse_script("#DW jobdw capacity=1TB capacity=1TB\n").capacity == TB


def test_the_sum_of_sizes_is_bounded(refused: Refused) -> None:
    assert "capacity of all lines" in refused("#DW jobdw capacity=5000PiB\n#DW jobdw capacity=5000PiB\n")[0]
    assert "swap of all lines" in refused("#DW swap 5000PiB\n#DW swap 5000PiB\n")[0]


def test_buffers_that_would_share_a_variable_are_refused(refused: Refused) -> None:
    problems = refused("#DW persistentdw name=a-b\n#DW persistentdw name=a.b\n")
    assert problems == ["line 2, column 23: buffers a-b and a.b would both be $DW_PERSISTENT_STRIPED_a_b in the job: use one of them"]


def test_the_number_of_persistent_buffers_is_bounded(refused: Refused) -> None:
    lines = [f"#DW persistentdw name=b{number}\n" for number in range(66)]
    assert len(parse_script("".join(lines[:64])).persistent) == 64
    assert refused("".join(lines)) == ["line 65, column 23: a job can use at most 64 persistent buffers: use fewer"]


def test_creating_a_buffer_twice_differently_is_refused(refused: Refused) -> None:
    line = "#BB create_persistent name=a capacity={}\n"
    assert len(parse_script(line.format("1TB") * 2).creates) == 1
    assert "created twice" in refused(line.format("1TB") + line.format("2TB"))[0]


def test_destroying_a_buffer_both_ways_is_refused(refused: Refused) -> None:
    assert "both with and without hurry" in refused("#BB destroy_persistent name=a\n#BB destroy_persistent name=a hurry\n")[0]
