"""What the pools say about a script."""

from __future__ import annotations

import pytest

from dacc_core.errors import BadDirectives
from fakewarp.directives import CreateBuffer, Directives, PoolSize, check_pools, parse_script

GIB = 1 << 30
POOLS = {"default": PoolSize(200 * GIB, 10), "fast": PoolSize(100 * GIB, 4), "empty": PoolSize(GIB, 0)}


def problems(script: str, pools: dict[str, PoolSize] = POOLS, default: str = "default") -> list[str]:
    with pytest.raises(BadDirectives) as caught:
        check_pools(parse_script(script), pools, default)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    "script",
    [
        "",
        "#DW persistentdw name=not_made_yet\n",
        "#DW jobdw capacity=2000GiB\n",
        "#DW jobdw capacity=48\n",
        "#DW jobdw capacity=400GiB pool=fast\n",
        "#DW jobdw capacity=300GiB pool=fast\n#DW swap 100GiB\n",
        "#BB create_persistent name=a capacity=400GiB pool=fast\n#BB create_persistent name=b capacity=400GiB pool=fast\n",
    ],
)
def test_what_fits_into_the_whole_pool_is_accepted(script: str) -> None:
    check_pools(parse_script(script), POOLS, "default")


def test_an_unknown_pool_is_refused_where_it_is_named() -> None:
    assert problems("\n#DW jobdw capacity=1GB pool=slow\n") == [
        "line 2, column 29: pool slow does not exist: write pool= with one of default, empty, fast"
    ]


def test_a_missing_default_pool_is_told() -> None:
    assert "the default pool main does not exist" in problems("#DW jobdw capacity=1GB\n", default="main")[0]


def test_without_any_pool_an_operator_must_help() -> None:
    assert "no storage node has registered a pool yet" in problems("#DW swap 1GB\n", {}, "")[0]


def test_many_pools_are_not_all_listed() -> None:
    many = {f"p{number:02}": PoolSize(GIB, 1) for number in range(30)}
    assert problems("#DW jobdw capacity=1GB pool=x\n", many)[0].endswith("p09 and 20 more")


@pytest.mark.parametrize(
    ("script", "needed"),
    [
        ("#DW jobdw capacity=2001GiB\n", 11),
        ("#DW jobdw capacity=2000GiB\n#DW swap 1GiB\n", 11),
        ("#DW swap 3000GiB\n", 15),
        ("#BB create_persistent name=a capacity=2001GiB\n", 11),
    ],
)
def test_what_can_never_fit_is_refused(script: str, needed: int) -> None:
    (problem,) = problems(script)
    assert problem.startswith("line 1, column ")
    assert problem.endswith(f"this needs {needed} bricks of 200GiB and pool default has 10 in all: ask for at most 2000GiB")


def test_units_of_a_pool_are_refused_with_what_to_write_instead() -> None:
    (problem,) = problems("#DW jobdw capacity=3N\n#DW jobdw capacity=50GiB\n")
    assert problem == "line 1, column 20: Slurm takes a number of units for petabytes: write capacity=650GiB"


def test_a_pool_without_bricks_fits_nothing() -> None:
    assert "has 0 in all" in problems("#DW jobdw capacity=1 pool=empty\n")[0]


def test_all_problems_are_told_at_once() -> None:
    script = "#DW jobdw capacity=1PB\n#BB create_persistent name=a capacity=1PB\n#BB create_persistent name=b capacity=1 pool=x\n"
    assert len(problems(script)) == 3


def test_directives_without_places_can_be_checked() -> None:
    with pytest.raises(BadDirectives, match="line 1, column 1: this needs"):
        check_pools(Directives(capacity=1 << 60), POOLS, "default")
    with pytest.raises(BadDirectives, match="pool x does not exist"):
        check_pools(Directives(creates=(CreateBuffer("a", 1, pool="x"),)), POOLS, "default")
    with pytest.raises(BadDirectives, match="pool y does not exist"):
        check_pools(Directives(swap=1, swap_pool="y"), POOLS, "default")
