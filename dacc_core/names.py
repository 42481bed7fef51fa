"""Names that come from outside (buffers, pools, job tokens, groups, hosts) and sets of hosts, folded as ``c[1-64]``.

The checks return the name they were given, so a caller can write ``pool = check_pool(text)``. What passes is
plain ASCII that no shell, path, option parser or environment can read as anything else.

A *folded* string is ClusterShell's notation without groups, operators and steps; ``""`` is no host. It is made
here rather than by ``NodeSet``, whose folding of names with several numbers (``x12c3n7``) is quadratic: a
half-allocated cluster of 30,000 such nodes takes it 13 s, more than Slurm grants a call under its lock. The
tests hold the result against ``NodeSet``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

from dacc_core.errors import BadName

MAX_NAME = 64
MAX_TEXT = 1000  # characters of a stranger's text that a message quotes
MAX_HOST = 253  # the longest name that DNS knows
MAX_HOSTS = 1_000_000  # what a folded string may expand to: beyond any cluster, and little memory
_MAX_JOB_ID = 0xFFFF_FFFF  # Slurm's job ids are 32 bits wide

_NAME_RULE = "use a letter, then letters, digits, '_', '.' and '-'"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
KEPT_PREFIX = "kept-"
"""What the token of a kept session begins with; no user may name a buffer so."""

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TOKEN = re.compile(r"[1-9][0-9]{0,9}")
_NOT_ENV = re.compile(r"[^A-Za-z0-9_]")
_DIGITS = re.compile(r"([0-9]+)")
_PIECE = re.compile(r"(?=[A-Za-z0-9\[])(?:[A-Za-z0-9_.-]|\[[0-9,-]+\])+")
_BRACKETS = re.compile(r"\[([0-9,-]+)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def shorten(text: str, limit: int = MAX_NAME) -> str:
    """The text, or its beginning and ``...`` when it is longer than ``limit``: for messages that quote a user."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """A text of strangers for messages, records and terminals: one line of printable characters, at most ``limit`` long.

    What cannot be printed becomes a backslash escape; what is longer, its beginning and ``...``.

    A host, a user or a provider may have written it: with line ends it would forge lines of ours, with escape sequences it would act on
    terminals, and a lone surrogate is in no encoding, so that no record could be written that holds it.
    """
    head = text.strip()[: limit + 1]
    return shorten("".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in head), limit)


def _check(what: str, name: str, rule: re.Pattern[str], limit: int, why: str) -> str:
    if not name:
        raise BadName(what=what, name=name, why="it is empty")
    if len(name) > limit:
        raise BadName(what=what, name=shorten(name), why=f"it has {len(name)} characters, more than {limit}")
    if not rule.fullmatch(name):
        raise BadName(what=what, name=name, why=why)
    return name


def check_buffer(name: str) -> str:
    """A persistent buffer's name. Raises :class:`BadName`."""
    if name[:1].isdigit():
        # Slurm takes a session whose token starts with a digit for a job's (burst_buffer_datawarp.c, _load_state).
        raise BadName(what="persistent buffer", name=shorten(name), why="a name that starts with a digit is a job's: start with a letter")
    if name.startswith(KEPT_PREFIX):
        raise BadName(what="persistent buffer", name=shorten(name), why=f"{KEPT_PREFIX}… is for sessions whose stage-out is owed")
    return _check("persistent buffer", name, _NAME, MAX_NAME, _NAME_RULE)


def check_pool(name: str) -> str:
    """A pool's name. Raises :class:`BadName`."""
    return _check("pool", name, _POOL, MAX_NAME, "use a letter or digit, then letters, digits, '_', '.' and '-'")


def check_host(name: str) -> str:
    """A host's name, safe as an argument of ssh and inside a folded string. Raises :class:`BadName`."""
    return _check("host", name, _HOST, MAX_HOST, "use a letter or digit, then letters, digits, '_', '.' and '-'")


def is_job_token(token: str) -> bool:
    """Whether a session's token is a Slurm job id."""
    return bool(_TOKEN.fullmatch(token)) and int(token) <= _MAX_JOB_ID


def check_job_token(token: str) -> str:
    """The token of a job's session: its job id. Raises :class:`BadName`."""
    if not is_job_token(token):
        raise BadName(what="job", name=shorten(token), why="a job's token is its job id: a positive decimal number without leading zeros")
    return token


def check_token(token: str) -> str:
    """Any session's token: a job id, or a persistent buffer's name. Raises :class:`BadName`."""
    return check_job_token(token) if token[:1].isdigit() else check_buffer(token)


def is_token(token: str) -> bool:
    """Whether a session of a front end can have this token."""
    try:
        check_token(token)
    except BadName:
        return False
    return True


def env_name(name: str) -> str:
    """The name as part of an environment variable's: what a shell variable cannot have becomes ``_``."""
    return _NOT_ENV.sub("_", name)


def parse_nodes(text: str) -> str:
    """Fold the text of a node file: one host per line, blank lines ignored, a repeated host counted once.

    Raises :class:`BadName`, naming the line, for anything else.
    """
    hosts = set()
    for number, line in enumerate(text.split("\n"), 1):
        host = line.removesuffix("\r")
        if not host.strip(" \t"):
            continue
        try:
            hosts.add(check_host(host))
        except BadName as error:
            raise BadName(what="host", name=shorten(host), why=f"line {number} of the node file: {error.fields['why']}") from None
    return _fold(hosts)


def fold(hosts: Iterable[str]) -> str:
    """Fold hosts into one string; the same set always gives the same string. Raises :class:`BadName`."""
    return _fold({check_host(host) for host in hosts})


