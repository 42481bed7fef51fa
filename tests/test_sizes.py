"""Sizes are read exactly or refused, and never as the part of them that Slurm would read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dacc_core.errors import BadName, BadSize, DaccError
from dacc_core.sizes import MAX_SIZE, Amount, Capacity, format_exact, format_size, parse_amount, parse_capacity, parse_size

SIZES = st.integers(min_value=0, max_value=MAX_SIZE)
POWERS = {letter: power for power, letter in enumerate("KMGTP", 1)}


def why(text: str) -> str:
    with pytest.raises(BadSize) as caught:
        parse_size(text)
    assert "\n" not in str(caught.value)
    return str(caught.value.fields["why"])


@pytest.mark.parametrize(("letter", "power"), POWERS.items())
def test_every_unit_of_slurm_contract_item_8(letter: str, power: int) -> None:
    """Contract 4.8: data-acc misses units that Slurm itself emits in --capacity."""
    assert parse_size(f"3{letter}") == 3 * 1024**power
    assert parse_size(f"3{letter}iB") == 3 * 1024**power
    assert parse_size(f"3{letter}B") == 3 * 1000**power


def test_a_bare_number_is_bytes() -> None:
    assert parse_size("48") == 48


def test_units_may_have_any_case_as_in_slurm() -> None:
    assert parse_size("100gb") == parse_size("100GB") == 100 * 10**9
    assert parse_size("1gib") == parse_size("1g") == 1 << 30


def test_leading_zeros_are_not_octal() -> None:
    assert parse_size("010") == 10


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("3.5TB", "3500GB"),
        ("3.5TiB", "3584GiB"),
        ("1.5K", "1536"),
        ("0.25P", "256TiB"),
        ("1.0GB", "1000MB"),
        ("0.3GiB", "308MiB"),
        ("1.5", "2"),
    ],
)
def test_a_decimal_is_refused_with_what_to_write_instead(text: str, instead: str) -> None:
    message = why(text)
    assert f"Slurm reads {text} as {text[0]} byte" in message
    assert message.endswith(f"write {instead}")
    parse_size(instead)


@pytest.mark.parametrize(
    "text", ["NaN", "NaNGB", "inf", "InfTB", "1e300TiB", "-100GB", "-1", "+5", "0x10GB", "1_0GB", "1,5TB", ".5TB", "5."]
)
def test_go_row_19_what_a_float_parser_takes_is_refused(text: str) -> None:
    assert why(text)


@pytest.mark.parametrize(
    "text", ["", " ", " 1GB", "1GB ", "1 GB", "1GB\n", "1\0GB", "GB", "1B", "1XB", "1GiBB", "1Gi", "1EB", "٣GB", "3㎇", "1\udcffGB"]
)
def test_anything_else_is_refused(text: str) -> None:
    assert why(text)


def test_an_unknown_unit_is_named_with_what_slurm_makes_of_it() -> None:
    assert "unit XB is unknown and Slurm reads 100 bytes" in why("100XB")


def test_zero_is_allowed_only_where_asked() -> None:
    assert why("0GB") == "it must be more than 0"
    assert parse_size("0GB", allow_zero=True) == 0


def test_the_largest_size_is_63_bits() -> None:
    assert parse_size(str(MAX_SIZE)) == MAX_SIZE
    assert "more than" in why(str(MAX_SIZE + 1))
    assert "more than" in why("8192PiB")


def test_a_number_of_ten_thousand_digits_is_refused_and_not_repeated() -> None:
    assert "10000 characters" in why("9" * 10_000)
    with pytest.raises(BadSize) as caught:
        parse_size("9" * 10_000)
    assert len(str(caught.value)) < 200


def test_granules_are_no_bytes() -> None:
    assert parse_amount("12N") == parse_amount("12node") == parse_amount("12Nodes") == Amount(granules=12)
    assert "not allowed here" in why("12N")


@pytest.mark.parametrize(
    ("text", "capacity"),
    [
        ("wlm_pool:1400GiB", Capacity("wlm_pool", bytes=1400 << 30)),
        ("p:2PiB", Capacity("p", bytes=2 << 50)),
        ("p:3000KB", Capacity("p", bytes=3_000_000)),
        ("p:429496729600", Capacity("p", bytes=400 << 30)),
        ("p:12N", Capacity("p", granules=12)),
        ("p:0", Capacity("p")),
    ],
)
def test_capacity_in_every_form_that_slurm_emits(text: str, capacity: Capacity) -> None:
    assert parse_capacity(text) == capacity


@pytest.mark.parametrize("text", ["default:-1GiB", "default:NaNGiB", "default:8388608TiB", "default:", "default", "a:b:1"])
def test_go_row_20_a_bad_capacity_is_no_grant_of_nothing(text: str) -> None:
    with pytest.raises(BadSize):
        parse_capacity(text)


@pytest.mark.parametrize("text", ["../x:1GiB", "défaut:1GiB", ":1GiB", "a b:1", "-p:1", "a\n:1", "x" * 65 + ":1"])
def test_go_row_20_a_bad_pool_is_no_panic(text: str) -> None:
    with pytest.raises(BadName):
        parse_capacity(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1KiB"),
        (1536, "1.5KiB"),
        (8_004_000_000_000, "7.28TiB"),
        (1023 << 30, "1023GiB"),
        ((1 << 40) - 1, "1TiB"),
        (MAX_SIZE, "8192PiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(SIZES)
def test_the_shown_size_is_within_a_hundredth_of_its_unit(size: int) -> None:
    text = format_size(size)
    number, unit = text.rstrip("KMGTPiB"), text.lstrip("0123456789.")
    factor = parse_size(f"1{unit}")
    assert abs(float(number) * factor - size) <= factor * 0.0051 + size * 1e-12
    assert float(number) < 1024 or unit == "PiB"


@given(SIZES)
def test_the_exact_form_reads_back(size: int) -> None:
    assert parse_size(format_exact(size), allow_zero=True) == size


@given(st.integers(min_value=1, max_value=1023), st.sampled_from(["KiB", "MiB", "GiB", "TiB", "PiB"]))
def test_the_exact_form_takes_the_largest_unit(number: int, unit: str) -> None:
    assert format_exact(parse_size(f"{number}{unit}")) == f"{number}{unit}"


def complaint(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except DaccError as error:
        return str(error)
    return ""


@given(st.text() | st.from_regex(r"[0-9+.eEx_-]{1,40}[a-zA-Z]{0,5}"))
def test_any_text_is_a_size_or_a_bad_size(text: str) -> None:
    for parse in (parse_size, parse_amount, parse_capacity):
        assert complaint(parse, text).isprintable()
