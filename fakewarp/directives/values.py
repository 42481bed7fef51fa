"""What each option's value must be. Every function takes a text and raises an ``InvalidRequest`` that says why not."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from dacc_core.errors import InvalidRequest
from dacc_core.sizes import parse_size

StageKind = Literal["file", "directory", "list"]

_ACCESS = re.compile(r"([^,()]+)(?:\(([^()]*)\))?(?:,|$)")
_ACCESS_FORMS = "write striped, private or striped,private"
_ACCESS_MODIFIERS = ("MFS", "MFC", "client_cache")
_STAGE_KINDS: dict[str, StageKind] = {"file": "file", "directory": "directory", "list": "list"}


class BufferAccess(NamedTuple):
    """``access_mode=``: how the job's nodes see its buffer, and the modifiers that were given."""

    striped: bool
    private: bool
    modifiers: tuple[str, ...]


class SwapSize(NamedTuple):
    """Swap per node; ``assumed`` when the script names no unit."""

    size: int
    assumed: bool


def anything(text: str) -> str:
    """Any text: a value that has no effect, or is checked together with others."""
    return text


def swap(text: str) -> SwapSize:
    """Swap per node. A bare number counts GiB, as in Slurm's own ``--bb=swap=N`` (dw.c, ``_xlate_interactive``)."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return SwapSize(parse_size(f"{text}GiB"), assumed=True)
    return SwapSize(parse_size(text), assumed=False)


def storage_type(text: str) -> str:
    """``type=`` of a buffer."""
    if text == "cache":
        raise InvalidRequest(why="cache buffers are not supported: write type=scratch and use stage_in and stage_out")
    if text != "scratch":
        raise InvalidRequest(why="the only type is scratch")
    return text


def access_modes(text: str) -> BufferAccess:
    """``striped``, ``private`` or both, each with modifiers in parentheses."""
    modes, modifiers, position = set[str](), list[str](), 0
    while match := _ACCESS.match(text, position):
        modes.add(_access_mode(match[1]))
        modifiers += _modifiers(match[2])
        position = match.end()
    if position != len(text) or text.endswith(","):
        raise InvalidRequest(why=_ACCESS_FORMS)
    return BufferAccess("striped" in modes, "private" in modes, tuple(modifiers))


def _access_mode(text: str) -> str:
    if text == "ldbalance":
        raise InvalidRequest(why=f"load-balanced access is not supported: {_ACCESS_FORMS}")
    if text not in ("striped", "private"):
        raise InvalidRequest(why=_ACCESS_FORMS)
    return text


def _modifiers(text: str | None) -> list[str]:
    names = [part.partition("=") for part in text.split(",")] if text else []
    for name, _, value in names:
        if name not in _ACCESS_MODIFIERS or not value:
            modifiers = ", ".join(f"{modifier}=" for modifier in _ACCESS_MODIFIERS)
            raise InvalidRequest(why=f"the modifiers of an access mode are {modifiers}")
    return [name for name, _, _ in names]


def persistent_access(text: str) -> BufferAccess:
    """A persistent buffer is one directory for all who use it."""
    access = access_modes(text)
    if access.private:
        raise InvalidRequest(why="a persistent buffer outlives the nodes of a job, so it can only be striped: write striped")
    return access


def not_yet(_: str) -> str:
    """An option whose promise this version could not keep: better refused than ignored."""
    raise InvalidRequest(why="a buffer cannot be shared with a group yet, it is its owner's alone: leave the option out")


def stage_kind(text: str) -> StageKind:
    """``type=`` of a stage request."""
    if text not in _STAGE_KINDS:
        raise InvalidRequest(why="write file, directory or list")
    return _STAGE_KINDS[text]


def yes_or_no(text: str) -> str:
    """``yes`` or ``no``."""
    if text not in ("yes", "no"):
        raise InvalidRequest(why="write yes or no")
    return text