def expand(folded: str) -> tuple[str, ...]:
    """The hosts of a folded string, each once, in its order. Raises :class:`BadName` when it is malformed or huge."""
    pieces = [_split(piece) for piece in _pieces(folded)]
    if sum(prod(map(_size, ranges)) for _, ranges in pieces) > MAX_HOSTS:
        raise BadName(what="host set", name=shorten(folded), why=f"it has more than {MAX_HOSTS} hosts")
    hosts: list[str] = []
    for literals, ranges in pieces:
        hosts.extend(_hosts(literals, ranges))
    return tuple(dict.fromkeys(hosts))


def count(folded: str) -> int:
    """How many hosts a folded string has. Raises :class:`BadName` as :func:`expand`."""
    return len(expand(folded))


def union(a: str, b: str) -> str:
    """The hosts of either; both are folded strings, as in :func:`minus` and :func:`both`."""
    if not b or a == b:
        return a
    return _fold({*expand(a), *expand(b)}) if a else b


def minus(a: str, b: str) -> str:
    """The hosts of ``a`` that are not in ``b``."""
    if not a or not b:
        return a
    return "" if a == b else _fold({*expand(a)}.difference(expand(b)))


def both(a: str, b: str) -> str:
    """The hosts that are in both."""
    if a == b:
        return a
    return _fold({*expand(a)}.intersection(expand(b))) if a and b else ""


# Folding. A host is literals with numbers between them: c12-ib3 is ("c", "-ib", "") and ("12", "3").


def _fold(hosts: set[str]) -> str:
    shapes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for host in hosts:
        parts = _DIGITS.split(host)
        shapes.setdefault(tuple(parts[::2]), []).append(tuple(parts[1::2]))
    return ",".join(piece for literals in sorted(shapes) for piece in _fold_shape(literals, shapes[literals]))


def _fold_shape(literals: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    for axis in _axes(rows):
        rows = _fold_axis(rows, axis)
    for row in sorted(rows, key=_first_numbers):
        yield "".join(part for pair in zip(literals, (*row, "")) for part in pair)


def _axes(rows: Sequence[tuple[str, ...]]) -> list[int]:
    """The numbers' positions, the one with the most values first, so that it becomes the longest range."""
    values = [len(set(column)) for column in zip(*rows)]
    return sorted(range(len(values)), key=lambda axis: (-values[axis], -axis))


def _fold_axis(rows: Sequence[tuple[str, ...]], axis: int) -> list[tuple[str, ...]]:
    """Join rows that differ in one position only."""
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for row in rows:
        alike.setdefault((row[:axis], row[axis + 1 :]), []).append(row[axis])
    return [(*before, _ranges(numbers), *after) for (before, after), numbers in alike.items()]


def _first_numbers(row: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((int(match[0]), cell) for cell in row if (match := _DIGITS.search(cell)))


def _ranges(numbers: list[str]) -> str:
    """``[1-3,7]``; numbers with leading zeros keep their width, so ``9`` and ``09`` stay two hosts."""
    if len(numbers) == 1:
        return numbers[0]
    padded = {len(number) for number in numbers if number[0] == "0" and len(number) > 1}
    by_width: dict[int, list[int]] = {}
    for number in numbers:
        by_width.setdefault(len(number) if len(number) in padded else 0, []).append(int(number))
    return "[" + ",".join(run for width in sorted(by_width) for run in _runs(sorted(by_width[width]), width)) + "]"


def _runs(numbers: list[int], width: int) -> Iterator[str]:
    first = last = numbers[0]
    for number in [*numbers[1:], -1]:  # no number follows -1: it ends the last run
        if number == last + 1:
            last = number
            continue
        start = str(first).zfill(width)
        yield start if first == last else f"{start}-{str(last).zfill(width)}"
        first = last = number


# Expanding.


def _pieces(folded: str) -> list[str]:
    if not folded:
        return []
    pieces, position = [], 0
    while match := _PIECE.match(folded, position):
        pieces.append(match[0])
        position = match.end() + 1
        if folded[match.end() : position] != ",":
            break
    if position != len(folded) + 1:
        raise BadName(what="host set", name=shorten(folded), why="write hosts and ranges such as c[1-64],d7")
    return pieces


def _split(piece: str) -> tuple[list[str], list[list[tuple[int, int, int]]]]:
    """The literals of a piece, and for each bracket its ranges: first, last, width."""
    parts = _BRACKETS.split(piece)
    return parts[::2], [[_range(text, piece) for text in part.split(",")] for part in parts[1::2]]


def _range(text: str, piece: str) -> tuple[int, int, int]:
    match = _RANGE.fullmatch(text)
    if not match or len(text) > MAX_HOST:
        raise BadName(what="host set", name=shorten(piece), why=f"{shorten(text)!r} is no range")
    start, end = match[1], match[2] or match[1]
    if int(end) < int(start):
        raise BadName(what="host set", name=shorten(piece), why=f"range {text} runs backwards")
    return int(start), int(end), len(start) if start[0] == "0" else 0


def _size(ranges: list[tuple[int, int, int]]) -> int:
    return sum(last - first + 1 for first, last, _ in ranges)


def _hosts(literals: list[str], ranges: list[list[tuple[int, int, int]]]) -> Iterable[str]:
    if not ranges:
        return literals
    columns = [[str(number).zfill(width) for first, last, width in column for number in range(first, last + 1)] for column in ranges]
    if len(columns) == 1:  # the usual case, twice as fast
        return [f"{literals[0]}{number}{literals[1]}" for number in columns[0]]
    form = "".join(f"{literal}%s" for literal in literals[:-1]) + literals[-1]
    return [form % numbers for numbers in product(*columns)]
