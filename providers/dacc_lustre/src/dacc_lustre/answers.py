"""What the node helper on a host may answer, and what its bytes mean.

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

from .errors import error_of

Answer = Mapping[str, Any] | DaccError
Bytes = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Name = Annotated[str, msgspec.Meta(max_length=128)]
"""What is kept in the state of a volume, which has its bounds."""

KINDS: Mapping[str, type[DaccError]] = {
    kind.__name__: kind for kind in (AlreadyExists, Busy, InvalidRequest, NoSpace, NotFound, Unavailable, Unsupported)
}
"""The errors that a helper raises. Others, such as ProviderBug, are not for a host to say."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """The result of most verbs."""


class Slice(msgspec.Struct, forbid_unknown_fields=True):
    """A partition of a brick."""

    device: str
    path: str
    kind: str
    partuuid: Name
    label: str
    content: str
    mounted: list[str]
    size: Bytes


class Probe(msgspec.Struct, forbid_unknown_fields=True):
    """The facts of a host."""

    missing: list[str]
    slices: list[Slice]
    running: list[str]
    mgt: Slice | None
    nids: Annotated[list[Name], msgspec.Meta(max_length=64)]
    resolved: dict[str, list[Name]]
    health: str
    boot: str


class Check(Probe, forbid_unknown_fields=True):
    """The facts of a host, and what an operator has to know."""

    version: str
    omni_path: bool
    tuning: dict[str, str]
    errors: list[str]


class Room(msgspec.Struct, forbid_unknown_fields=True):
    """How full a filesystem is."""

    capacity: Bytes
    used: Bytes


class Evicted(msgspec.Struct, forbid_unknown_fields=True):
    """The NIDs of clients that were dropped."""

    evicted: list[str]


class Disk(msgspec.Struct, forbid_unknown_fields=True):
    """What is or was done with a disk."""

    disk: str
    state: str
    refused: str
    commands: list[list[str]]


class Prepared(msgspec.Struct, forbid_unknown_fields=True):
    """What is or was done with the disks of a host."""

    disks: list[Disk]


SHAPES: Mapping[str, type[msgspec.Struct]] = {
    "probe": Probe,
    "check": Check,
    "settle": Room,
    "whole": Room,
    "usage": Room,
    "evict": Evicted,
    "prepare": Prepared,
}
"""The results of those verbs that have one."""


class _Result(msgspec.Struct, forbid_unknown_fields=True):
    result: dict[str, Any]


class _Error(msgspec.Struct, forbid_unknown_fields=True):
    error: str
    text: str


class _Program(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    what: str
    rc: Annotated[int, msgspec.Meta(ge=-255, le=255)]
    text: str


class _Failed(msgspec.Struct, forbid_unknown_fields=True):
    failed: _Program


def answer_of(host: str, verb: str, result: CommandResult) -> Answer:
    """What a command's result means; errors name the host. Of what shape a result is, :func:`fitting` sees."""
    if result.error is not None:
        return result.error
    if result.returncode and not result.stdout:
        return Unavailable(why=clean_text(f"host {host}: {verb} ended early: {result.why()}"))
    try:
        return _decoded(host, result)
    except (ValueError, RecursionError):
        said = clean_text(result.stdout[:200].decode(errors="replace"), 100)
        return lost(host, verb, f"exit status {result.returncode}: {said or 'nothing'}")


def lost(host: str, verb: str, why: str) -> HostLost:
    """The error for an answer that makes no sense."""
    return HostLost(host=host, why=f"its answer to {verb} makes no sense ({why}); an installed helper must be of the provider's version")


def _decoded(host: str, result: CommandResult) -> Answer:
    """Raises ``ValueError`` and ``RecursionError``."""
    if result.returncode:
        raise ValueError("an answer goes with success only")
    found = msgspec.json.decode(result.stdout, type=dict[str, Any])
    if "error" in found:
        problem = msgspec.convert(found, _Error)
        if problem.error not in KINDS:
            raise ValueError("no error of a helper's")
        return KINDS[problem.error].from_text(f"host {host}: {clean_text(problem.text)}")
    if "failed" in found:
        error = error_of(msgspec.to_builtins(msgspec.convert(found, _Failed).failed))
        return type(error).from_text(f"host {host}: {error}")
    answer: dict[str, Any] = _cleaned(msgspec.convert(found, _Result).result)
    return answer


def _cleaned(value: Any) -> Any:
    """A result with every text in it on one printable line: errors and operators' terminals show them."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(one) for key, one in value.items()}
    return value


def fitting(verb: str, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """The answers, with an error in place of each result that is not of the verb's shape."""
    return {host: _fitting(host, verb, answer) for host, answer in answers.items()}


def _fitting(host: str, verb: str, answer: Answer) -> Answer:
    if isinstance(answer, DaccError):
        return answer
    try:
        msgspec.convert(answer, SHAPES.get(verb, Nothing))
    except ValueError as error:
        return lost(host, verb, clean_text(str(error), 200))
    return answer
