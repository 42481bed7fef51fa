"""Answers as Slurm's datawarp plugin reads them: one JSON object, a word that it looks for, or one line about what failed.

stdout and stderr of a call are one pipe to Slurm, and it keeps at most a kilobyte of what failed in the job's comment.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dacc_core.errors import DaccError
from dacc_core.names import shorten
from dacc_core.verbs.frontend import Answer

_MAX_LINE = 1000


def text(line: str) -> Answer:
    """A success that prints one line."""
    return Answer(stdout=one_line(line) + "\n")


def json(value: Any) -> Answer:
    """A success that prints one JSON object."""
    encoded = msgspec.json.encode(value).decode("utf-8")
    # Slurm's _python2json turns every apostrophe into a quotation mark before it parses, even those inside strings.
    return Answer(stdout=encoded.replace("'", "\\u0027") + "\n")


def failed(error: Exception, *, every_line: bool = False) -> Answer:
    """The answer for an error: one line, or with ``every_line`` one for each of its problems."""
    if not isinstance(error, DaccError):
        return Answer(rc=1, stdout="internal error: see the log of dacd\n")
    lines = str(error).split("\n") if every_line else [str(error)]
    return Answer(rc=error.exit_code, stdout="".join(f"{one_line(line) or error.kind}\n" for line in lines))


def one_line(message: str) -> str:
    """A message on one line, bounded, with nothing in it that a terminal would act on."""
    joined = "; ".join(line.strip() for line in message.splitlines() if line.strip())
    return shorten("".join(map(_printable, joined)), _MAX_LINE)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
