"""The two sides of a stage request: one in a buffer, one outside.

Paths are never given to a shell, so nothing but ``~/`` and the buffer's variable is expanded in them.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from dacc_core.errors import InvalidRequest
from dacc_core.names import env_name

MAX_STAGING = 256 * 1024
"""Bytes of all stage requests of a script as they are stored: they are part of the session's record."""

STRIPED = "DW_JOB_STRIPED"
_PRIVATE = "DW_JOB_PRIVATE"
_PERSISTENT = "DW_PERSISTENT_STRIPED_"

_BUFFER_SIDE = re.compile(r"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})(/.*)?", re.DOTALL)
_EXPANSION = re.compile(r"\$[A-Za-z_({]")
_FORMS = f"write ${STRIPED}/path, or ${_PERSISTENT}NAME/path for a persistent buffer"

Side = Literal["source", "destination"]


class BufferSide(NamedTuple):
    """A path in a buffer: its variable, and the path as it is stored, without braces."""

    variable: str
    path: str


def persistent_variable(name: str) -> str:
    """The variable that names a persistent buffer's directory."""
    return _PERSISTENT + env_name(name)


def buffer_side(text: str) -> BufferSide:
    """The side in the buffer. Raises :class:`InvalidRequest`."""
    match = _BUFFER_SIDE.fullmatch(text)
    variable = (match[1] or match[2]) if match else ""
    if variable == _PRIVATE:
        raise InvalidRequest(
            why=f"each node has its own ${_PRIVATE}, and the nodes are unknown when data is staged: use ${STRIPED}, or copy within the job"
        )
    if not match or not (variable == STRIPED or variable.startswith(_PERSISTENT)):
        raise InvalidRequest(why=f"it must be in a buffer: {_FORMS}")
    rest = match[3] or ""
    if _escapes(rest):
        raise InvalidRequest(why="it leaves the buffer by '..': write a path inside it")
    return BufferSide(variable, f"${variable}{rest}")


def outer_side(text: str) -> str:
    """The side outside the buffer. Raises :class:`InvalidRequest`."""
    if text == "~":
        return "~/"
    if text.startswith(("$DW_", "${DW_")):
        raise InvalidRequest(why="it must be outside the buffers: write an absolute path or ~/path")
    if not text.startswith(("/", "~/")):
        raise InvalidRequest(why="it must be an absolute path or ~/path, since staging knows no working directory")
    if _EXPANSION.search(text):
        raise InvalidRequest(why="no shell expands variables or commands in it: write the path itself")
    return text


def _escapes(path: str) -> bool:
    depth = 0
    for part in path.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False
