"""From a script's text to its directive lines, continuations joined, each word with its position.

This follows ``_xlate_batch`` of Slurm's burst_buffer_datawarp.c: empty lines are skipped, the first line that does
not start with ``#`` ends the header, a line belongs to us by its first three characters, and a backslash at its
end joins the next line of the same prefix.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from fakewarp.directives.problems import Problems, ScriptPosition, shown
from fakewarp.directives.rules import COMMANDS

MAX_DIRECTIVES = 512 * 1024
"""Characters of directives that are read: Slurm holds its job lock meanwhile. Stage requests have a bound of their own."""

BLANKS = " \t"

_WORD = re.compile(r"""[ \t]+|(?:[^ \t"']+|"[^"]*"|'[^']*')+|["']""")
_QUOTED = re.compile(r"""(["'])(.*?)\1""")
_UNWANTED = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_END = re.compile(r"^(?!#|\r?(?:\n|\Z))", re.MULTILINE)
_OURS = re.compile(r"^#(?:DW|BB)[^\n]*", re.MULTILINE)
_LATER = re.compile(r"^#(?:DW|BB)[ \t]+(?:" + "|".join(COMMANDS) + r")\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes; ``start`` and ``end`` say where it stands in the directive's text."""

    text: str
    start: int
    end: int
    quoted: bool


@dataclass(slots=True)
class Directive:
    """A directive: the joined text after the prefix, and where each part of it comes from."""

    prefix: str
    text: str = ""
    words: list[Word] = field(default_factory=list)
    broken: bool = False
    _starts: list[int] = field(default_factory=list)
    _positions: list[ScriptPosition] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _length: int = 0

    def append(self, text: str, position: ScriptPosition) -> None:
        """Add the text of one line; :meth:`join` then makes ``text``."""
        self._starts.append(self._length)
        self._positions.append(position)
        self._parts.append(text)
        self._length += len(text)

    @property
    def ends_blank(self) -> bool:
        """Whether what was appended last ends with white space."""
        return self._parts[-1].endswith(tuple(BLANKS))

    def join(self) -> None:
        """Make ``text`` of the parts."""
        self.text = "".join(self._parts)

    def position(self, offset: int = 0) -> ScriptPosition:
        """Where a character of ``text`` stands in the script."""
        index = max(bisect_right(self._starts, offset) - 1, 0)
        line, column = self._positions[index]
        return ScriptPosition(line, column + offset - self._starts[index])


def lex(text: str, problems: Problems, notes: list[str]) -> list[Directive]:
    """The directives of a script; what cannot be read is reported and its directive is ``broken``."""
    directives = list(_Joiner(problems).join(_our_lines(_header(text, problems, notes))))
    for directive in directives:
        directive.join()
        if not directive.broken:
            directive.broken = not _readable(directive, problems) or not _split(directive, problems)
    return directives


def _header(text: str, problems: Problems, notes: list[str]) -> str:
    """The part of a script that Slurm looks at."""
    end = _END.search(text)
    header = text[: end.start()] if end else text
    if end and (later := _LATER.search(text, end.start())):
        first, ignored = (text.count("\n", 0, position) + 1 for position in (end.start(), later.start()))
        notes.append(f"line {ignored}: directives after the first command (line {first}) are not read")
    if "\r\n" in header:
        # Slurm ends lines at \n and values at a space, so the CR becomes part of the last value of each line.
        notes.append("lines end in CR LF, and Slurm takes the CR into the last value of each line: save the script with Unix line ends")
    nul = header.find("\0")
    if nul >= 0:
        start = header.rfind("\n", 0, nul) + 1
        position = ScriptPosition(header.count("\n", 0, nul) + 1, nul - start + 1)
        problems.add(position, "a NUL byte: Slurm reads a script only up to it: remove it")
        header = header[:start]
    return header


def _our_lines(header: str) -> Iterator[tuple[int, str, bool]]:
    """The lines with our prefixes: number, text, and whether only empty lines separate it from the one before.

    Other lines are skipped by the regular expression: a script may have millions, and Slurm waits under a lock.
    """
    number, start, end = 1, 0, 0
    for match in _OURS.finditer(header):
        number += header.count("\n", start, match.start())
        adjacent = not header[end : match.start()].strip("\r\n")
        start, end = match.span()
        yield number, match[0].removesuffix("\r"), adjacent


class _Joiner:
    """Joins continued lines."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._open: Directive | None = None
        self._size = 0

    def join(self, lines: Iterator[tuple[int, str, bool]]) -> Iterator[Directive]:
        """The directives; each is whole when the iterator is exhausted."""
        for number, line, adjacent in lines:
            prefix = line[:3]
            if self._open is not None and adjacent:
                self._continue(self._open, prefix, number, line)
            else:
                self._nothing_follows()
                if directive := self._begin(prefix, number, line):
                    yield directive
            if self._size > MAX_DIRECTIVES:
                return
        self._nothing_follows()

    def _begin(self, prefix: str, number: int, line: str) -> Directive | None:
        rest = line[3:]
        directive = Directive(prefix)
        if rest and not rest[0].isspace():
            if not rest.startswith(tuple(COMMANDS)):
                return None  # a comment such as #BBQ; Slurm ignores it too
            missing = f"Slurm takes this for a directive, but a space is missing after {prefix}: add it"
            self._break(directive, ScriptPosition(number, 4), missing)
        self._append(directive, rest, ScriptPosition(number, 4))
        return directive

    def _continue(self, directive: Directive, prefix: str, number: int, line: str) -> None:
        if prefix != directive.prefix:
            wrong = f"a {directive.prefix} line is continued by a {prefix} line, which Slurm refuses"
            self._break(directive, ScriptPosition(number, 1), f"{wrong}: begin both with {directive.prefix}")
        text, column = line[3:], 4
        if directive.ends_blank:  # as Slurm: blanks on both sides of a continuation are one run
            stripped = text.lstrip(BLANKS)
            text, column = stripped, column + len(text) - len(stripped)
        self._append(directive, text, ScriptPosition(number, column))

    def _append(self, directive: Directive, text: str, position: ScriptPosition) -> None:
        continued = text.endswith("\\")
        directive.append(text[:-1] if continued else text, position)
        self._open = directive if continued else None
        self._size += len(text)
        if self._size > MAX_DIRECTIVES:
            limit = MAX_DIRECTIVES // 1024
            problem = f"directives of more than {limit} KiB in all, not read from here on: stage directories, or use type=list"
            self._break(directive, position, problem)

    def _nothing_follows(self) -> None:
        """A continuation that Slurm drops without a word."""
        if self._open is None:
            return
        directive, self._open = self._open, None
        wrong = f"a backslash ends this directive, but the next line does not begin with {directive.prefix}"
        self._break(directive, directive.position(), f"{wrong}: begin it so, or remove the backslash")

    def _break(self, directive: Directive, position: ScriptPosition, problem: str) -> None:
        """Give a directive up, for one reason."""
        if not directive.broken:
            directive.broken = True
            self._problems.add(position, problem)


def _readable(directive: Directive, problems: Problems) -> bool:
    unwanted = _UNWANTED.search(directive.text)
    if not unwanted:
        return True
    if "\ud800" <= unwanted[0] <= "\udfff":
        what = "bytes that are not UTF-8, which cannot be kept: rename the file, or stage the directory that holds it"
    else:
        what = f"the control character {shown(unwanted[0])}: remove it"
    problems.add(directive.position(unwanted.start()), what)
    return False


def _split(directive: Directive, problems: Problems) -> bool:
    for match in _WORD.finditer(directive.text):
        word = match[0]
        if word[0] in BLANKS:
            continue
        if word in ('"', "'"):
            other = "double" if word == "'" else "single"
            what = f"a quote that is never closed: close it, or use {other} quotes around a value that contains one"
            problems.add(directive.position(match.start()), what)
            return False
        quoted = '"' in word or "'" in word
        directive.words.append(Word(_QUOTED.sub(r"\2", word) if quoted else word, match.start(), match.end(), quoted))
    return True
