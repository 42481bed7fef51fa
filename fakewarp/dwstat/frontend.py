"""``dwstat`` as the daemon serves it: it only reads."""

from __future__ import annotations

from typing import Any

from dacc_core.config import Config
from dacc_core.verbs.frontend import Answer, Call, FrontEnd, FrontEndContext, Function, ParsedCall, at_once, check_fresh
from dacc_core.verbs.operations import Verb
from fakewarp import answers
from fakewarp.dwstat.tables import HELP, TABLES, Table, table_name


def _seconds(_: Config) -> float:
    """Slurm waits 2 s (dw.c, bb_p_get_status)."""
    return 1.5


def _function(name: str, table: Table) -> Function[Call, None]:
    def show(_: None, context: FrontEndContext) -> Answer:
        check_fresh(context)
        return Answer(stdout=table(context.view, context.verb_context.now()))

    return Function(name, lambda _: None, at_once(show), _seconds, open_to="anyone")


_HELP: Function[Call, None] = Function("help", lambda _: None, at_once(lambda _, __: Answer(stdout=HELP)), _seconds, open_to="anyone")
FUNCTIONS: dict[str, Function[Any, Any]] = {"help": _HELP} | {name: _function(name, table) for name, table in TABLES.items()}


class DwStat:
    """``scontrol show dwstat``: any user's arguments get here, so nothing but the name of a table is understood."""

    name = "dwstat"

    def parse(self, call: Call) -> ParsedCall:
        """Which table. Raises BadArguments."""
        return ParsedCall(call, FUNCTIONS[table_name(call.args)])

    def run(self, parsed: ParsedCall, context: FrontEndContext) -> Verb[Answer]:
        """The table as text."""
        return parsed.function.run(None, context)

    def failure(self, parsed: ParsedCall | None, error: Exception) -> Answer:
        """One line."""
        return answers.failed(error)


DWSTAT: FrontEnd = DwStat()
