"""The walker's answers as we take them: they come from a process of the user's, who may have written them himself.

Nothing that root does depends on them, and whatever has not the shape that our walker gives it is no answer.
"""

from __future__ import annotations

import json
import posixpath
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec

from ..names import clean_text

MAX_COUNT = (1 << 63) - 1
"""What a record can hold; totals stop there."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Path = Annotated[str, msgspec.Meta(max_length=1 << 15)]
Text = Annotated[str, msgspec.Meta(max_length=1 << 10)]
T = TypeVar("T")


class WalkerAnswer(msgspec.Struct, frozen=True):
    """Base of all answers."""


class PairRefusal(WalkerAnswer, frozen=True):
    """A pair that cannot be copied; ``side``: the one at fault, where ``path`` is."""

    refused: Literal["missing", "denied", "full", "wrong"]
    path: Path
    why: Text
    side: Literal["source", "destination"]


class PairSurvey(WalkerAnswer, frozen=True):
    """What a pair's paths resolve to, and the totals of its source."""

    source: Path
    destination: Path
    folder: bool
    files: Count
    bytes: Count
    growth: Annotated[int, msgspec.Meta(ge=-MAX_COUNT, le=MAX_COUNT)]
    changed: Annotated[int, msgspec.Meta(ge=-MAX_COUNT, le=MAX_COUNT)]


class SurveyAnswer(WalkerAnswer, frozen=True):
    """Pairs, and when the walker began to look."""

    begun: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    pairs: list[dict[str, Any]]


class PairClash(WalkerAnswer, frozen=True):
    """Two pairs that would write one file, ``below`` the first one's destination."""

    first: Count
    second: Count
    below: Path


class ClashAnswer(WalkerAnswer, frozen=True):
    """The first clash, if there is any."""

    clash: PairClash | None


class PairPreparation(WalkerAnswer, frozen=True):
    """A pair's destination may be written; whether it is like a new one."""

    fresh: bool


class PreparationAnswer(WalkerAnswer, frozen=True):
    """Pairs."""

    pairs: list[dict[str, Any]]


class PairComparison(WalkerAnswer, frozen=True):
    """A pair's totals after the copy, and the first differences: where, what, and whether the source changed meanwhile."""

    files: Count
    bytes: Count
    count: Count
    differences: Annotated[list[tuple[Path, Text, bool]], msgspec.Meta(max_length=20)]


class ComparisonAnswer(WalkerAnswer, frozen=True):
    """Pairs."""

    pairs: list[PairComparison]


class ContentAnswer(WalkerAnswer, frozen=True):
    """A file's content in hexadecimal digits."""

    content: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*$")]


class UsageAnswer(WalkerAnswer, frozen=True):
    """Bytes that a buffer holds."""

    bytes: Count


def loaded(text: bytes) -> Any:
    """JSON as the walker writes it. Raises ValueError."""
    try:
        answer = json.loads(text.decode("utf-8", "surrogateescape"), parse_constant=_no_number)
        json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogateescape")  # no surrogates that are no bytes
        return answer
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def read(answer: Any, kind: type[T]) -> T | PairRefusal:
    """An answer, or the refusal that it is. Raises ValueError."""
    if not (isinstance(answer, dict) and "refused" in answer):
        return msgspec.convert(answer, kind)
    refusal = msgspec.convert(answer, PairRefusal)
    return msgspec.structs.replace(refusal, why=clean_text(refusal.why))


def read_each(answers: list[Any], kind: type[T], expected: int) -> list[T | PairRefusal]:
    """One for each pair of a question. Raises ValueError."""
    if len(answers) != expected:
        raise ValueError(f"it is about {len(answers)} pairs and not about {expected}")
    return [read(answer, kind) for answer in answers]


def check_path(path: str, inside: bool) -> None:
    """A resolved path as it must be: below its buffer's root when it is ``inside`` of one, else absolute. Raises ValueError."""
    if "\0" in path or not path.startswith("./" if inside else "/") or ".." in path.split(posixpath.sep):
        raise ValueError("a path is not resolved")
