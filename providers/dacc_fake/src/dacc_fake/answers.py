"""What the helper on a host may answer, and what its bytes mean.

A host's answer is judged strictly: what is not exactly of the expected shape is like no answer, HostLost, so that it is asked again and
nothing is decided from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from dacc_core.sdk import (
    AlreadyExists,
    Busy,
    CommandResult,
    DaccError,
    HostLost,
    InvalidRequest,
    NoSpace,
    NotFound,
    Unavailable,
    Unsupported,
    clean_text,
)

Shape = type[msgspec.Struct]
Answer = Mapping[str, Any] | DaccError
Bytes = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
KINDS: Mapping[str, type[DaccError]] = {
    kind.__name__: kind for kind in (AlreadyExists, Busy, InvalidRequest, NoSpace, NotFound, Unavailable, Unsupported)
}
"""The errors that a helper raises. Others, such as ProviderBug, are not for a host to say."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The result of most verbs."""


class Made(msgspec.Struct, forbid_unknown_fields=True):
    """The result of ``create`` on the volume's server."""

    capacity: Bytes


class Usage(msgspec.Struct, forbid_unknown_fields=True):
    """The result of ``usage``."""

    capacity: Bytes
    used: Bytes


class _Result(msgspec.Struct, forbid_unknown_fields=True):
    result: dict[str, Any]


class _Error(msgspec.Struct, forbid_unknown_fields=True):
    error: str
    text: str


def answer_of(host: str, verb: str, result: CommandResult, shape: Shape) -> Answer:
    """What a command's result means: a mapping of that shape, or an error."""
    if result.error is not None:
        return result.error
    if result.returncode and not result.stdout:
        return Unavailable(why=clean_text(f"{verb} ended early: {result.why()}"))
    try:
        return _decoded(result, shape)
    except (ValueError, RecursionError):
        said = clean_text(result.stdout[:200].decode(errors="replace"), 100)
        return HostLost(host=host, why=f"its answer to {verb} makes no sense (exit status {result.returncode}): {said or 'nothing'}")


def _decoded(result: CommandResult, shape: Shape) -> Answer:
    """Raises ``ValueError`` and ``RecursionError``."""
    if result.returncode:
        raise ValueError("an answer goes with success only")
    found = msgspec.json.decode(result.stdout, type=dict[str, Any])
    if "error" in found:
        problem = msgspec.convert(found, _Error)
        if problem.error not in KINDS:
            raise ValueError("no error of a helper's")
        return KINDS[problem.error].from_text(clean_text(problem.text))
    answer = msgspec.convert(found, _Result).result
    msgspec.convert(answer, shape)
    return answer
