"""Scripts with which the Go implementation panicked, or did nothing and said it was well."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core.errors import BadDirectives
from fakewarp.directives import PoolSize, check_pools, parse_script

Refused = Callable[[str], list[str]]


def test_go_row_13_a_misspelt_option_does_not_reach_the_daemon(refused: Refused) -> None:
    problems = refused("#DW persistentdw nam=foo x=y\n")
    assert [problem.partition(": ")[2].partition(":")[0] for problem in problems] == [
        "persistentdw needs name=",
        "unknown option nam of persistentdw",
        "unknown option x of persistentdw",
    ]


def test_go_row_14_another_jobs_id_is_no_buffer_name(refused: Refused) -> None:
    assert "starts with a digit is a job's" in refused("#DW persistentdw name=4711\n")[0]


def test_go_row_15_an_unknown_access_mode_is_refused(refused: Refused) -> None:
    problems = refused("#DW jobdw capacity=1TB access_mode=bogus\n#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/\n")
    assert problems == ["line 1, column 36: access_mode=bogus: write striped, private or striped,private"]


def test_go_row_16_a_buffer_that_does_not_exist_is_asked_for_not_forgotten() -> None:
    """It may be created before the job starts, so it is no error at submit; setup finds it in ``persistent``."""
    assert parse_script("#DW persistentdw name=nosuch\n").persistent == ("nosuch",)


@pytest.mark.parametrize("capacity", ["NaNGB", "InfTB", "1e300TiB", "-100GB", "0", "1_0GB", "0x10GB", "99999999999999999999", "8388608TiB"])
def test_go_row_19_a_capacity_that_is_no_number_is_refused(capacity: str, refused: Refused) -> None:
    assert refused(f"#DW jobdw capacity={capacity}\n")[0].startswith(f"line 1, column 20: capacity={capacity}: ")


@pytest.mark.parametrize(
    "line", ["jobdw capacity=1TB access=bogus", "jobdw capacity=1TB type=bogus", "jobdw capacity=1TB capacity=2TB", "swap -1"]
)
def test_go_row_19_bogus_options_are_refused(line: str, refused: Refused) -> None:
    assert refused(f"#DW {line}\n")


@pytest.mark.parametrize("line", ["jobdw capacity=100G", "jobdw capacity=100gb", " jobdw capacity=1TB"])
def test_go_row_19_what_slurm_reads_is_accepted(line: str) -> None:
    assert parse_script(f"#DW {line}\n").capacity


def test_go_row_20_a_capacity_beyond_64_bits_is_no_empty_grant(refused: Refused) -> None:
    assert "more than 9223372036854775807 bytes" in refused("#DW jobdw capacity=8388608TiB\n")[0]


def test_go_row_21_an_underscore_in_a_name() -> None:
    assert parse_script("#BB create_persistent name=test_buffer capacity=1TB\n").creates[0].name == "test_buffer"


def test_contract_item_7_access_modes_with_modifiers_give_access() -> None:
    assert parse_script("#DW jobdw capacity=1TB access_mode=striped(client_cache=yes)\n").striped


def test_contract_item_7_nothing_is_read_past_the_first_command() -> None:
    assert parse_script("echo\n#DW jobdw capacity=nonsense\n").capacity == 0


@pytest.mark.parametrize("unit", ["KiB", "KB", "PiB", "PB", "K", "M", "G", "T", "P"])
def test_contract_item_8_units_that_data_acc_lacks(unit: str) -> None:
    assert parse_script(f"#DW jobdw capacity=3{unit}\n").capacity > 0


def test_contract_item_8_granules() -> None:
    assert parse_script("#DW jobdw capacity=3N\n").granules == 3


def test_contract_item_9_a_dash_in_a_name_gives_a_legal_variable() -> None:
    script = "#DW persistentdw name=a-b\n#DW stage_in type=file source=/x destination=$DW_PERSISTENT_STRIPED_a_b/\n"
    assert parse_script(script).stage_in[0].destination == "$DW_PERSISTENT_STRIPED_a_b/"


@pytest.mark.parametrize("line", ["jobdw capacity=1TB type=cache", "jobdw capacity=1TB access_mode=ldbalance"])
def test_contract_item_20_what_is_not_supported_is_refused_at_submit(line: str, refused: Refused) -> None:
    assert "not supported" in refused(f"#DW {line}\n")[0]


def test_contract_item_20_an_unknown_pool_is_refused_at_submit() -> None:
    with pytest.raises(BadDirectives, match="pool nosuch does not exist"):
        check_pools(parse_script("#DW jobdw capacity=1TB pool=nosuch\n"), {"default": PoolSize(1 << 30, 5000)}, "default")


def test_contract_item_20_create_persistent_needs_no_access_and_no_type() -> None:
    assert parse_script("#BB create_persistent name=a capacity=1TB\n").creates[0].access == "striped"


@pytest.mark.parametrize("hostile", ["\x1b[2Jx", "a\\nb", "\u202egnp", "x" * 5000, "{0.__class__}", "%s%n"])
def test_no_problem_echoes_what_a_terminal_would_act_on(hostile: str, refused: Refused) -> None:
    for script in (
        f"#DW {hostile} x=y",
        f"#DW jobdw capacity={hostile}",
        f"#DW jobdw capacity=1 {hostile}=1",
        f"#DW stage_in source={hostile}",
    ):
        assert all(len(problem) < 600 for problem in refused(script))
