"""From stage requests to pairs of paths: variables, ``~``, and lists."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import InvalidRequest
from .base import Direction, show

MAX_LIST_BYTES = 256 * 1024
"""A list file may be this long: as much as a job script's stage requests may be."""

_BUFFER = re.compile(r"\$(?:\{(DW_\w+)\}|(DW_\w+))(/.*)?", re.DOTALL | re.ASCII)

Kind = Literal["file", "directory", "any"]


@dataclass(frozen=True, slots=True)
class StagePath:
    """One side of a copy: ``path`` is absolute, or relative (``./…``) to the root of the buffer that ``variable`` names."""

    path: str
    variable: str
    written: str

    def __str__(self) -> str:
        return show(self.written)


@dataclass(frozen=True, slots=True)
class Pair:
    """One copy. A pair of kind ``any`` takes what its source is. ``listed``: the list and the line that it is from, for people."""

    kind: Kind
    source: StagePath
    destination: StagePath
    listed: str = ""

    @property
    def variable(self) -> str:
        """The buffer that one of the sides is in."""
        return self.source.variable or self.destination.variable

    def __str__(self) -> str:
        return f"{self.source} to {self.destination}" + (f" ({self.listed})" if self.listed else "")


@dataclass(frozen=True, slots=True)
class PathReader:
    """Reads paths as users write them. ``roots``: the variables of the job's buffers."""

    direction: Direction
    roots: Collection[str]
    home: str

    def path(self, side: str, written: str) -> StagePath:
        """A path that may start with a buffer's variable or ``~/``. Raises InvalidRequest."""
        what = f"stage_{self.direction} {side} {show(written)}"
        if "\0" in written:
            raise InvalidRequest(why=f"{what} contains a NUL character")
        if match := _BUFFER.fullmatch(written):
            return StagePath(f".{match[3] or ''}", self._buffer(what, match[1] or match[2]), written)
        if written == "~" or written.startswith("~/"):
            return StagePath(self.home + written[1:], "", written)
        if not written.startswith("/"):
            raise InvalidRequest(why=f"{what} must start with /, ~/ or a buffer's variable such as $DW_JOB_STRIPED")
        return StagePath(written, "", written)

    def _buffer(self, what: str, variable: str) -> str:
        if variable not in self.roots:
            variables = ", ".join(f"${name}" for name in self.roots) or "none"
            raise InvalidRequest(why=f"{what} names a buffer that this job does not have (it has: {variables})")
        return variable

    def pair(self, kind: Kind, source: str, destination: str) -> Pair:
        """A pair whose buffer's side is where the direction wants it. Raises InvalidRequest."""
        pair = Pair(kind, self.path("source", source), self.path("destination", destination))
        inner, outer = (pair.destination, pair.source) if self.direction == "in" else (pair.source, pair.destination)
        side = "destination" if self.direction == "in" else "source"
        if not inner.variable:
            raise InvalidRequest(why=f"stage_{self.direction} {side} {inner} must start with a buffer's variable such as $DW_JOB_STRIPED")
        if outer.variable:
            raise InvalidRequest(why=f"stage_{self.direction} from {pair.source} to {pair.destination}: only one side may be a buffer")
        return pair

    def pairs_of_list(self, name: str, content: bytes, base: str) -> list[Pair]:
        """The pairs of a list file: two paths a line, quoted where they have spaces; ``#`` starts a line of comment.

        A relative destination is meant below ``base`` (the request's destination); without one on the line it is the
        source's name there. Raises InvalidRequest with the number of the line.
        """
        pairs = []
        for number, line in enumerate(os.fsdecode(content).split("\n"), 1):
            where = f"list {show(name)}, line {number}"
            try:
                words = [] if line.lstrip().startswith("#") else shlex.split(line)
                if words:
                    pairs.append(replace(self._listed(words, base), listed=where))
            except (ValueError, InvalidRequest) as error:
                raise InvalidRequest(why=f"stage_{self.direction} {where}: {error}") from error
        return pairs

    def _listed(self, words: list[str], base: str) -> Pair:
        if len(words) == 1 and base:
            words.append(posixpath.basename(words[0].rstrip("/")))
        if len(words) != 2:
            raise InvalidRequest(why=f"{len(words)} paths instead of a source and a destination; quote paths that have spaces")
        source, destination = words
        if base and not destination.startswith(("/", "~", "$")):
            destination = f"{base.rstrip('/')}/{destination}"
        return self.pair("any", source, destination)
