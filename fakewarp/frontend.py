"""Slurm's two programs as the daemon serves them: ``fakewarp``, which Slurm's plugin calls, and ``dwstat``, which only reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from dacc_core.config import Config
from dacc_core.errors import BadDirectives, Denied, NoSuchSession
from dacc_core.names import is_token
from dacc_core.registry.transaction import TransactionBuilder
from dacc_core.verbs.frontend import Answer, Call, FrontEnd, FrontEndContext
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.operators import check_owner
from dacc_core.verbs.sessions import find
from dacc_core.verbs.subject import Subject
from fakewarp import answers
from fakewarp.arguments import read_arguments
from fakewarp.directives.problems import shown
from fakewarp.dwstat import tables
from fakewarp.functions import FUNCTIONS, INVALID, Function
from fakewarp.functions.base import STALE_SECONDS, check_fresh


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call of ``fakewarp``. ``problem``: what is wrong with its script, told only to a caller who may ask."""

    function: Function[Any]
    asked: Any
    call: Call
    token: str = ""
    problem: BadDirectives | None = None


class FakeWarp:
    """The functions that Slurm's datawarp plugin calls."""

    name = "fakewarp"

    def parse(self, call: Call) -> ParsedCall:
        """The function and what is asked of it. Raises InvalidRequest."""
        arguments = dataclasses.replace(read_arguments(call.args), missing=call.missing)
        name = arguments.required("function")
        function, token = FUNCTIONS.get(name, INVALID), arguments.get("token")
        try:
            return ParsedCall(function, function.read(arguments, call.files), call, token)
        except BadDirectives as problem:
            return ParsedCall(function, None, call, token, problem)

    def run(self, parsed: ParsedCall, site: FrontEndContext) -> Verb[Answer]:
        """The function's verb, if the caller may have it."""
        _check_stranger(parsed)
        if parsed.function.ending:
            site = yield from _about_one_session(parsed, site)
        yield from _check_owner(parsed, site)
        site = dataclasses.replace(site, by_owner=_is_stranger(parsed))
        if parsed.problem is not None:
            raise parsed.problem
        return (yield from parsed.function.run(parsed.asked, site))

    def deadline(self, parsed: ParsedCall, config: Config) -> float:
        """The function's own, always before Slurm would kill the call."""
        return parsed.function.seconds(config)

    def function(self, parsed: ParsedCall) -> str:
        """The value of ``--function``, empty when there is no such function."""
        return parsed.function.name

    def failure(self, parsed: ParsedCall | None, error: Exception) -> Answer:
        """One line; of a script that is refused at submit, one line for each problem, since Slurm shows them to the user as they are."""
        at_submit = parsed is not None and parsed.function.name == "job_process"
        return answers.failed(error, every_line=at_submit and isinstance(error, BadDirectives))


def _about_one_session(parsed: ParsedCall, site: FrontEndContext) -> Verb[FrontEndContext]:
    """The site as a call sees it that ends a session: that one only, whatever has its token later."""
    if site.age > STALE_SECONDS and is_token(parsed.token):
        # The view may be from before the session that is meant. Whatever the store answers, the view is up to date then.
        yield TransactionBuilder(site.scene.view).expect("sessions", parsed.token).commit()
    subject = Subject(parsed.call.session, age=parsed.call.age, tell=site.tell)
    return dataclasses.replace(site, scene=dataclasses.replace(site.scene, subject=subject))


def _is_stranger(parsed: ParsedCall) -> bool:
    return not parsed.call.caller.trusted and parsed.function.open_to != "anyone"


def _check_stranger(parsed: ParsedCall) -> None:
    """Raises Denied, and NoSuchSession where an owner is needed and there can be none."""
    if not _is_stranger(parsed):
        return
    if parsed.function.open_to == "slurm":
        why = "only root and the Slurm user of the configuration may"
        raise Denied(who=f"uid {parsed.call.caller.uid}", what=f"call {parsed.function.name}", why=why)
    if not is_token(parsed.token):  # no session can have it
        raise NoSuchSession(token=shown(parsed.token))


def _check_owner(parsed: ParsedCall, site: FrontEndContext) -> Verb[None]:
    """Raises Denied, and NoSuchSession where an owner is needed and there is none."""
    if not _is_stranger(parsed):
        return
    session = yield from find(site.scene, parsed.token)
    check_owner(parsed.call.caller, session, f"call {parsed.function.name} for")
    if site.scene.subject is not None:
        site.scene.subject.settle(session)  # the next one of this token may be somebody else's


@dataclass(frozen=True, slots=True)
class Shown:
    """A call of ``dwstat``: what is to be shown."""

    what: str
    token: str = ""


class DwStat:
    """``scontrol show dwstat``: any user's arguments get here, so nothing but the name of a table is understood."""

    name = "dwstat"

    def parse(self, call: Call) -> Shown:
        """Which table. Raises BadArguments."""
        return Shown(tables.which(call.args))

    def run(self, parsed: Shown, site: FrontEndContext) -> Verb[Answer]:
        """The table as text."""
        if parsed.what == "help":
            return Answer(stdout=tables.HELP)
        check_fresh(site)
        return Answer(stdout=tables.TABLES[parsed.what](site.scene.view, site.scene.now()))
        yield  # what makes it a generator

    def deadline(self, parsed: Shown, config: Config) -> float:
        """Slurm waits 2 s (dw.c, bb_p_get_status)."""
        return 1.5

    def function(self, parsed: Shown) -> str:
        """The table."""
        return parsed.what

    def failure(self, parsed: Shown | None, error: Exception) -> Answer:
        """One line."""
        return answers.failed(error)


FRONTEND: FrontEnd = FakeWarp()
DWSTAT: FrontEnd = DwStat()
