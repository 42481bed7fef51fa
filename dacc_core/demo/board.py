"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass
class Row:
    """One line: what is done, for whom, how it ended."""

    what: str
    note: str = ""
    seconds: float = -1.0
    good: bool = True


class Board:
    """Rows that appear when something begins and are completed when it ends."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, refresh_per_second=8) if self._console.is_terminal else None
        self._begun = time.monotonic()

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.update(self._table())
            self._live.stop()
        if error is None:
            self._console.print(f"{len(self._rows)} steps in {time.monotonic() - self._begun:.1f} s", highlight=False)

    def begin(self, what: str) -> Row:
        """Something begins."""
        row = Row(what)
        self._rows.append(row)
        self._show()
        return row

    def end(self, row: Row, seconds: float, note: str = "", *, good: bool = True) -> None:
        """It has ended."""
        row.seconds, row.note, row.good = seconds, note, good
        if self._live:
            self._show()
        else:
            line = f"{_mark(row)} {seconds:7.3f} s  {row.what:<58} {note}".rstrip()
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        if self._live:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table(title="the Data Accelerator: three jobs and their buffers", title_justify="left")
        for name in ("", "step", "seconds", "result"):
            table.add_column(name)
        height = max(8, self._console.height - 6)
        for row in self._rows if not self._live or not self._live.is_started else self._rows[-height:]:
            table.add_row(_mark(row), row.what, f"{row.seconds:.3f}" if row.seconds >= 0 else "…", row.note)
        return table


def _mark(row: Row) -> str:
    return "…" if row.seconds < 0 else "✓" if row.good else "✗"
