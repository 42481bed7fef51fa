"""The values that both providers and records know: bricks, volumes, copies and how far they are.

They are frozen. Sizes are bytes. As parts of a record they are written as JSON, without the fields that have their default value, so
that older records can be read after a field was added.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of these values, and of the records that a store keeps."""


class Brick(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One block device (or directory, for the fake provider) that a host offers."""

    device: str
    capacity: int
    pool: str


class BrickRef(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A brick as a volume names it."""

    host: str
    device: str

    def __str__(self) -> str:
        return f"{self.host}:{self.device}"


class StageRequest(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One copy asked for by the job script. The buffer's side starts with a ``$DW_…`` variable."""

    source: str
    destination: str
    kind: Literal["file", "directory", "list"] = "file"


class Volume(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The filesystem of a session. ``name`` is ``[a-z][a-z0-9]{7}`` and never used again."""

    name: str
    pool: str
    provider: str
    capacity: int
    bricks: tuple[BrickRef, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The brick hosts, in brick order, each once."""
        return tuple(dict.fromkeys(brick.host for brick in self.bricks))


class Progress(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How far a copy is.

    ``cleared`` is the mark of a copy for which all that had been at its destinations before was removed: what is there now with its
    source's size and time is this copy's own. It is empty until that is so.
    """

    files: int = 0
    bytes: int = 0
    total_files: int = 0
    total_bytes: int = 0
    cleared: str = ""
