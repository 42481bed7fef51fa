"""Calls a daemon over its socket, for ``dacc``."""

from __future__ import annotations

import json
import socket
from typing import Any

from ..config import load
from ..errors import DaccError, DaemonUnavailable, all_errors

SILENCE_SECONDS = 20.0
"""A daemon says something every 5 s; one that does not is not there."""


def ask(*args: str) -> Any:
    """The result of a verb of :mod:`.frontend`. Raises DaemonUnavailable, or the error that the daemon answers."""
    path = load().socket
    try:
        answer = _exchange(path, {"v": 1, "program": "dacc", "args": list(args), "files": {}})
    except OSError as error:
        raise DaemonUnavailable(socket=path, why=f"{error.strerror or error}: is dacd running?") from error
    if answer["rc"] != 0:
        raise _error(answer["rc"], answer["stdout"].strip())
    return json.loads(answer["stdout"])


def _exchange(path: str, request: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SILENCE_SECONDS)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                message: dict[str, Any] = json.loads(line)
                if "rc" in message:
                    return message
    raise ConnectionError(0, "it closed the connection without an answer")


def _error(rc: int, text: str) -> DaccError:
    classes = [cls for cls in all_errors().values() if "exit_code" in vars(cls) and cls.exit_code == rc]
    return (classes[0] if classes else DaccError).from_text(text)
