"""What goes over the socket: one line of JSON to the daemon, keep-alive lines and one final line back.

    → {"v":1,"program":"fakewarp","args":["--function","post_run","--token","42"],"files":{"job":"#!/bin/sh …"}}
    ← {"session":"a0010002"}
    ← {"alive":true}
    ← {"rc":0,"stdout":"…","pathfile":null}

A call that ends a session gets a notice which one it is about. A client that loses its connection asks again, with that ``session`` and
how long it has been asking (``waited``, in seconds); so no machine's clock is compared with another's.

Lines are ASCII. Bytes that are not UTF-8 travel as lone surrogates, as Python reads them from its command line. A line that a
client does not know is skipped, a key that the daemon does not know is ignored; a change that neither allows is another version.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import BadArguments, DaccError
from ..verbs.frontend import Answer, Call, PeerCredentials, SessionNotice

VERSION = 1
MAX_LINE = 16 << 20
"""Bytes of a request of a trusted caller, whose job scripts and lists of nodes are long."""
MAX_STRANGER_LINE = 1 << 20
"""Bytes of anybody else's request: they can be many at once."""
MAX_WAITED = 1e9
"""Seconds for which a call may have been repeated: more than any is, and less than what would not be a number of seconds."""

ALIVE = b'{"alive":true}\n'

_PROGRAM = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_UCRED = struct.Struct("iII")  # struct ucred of <sys/socket.h>: pid, uid, gid


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """One call, and the name of the program that was started."""

    program: str
    call: Call


def caller_of(connection: socket.socket, trusted: Callable[[int], bool]) -> PeerCredentials:
    """Who is at the other end, as the kernel has it: nobody can claim to be someone else."""
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return PeerCredentials(uid=uid, gid=gid, pid=pid, trusted=trusted(uid))


def read_line(connection: socket.socket, limit: int, seconds: float) -> bytes | None:
    """The first line, without its end; ``None`` if nothing ever came. Raises BadArguments for one that is too long, late or cut off."""
    end = time.monotonic() + seconds
    line = bytearray()
    while True:
        chunk = _receive(connection, end - time.monotonic())
        if chunk is None:
            raise BadArguments(why=f"no whole request came within {seconds:g} s")
        head, newline, _ = chunk.partition(b"\n")
        line += head
        if len(line) > limit:
            raise BadArguments(why=f"the request is larger than {limit} bytes")
        if newline:
            return bytes(line)
        if not chunk and line:
            raise BadArguments(why="the request has no end")
        if not chunk:
            return None


def _receive(connection: socket.socket, seconds: float) -> bytes | None:
    """What came next, nothing at the end, ``None`` when time is over."""
    if seconds <= 0:
        return None
    connection.settimeout(seconds)
    try:
        return connection.recv(1 << 18)
    except TimeoutError:
        return None


def parse(line: bytes, caller: PeerCredentials) -> SocketRequest:
    """The request of a line. Raises BadArguments."""
    fields = _json_object(line)
    version = fields.get("v")
    if type(version) is not int or version != VERSION:
        raise BadArguments(why=f"this daemon speaks version {VERSION} of its protocol, the caller another: install the same dacc for both")
    program, args, files = fields.get("program"), fields.get("args"), fields.get("files", {})
    if not isinstance(program, str) or not _PROGRAM.fullmatch(program):
        raise BadArguments(why="the request names no program")
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise BadArguments(why="the arguments of the request are not a list of strings")
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise BadArguments(why="the files of the request are not strings")
    missing = fields.get("missing", [])
    if not isinstance(missing, list) or not all(isinstance(name, str) for name in missing):
        raise BadArguments(why="the missing files of the request are not a list of strings")
    session = fields.get("session", "")
    if not isinstance(session, str):
        raise BadArguments(why="the session of the request is not a string")
    return SocketRequest(program, Call(tuple(args), files, caller, session, _age(fields.get("waited", 0)), frozenset(missing)))


def _age(waited: Any) -> Callable[[], float]:
    """How long the caller has been asking; the client measured how long before this request. Raises BadArguments."""
    if type(waited) not in (int, float) or not 0 <= waited <= MAX_WAITED:
        raise BadArguments(why="the time that the request was repeated for is no number of seconds")
    began = time.monotonic() - waited
    return lambda: time.monotonic() - began


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadArguments(why="the request is not JSON") from None
    if not isinstance(fields, dict):
        raise BadArguments(why="the request is not a JSON object")
    return fields


def notice_line(notice: SessionNotice) -> bytes:
    """The notice which session a call is about."""
    return json.dumps({"session": notice.session}, separators=(",", ":")).encode("ascii") + b"\n"


def final_line(answer: Answer) -> bytes:
    """The line that ends a call."""
    fields = {"rc": answer.rc, "stdout": answer.stdout, "pathfile": answer.pathfile}
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def refusal(error: DaccError) -> Answer:
    """The answer to a call that reached no front end."""
    return Answer(rc=error.exit_code, stdout=f"dacd: {error}\n")
