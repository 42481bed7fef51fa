"""One figure of the table, and the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from .baselines import BASELINES, NO_BASELINE, Baseline


@dataclass(frozen=True, slots=True)
class Row:
    """A median (or a count). ``ratio`` is to ``beside``, which was run in turn with it; ``baseline`` is what it is compared with."""

    group: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    beside: str = ""

    @property
    def baseline(self) -> Baseline:
        """The peer's figure and our target."""
        return BASELINES.get((self.group, self.name), NO_BASELINE)

    @property
    def verdict(self) -> str:
        """Whether the target is met; empty where there is none."""
        baseline = self.baseline
        if not self.target:
            return ""
        ratio = self.ratio or 0.0
        fits = (
            baseline.most is None or self.value <= baseline.most,
            baseline.least is None or self.value >= baseline.least,
            baseline.most_ratio is None or ratio <= baseline.most_ratio,
        )
        return "met" if all(fits) else "missed"

    @property
    def target(self) -> str:
        """The target as people read it."""
        baseline = self.baseline
        bounds = (("<= {:g}", baseline.most), (">= {:g}", baseline.least), ("<= {:.2f}x", baseline.most_ratio))
        return " ".join(text.format(bound) for text, bound in bounds if bound is not None)

    def plain(self) -> dict[str, Any]:
        """The row as data."""
        return asdict(self) | {"peer": self.baseline.peer, "target": self.target, "verdict": self.verdict}


HEADER = ("", "median", "unit", "ratio", "beside", "peer", "target", "")


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of the table, one block for each group."""
    cells = {group: [_cells(row) for row in found] for group, found in groupby(rows, key=lambda row: row.group)}
    everything = [HEADER, *(line for lines in cells.values() for line in lines)]
    widths = [max(len(line[place]) for line in everything) for place in range(len(HEADER))]
    yield _line(HEADER, widths)
    for group, lines in cells.items():
        yield f"\n{group}"
        yield from (_line(line, widths) for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    peer = "" if row.baseline.peer is None else f"{row.baseline.peer:g}"
    return (f"  {row.name}", _number(row.value), row.unit, ratio, row.beside, peer, row.target, row.verdict)


def _number(value: float) -> str:
    return f"{value:.0f}" if value % 1 == 0 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(cells: Iterable[str], widths: list[int]) -> str:
    sides = (str.ljust, str.rjust, str.ljust, str.rjust, str.ljust, str.rjust, str.ljust, str.ljust)
    return "  ".join(side(cell, width) for side, cell, width in zip(sides, cells, widths, strict=True)).rstrip()
