"""Sizes as Slurm and its users write them: read exactly, or refused with what Slurm would have read instead.

Slurm takes an integer and one of these units, in any case (common.c, ``bb_get_size_num``): K or KiB … P or PiB
count in 1024s, KB … PB in 1000s, no unit is bytes, and N, node or nodes counts a pool's granules. Of anything
else it silently reads a part: ``3.5TB`` is 3 bytes to it. So anything else is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from dacc_core.errors import BadSize
from dacc_core.names import check_pool, shorten

MAX_SIZE = 2**63 - 1
"""The largest size: stores and providers keep sizes in 64 bits, signed."""

_LETTERS = "KMGTP"
_BINARY: dict[str, int] = {f"{letter}iB": 1024**power for power, letter in enumerate(_LETTERS, 1)}
_DECIMAL: dict[str, int] = {f"{letter}B": 1000**power for power, letter in enumerate(_LETTERS, 1)}
_UNITS: dict[str, int] = {"": 1} | {unit.lower(): factor for unit, factor in (_BINARY | _DECIMAL).items()}
_UNITS |= {letter.lower(): _BINARY[f"{letter}iB"] for letter in _LETTERS}
_GRANULES = frozenset({"n", "node", "nodes"})
_KNOWN = "K, M, G, T or P with B (1000s) or iB (1024s)"

_SIZE = re.compile(r"([0-9]+)([A-Za-z]*)")
_FRACTION = re.compile(r"([0-9]+)\.([0-9]+)([A-Za-z]*)")
_START = re.compile(r"[0-9]+")
_LONGEST = 32  # characters; the largest size has 19 digits


@dataclass(frozen=True, slots=True)
class Amount:
    """A capacity as it was written: bytes, or a number of a pool's granules. One of the two is 0."""

    bytes: int = 0
    granules: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """Slurm's ``--capacity POOL:SIZE``."""

    pool: str
    bytes: int = 0
    granules: int = 0


def parse_size(text: str, *, allow_zero: bool = False) -> int:
    """The bytes of a size such as ``1400GiB``, ``100GB`` or ``48``. Raises :class:`BadSize`."""
    number, unit = _read(text, allow_zero)
    if unit in _GRANULES:
        raise _bad(text, f"units of a pool are not allowed here: use {_KNOWN}")
    return number * _UNITS[unit]


def parse_amount(text: str, *, allow_zero: bool = False) -> Amount:
    """A size, or a number of granules such as ``12N``. Raises :class:`BadSize`."""
    number, unit = _read(text, allow_zero)
    return Amount(granules=number) if unit in _GRANULES else Amount(bytes=number * _UNITS[unit])


def parse_capacity(text: str) -> Capacity:
    """Slurm's ``--capacity``: a pool and a size, which may be 0 for a job that has no buffer of its own.

    Raises :class:`BadSize`, and :class:`~dacc_core.errors.BadName` for the pool.
    """
    pool, colon, size = text.partition(":")
    if not colon:
        raise _bad(text, "write it as POOL:SIZE, for example default:400GiB")
    amount = parse_amount(size, allow_zero=True)
    return Capacity(pool=check_pool(pool), bytes=amount.bytes, granules=amount.granules)


def format_size(size: int) -> str:
    """A size for people, as dwstat shows it: at most two decimals of the largest binary unit, ``7.28TiB``."""
    units = [("", 1), *_BINARY.items()]
    place = max(place for place, (_, factor) in enumerate(units) if place == 0 or size >= factor)
    hundredths = _hundredths(size, units[place][1])
    if hundredths >= 102400 and place + 1 < len(units):  # 1023.999GiB rounds to 1024GiB: call it 1TiB
        place += 1
        hundredths = _hundredths(size, units[place][1])
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02}".rstrip("0").rstrip(".") + units[place][0]


def format_exact(size: int) -> str:
    """The size with the largest binary unit that states it exactly; :func:`parse_size` reads it back."""
    for unit, factor in reversed(_BINARY.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _hundredths(size: int, factor: int) -> int:
    return (size * 100 + factor // 2) // factor


def _read(text: str, allow_zero: bool) -> tuple[int, str]:
    """A number and its unit in lower case, which is a key of ``_UNITS`` or in ``_GRANULES``."""
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if not match:
        raise _bad(text, _what_is_wrong(text))
    number, unit = int(match[1]), match[2].lower()
    factor = 1 if unit in _GRANULES else _UNITS.get(unit)
    if factor is None:
        raise _bad(text, f"unit {match[2]} is unknown and Slurm reads {_bytes(number)}: use {_KNOWN}")
    if number * factor > MAX_SIZE:
        raise _bad(text, f"it is more than {MAX_SIZE} bytes")
    if number == 0 and not allow_zero:
        raise _bad(text, "it must be more than 0")
    return number, unit


def _bytes(number: int) -> str:
    return f"{number} byte" if number == 1 else f"{number} bytes"


def _bad(text: str, why: str) -> BadSize:
    return BadSize(size=shorten(text, _LONGEST), why=why)


def _what_is_wrong(text: str) -> str:
    """Why a text is no whole number with a unit."""
    if not text:
        return "it is empty: write a whole number and a unit, for example 3500GB"
    if len(text) > _LONGEST:
        return f"it has {len(text)} characters, more than any size needs"
    if fraction := _FRACTION.fullmatch(text):
        return _about_fraction(text, *fraction.groups())
    if text[0] in "+-":
        return "a size has no sign: write digits and a unit, for example 3500GB"
    start = _START.match(text)
    if not start:
        return "it does not start with a digit 0-9: write a whole number and a unit, for example 3500GB"
    return f"only a unit may follow the digits, and Slurm reads {_bytes(int(start[0]))}: use {_KNOWN}"


def _about_fraction(text: str, whole: str, digits: str, unit: str) -> str:
    slurm = f"Slurm reads {text} as {_bytes(int(whole))}"
    factor = _UNITS.get(unit.lower())
    if factor is None:
        return f"{slurm}: write a whole number and a unit, for example 3500GB"
    return f"{slurm}: write {_whole(Fraction(f'{whole}.{digits}') * factor, factor)}"


def _whole(size: Fraction, factor: int) -> str:
    """A size in the next smaller unit of the same kind that states it without decimals; rounded up if none does."""
    family = _DECIMAL if factor in _DECIMAL.values() else _BINARY
    smaller = [(name, step) for name, step in family.items() if step < factor]
    for name, step in reversed(smaller):
        if size % step == 0:
            return f"{size // step}{name}"
    name, step = smaller[-1] if smaller else ("", 1)
    return f"{-(-size // step)}{name}"
