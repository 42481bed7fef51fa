"""The front end of ``dacc``: operators' verbs, through the same socket and engine as Slurm's. Answers are JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..config import Config
from ..errors import BadArguments, DaccError
from ..lifecycle.explain import why
from ..lifecycle.transitions import state_name
from ..verbs import hosts as brick_hosts
from ..verbs import operators
from ..verbs.forgetting import forget, losses
from ..verbs.frontend import Answer, Call, FrontEnd, FrontEndContext, Function, ParsedCall, PeerCredentials, at_once, check_fresh
from ..verbs.operations import Verb

SHORT_SECONDS = 30.0
MAX_ARGUMENTS = 100_000


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """The arguments of a verb, and who calls."""

    args: tuple[str, ...]
    caller: PeerCredentials


Result = Callable[[OperatorRequest, FrontEndContext], Verb[Any]]


def _show(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    view = context.view
    session = yield from operators.show(context.verb_context, asked.args[0], asked.caller)
    return session | {"state": state_name(view.session(session["token"]), view.status(session["token"]))}


def _why(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    return why(context.verb_context, asked.args[0], asked.caller)


def _stage_out(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    return {"token": (yield from operators.stage_out(context.verb_context, asked.args[0], asked.caller)), "done": True}


def _discard(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    return {"token": (yield from operators.discard(context.verb_context, asked.args[0], asked.caller)), "done": True}


def _release(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    host, device = (*asked.args, "")[:2]
    return {"host": host, "released": list((yield from operators.release(context.verb_context, host, device, asked.caller)))}


def _retry(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    return {"job": asked.args[0], "forgotten": (yield from operators.retry(context.verb_context, asked.args[0], asked.caller))}


def _drain(*, draining: bool) -> Result:
    def verb(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
        hosts = yield from brick_hosts.drain(context.verb_context, asked.args[0], asked.caller, draining=draining)
        return [asdict(host) for host in hosts]

    return verb


def _losses(asked: OperatorRequest, context: FrontEndContext) -> Any:
    return losses(context.view, asked.args[0], asked.caller)


def _forget(asked: OperatorRequest, context: FrontEndContext) -> Verb[Any]:
    """The sessions that the caller agrees to lose stand behind the host."""
    return forget(context.verb_context, asked.args[0], asked.caller, frozenset(asked.args[1:]))


def _short(_: Config) -> float:
    return SHORT_SECONDS


def _function(
    name: str, least: int, most: int, result: Result, seconds: Callable[[Config], float] = _short
) -> Function[Call, OperatorRequest]:
    """A verb that takes so many arguments, and whose result is answered as JSON."""

    def read(call: Call) -> OperatorRequest:
        args = call.args[1:]
        if not least <= len(args) <= most:
            raise BadArguments(why=f"{name} takes {least} to {most} arguments, not {len(args)}")
        return OperatorRequest(args, call.caller)

    def run(asked: OperatorRequest, context: FrontEndContext) -> Verb[Answer]:
        return Answer(stdout=json.dumps((yield from result(asked, context))) + "\n")

    return Function(name, read, run, seconds, open_to="anyone")


_FUNCTIONS = (
    _function("status", 0, 0, at_once(lambda asked, context: operators.overview(context.view, asked.caller))),
    _function("show", 1, 1, _show),
    _function("why", 1, 1, _why),
    _function("hosts", 0, 1, at_once(lambda asked, context: brick_hosts.described(context.view, asked.caller, *asked.args))),
    _function("drain", 1, 1, _drain(draining=True)),
    _function("undrain", 1, 1, _drain(draining=False)),
    _function("losses", 1, 1, at_once(_losses)),
    _function("forget", 1, MAX_ARGUMENTS, _forget),
    _function("stage-out", 1, 1, _stage_out, lambda config: config.deadlines.stage),
    _function("discard", 1, 1, _discard, lambda config: config.deadlines.teardown + SHORT_SECONDS),
    _function("release", 1, 2, _release),
    _function("retry", 1, 1, _retry),
)
FUNCTIONS = {function.name: function for function in _FUNCTIONS}
"""Each verb by its name."""


class OperatorFrontEnd:
    """The verbs of ``dacc`` that ask a daemon."""

    name = "dacc"

    def parse(self, call: Call) -> ParsedCall:
        """The verb by its name. Raises BadArguments."""
        name = call.args[0] if call.args else ""
        function = FUNCTIONS.get(name)
        if function is None:
            raise BadArguments(why=f"{name!r} is no verb: there are {', '.join(FUNCTIONS)}")
        return ParsedCall(call, function, function.read(call), call.args[1] if len(call.args) > 1 else "")

    def run(self, parsed: ParsedCall, context: FrontEndContext) -> Verb[Answer]:
        """The verb's answer, as JSON."""
        check_fresh(context)
        return (yield from parsed.function.run(parsed.asked, context))

    def failure(self, parsed: ParsedCall | None, error: Exception) -> Answer:
        """One line and the error's exit code."""
        if isinstance(error, DaccError):
            return Answer(rc=error.exit_code, stdout=f"{error}\n")
        return Answer(rc=1, stdout="internal error: see the log of dacd\n")


FRONTEND: FrontEnd = OperatorFrontEnd()
