"""``errors.md``, from the tree of errors."""

from __future__ import annotations

import re

from dacc_core import errors
from dacc_core.errors import DaccError

from . import markdown as md

INTRO = """
    Every error that dacc raises on purpose has a class. A class decides the exit code and whether dacc itself tries again. The message
    is one line that says what failed, where, why and what to do; the templates below show what it names in braces.

    - `fakewarp` and `dwstat` print the message to standard output (Slurm reads both outputs as one) and exit with the class's code. At
      submit (`job_process`) each problem of a script is a line of its own.
    - `dacc` and `dacd` print the message to standard error, with their name in front.
    - `dacc show --json` and the store name the class of a failed goal (`failure.kind`).
    - The [SDK](hooks.md) offers the classes that a provider may raise.
"""
CODES = """
    ## Other exit codes

    | code | meaning |
    | --- | --- |
    | 0 | success |
    | 1 | a defect (the log of dacd tells more, for `dacc` `DACC_DEBUG=1`), or a function that `fakewarp` does not have |
    | 2 | `dacc` or `dacd`: a wrong command line |
    | 75 | also: dacd has too many calls at once; call again |
    | 130 | interrupted from the keyboard |

    ## All classes

    *Retryable* means that trying again can help: a step that fails so is tried again as the settings `retries` say, and a teardown
    as long as its time lasts. A class below another is a special case of it.
"""
_LINE = re.compile(r"^[\s│├└─]*(\w+) +(\d+) *(.*)$")


def page() -> str:
    """The page."""
    said = {match[1]: match[3] for match in map(_LINE.match, (errors.__doc__ or "").splitlines()) if match}
    return md.page("Errors and exit codes", "dacc_core/errors.py", INTRO, CODES, md.table(HEADS, _rows(DaccError, 0, said)))


HEADS = ("class", "exit code", "retryable", "message", "when")


def _rows(cls: type[DaccError], depth: int, said: dict[str, str]) -> list[tuple[str, ...]]:
    indent = "&nbsp;&nbsp;" * 2 * depth
    template = cls.template
    message = f"`{template}`" if template != "{why}" and template != "{problems}" else "what the place that raises it says"
    retryable = "yes" if cls.retryable else ""
    message = message.replace("`cluster`", "cluster")
    rows: list[tuple[str, ...]] = [(f"{indent}`{cls.__name__}`", str(cls.exit_code), retryable, message, said.get(cls.__name__, ""))]
    own = (sub for sub in cls.__subclasses__() if sub.__module__ == errors.__name__)
    for sub in sorted(own, key=lambda sub: sub.exit_code):
        rows += _rows(sub, depth + 1, said)
    return rows
