"""Every value of ``--function``: what it reads from a call, and the verb that answers it."""

from __future__ import annotations

from typing import Any

from dacc_core.verbs.frontend import Answer, FrontEndContext, Function, at_once
from fakewarp import answers
from fakewarp.arguments import Arguments
from fakewarp.directives.problems import shown
from fakewarp.functions import buffers, endings, jobs, reads
from fakewarp.functions.base import reading

__all__ = ["FUNCTIONS", "INVALID"]

FUNCTIONS: dict[str, Function[Arguments, Any]] = {
    function.name: function for function in (*reads.FUNCTIONS, *jobs.FUNCTIONS, *endings.FUNCTIONS, *buffers.FUNCTIONS)
}


def _invalid(name: str, _: FrontEndContext) -> Answer:
    # Slurm goes on without a function that it may call and we may lack if the output starts with these words (dw.c, _start_stage_in).
    line = f"invalid function {shown(name)}: there are {', '.join(FUNCTIONS)}"
    return Answer(rc=1, stdout=answers.one_line(line) + "\n")


INVALID: Function[Arguments, str] = Function("", lambda arguments: arguments.get("function"), at_once(_invalid), reading, open_to="anyone")
"""What answers for every function that does not exist."""
