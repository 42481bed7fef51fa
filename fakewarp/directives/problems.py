"""What is wrong with a script: problems with their positions, gathered and then raised together."""

from __future__ import annotations

from typing import NamedTuple

from dacc_core.errors import BadDirectives
from dacc_core.names import shorten

MAX_PROBLEMS = 100
"""So many are written out; a file of ten thousand wrong lines is not worth ten thousand lines at the terminal."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.,:/~$%")


class ScriptPosition(NamedTuple):
    """A line and a column of the script, both counted from 1."""

    line: int
    column: int


class Problems:
    """Problems of one script; :meth:`check` raises them all as one error."""

    def __init__(self) -> None:
        self._problems: list[tuple[ScriptPosition, str]] = []

    def __len__(self) -> int:
        return len(self._problems)

    def add(self, position: ScriptPosition, text: str) -> None:
        """Record a problem: what, why, and what to do, on one line."""
        self._problems.append((position, text))

    def check(self) -> None:
        """Raise :class:`BadDirectives` when there is any problem."""
        if not self._problems:
            return
        lines = [f"line {position.line}, column {position.column}: {text}" for position, text in sorted(self._problems)]
        more = len(lines) - MAX_PROBLEMS
        if more > 0:
            lines[MAX_PROBLEMS:] = [f"and {more} more"]
        raise BadDirectives(problems="\n".join(lines))


def shown(text: str, limit: int = 60) -> str:
    """A user's text as a message may show it: on one line, bounded, and nothing that a terminal would act on."""
    text = shorten(text, limit)
    if text and _PLAIN.issuperset(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character.isprintable() and character not in '"\\':
        return character
    return "\\" + character if character in '"\\' else character.encode("unicode_escape").decode("ascii")
