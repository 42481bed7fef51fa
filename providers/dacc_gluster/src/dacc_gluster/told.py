"""What the helpers on hosts may tell, and what their bytes mean.

What a host tells is judged strictly: what is not exactly of the expected shape is like no answer, HostLost, so that it is asked again and
nothing is decided from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from dacc_core.sdk import AlreadyExists, Busy, CommandResult, DaccError, HostLost, InvalidRequest, NoSpace, Unavailable, clean_text

from .node import answers
from .node.answers import Peers

Bytes = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
T = TypeVar("T")
CLASSES: Mapping[int, type[DaccError]] = {10: InvalidRequest, 30: AlreadyExists, 40: Busy, 50: NoSpace, 60: Unavailable}
"""By the exit codes of node/common.py."""


class Prepared(msgspec.Struct, forbid_unknown_fields=True):
    """Of ``prepare``."""

    room: Bytes
    pool: str


class Attached(msgspec.Struct, forbid_unknown_fields=True):
    """Of ``attach``."""

    pool: str


class Withdrawn(msgspec.Struct, forbid_unknown_fields=True):
    """Of ``withdraw``."""

    known: bool
    why: str


class Usage(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Of ``usage``."""

    capacity: Bytes
    used: Bytes


def told_by(result: CommandResult, shape: type[T]) -> T | DaccError:
    """What a helper's action told, of that shape, or its error."""
    if result.error is not None:
        return result.error
    if result.returncode and not result.stdout:
        kind = CLASSES.get(result.returncode, Unavailable)
        return kind(why=f"host {result.host}: {clean_text(result.why())}")
    try:
        if result.returncode:
            raise ValueError("what is told goes with success only")
        return msgspec.json.decode(result.stdout, type=shape)
    except (ValueError, RecursionError):
        return lost(result)


def ended(result: CommandResult) -> DaccError | None:
    """The error of an action that has nothing to tell, if it failed."""
    told = told_by(result, type(None))
    return told if isinstance(told, DaccError) else None


def peers_of(host: str, pool: str) -> Peers:
    """The pool as a host sees it, from what ``gluster pool list`` prints there. Raises HostLost when that makes no sense."""
    try:
        return answers.peers(pool)
    except ValueError:
        raise lost(CommandResult(host, 0, pool.encode())) from None


def lost(result: CommandResult) -> HostLost:
    """The error for what makes no sense."""
    said = clean_text(result.stdout[:200].decode(errors="replace"), 100)
    return HostLost(host=result.host, why=f"its answer makes no sense (exit status {result.returncode}): {said or 'nothing'}")
