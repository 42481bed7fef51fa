"""The front end of ``dacc``: people's verbs, through the same socket and core as Slurm's. Answers are JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..config import Config
from ..errors import BadArguments, DaccError, StaleView
from ..lifecycle.explain import why
from ..lifecycle.transitions import state_name
from ..verbs import hosts as brick_hosts
from ..verbs import operators
from ..verbs.forgetting import forget, losses
from ..verbs.frontend import Answer, Call, FrontEndContext, PeerCredentials
from ..verbs.operations import Verb

STALE_SECONDS = 3.0
SHORT_SECONDS = 30.0
MANY = 100_000


@dataclass(frozen=True, slots=True)
class ParsedCommand:
    """A verb and its arguments. ``function`` is the verb's name, for metrics."""

    function: str
    args: tuple[str, ...]
    caller: PeerCredentials
    token: str = ""


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """A verb: how many arguments it takes, how its result is made, and how long it may take."""

    least: int
    most: int
    result: Callable[[ParsedCommand, FrontEndContext], Verb[Any]]
    seconds: Callable[[Config], float] = lambda _: SHORT_SECONDS


def _at_once(read: Callable[[ParsedCommand, FrontEndContext], Any]) -> Callable[[ParsedCommand, FrontEndContext], Verb[Any]]:
    """A verb that reads the view and answers."""

    def verb(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
        return read(asked, site)
        yield  # what makes it a generator

    return verb


def _show(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    view = site.scene.view
    found = yield from operators.show(site.scene, asked.args[0], asked.caller)
    return found | {"state": state_name(view.session(found["token"]), view.status(found["token"]))}


def _why(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    return why(site.scene, asked.args[0], asked.caller)


def _stage_out(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    return {"token": (yield from operators.stage_out(site.scene, asked.args[0], asked.caller)), "done": True}


def _discard(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    return {"token": (yield from operators.discard(site.scene, asked.args[0], asked.caller)), "done": True}


def _release(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    host, device = (*asked.args, "")[:2]
    return {"host": host, "released": list((yield from operators.release(site.scene, host, device, asked.caller)))}


def _retry(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    return {"job": asked.args[0], "forgotten": (yield from operators.retry(site.scene, asked.args[0], asked.caller))}


def _drain(*, draining: bool) -> Callable[[ParsedCommand, FrontEndContext], Verb[Any]]:
    def verb(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
        done = yield from brick_hosts.drain(site.scene, asked.args[0], asked.caller, draining=draining)
        return [asdict(one) for one in done]

    return verb


def _losses(asked: ParsedCommand, site: FrontEndContext) -> Any:
    return losses(site.scene.view, asked.args[0], asked.caller)


def _forget(asked: ParsedCommand, site: FrontEndContext) -> Verb[Any]:
    """The sessions that the caller agrees to lose stand behind the host."""
    return forget(site.scene, asked.args[0], asked.caller, frozenset(asked.args[1:]))


VERBS = {
    "status": OperatorCommand(0, 0, _at_once(lambda asked, site: operators.overview(site.scene.view, asked.caller))),
    "show": OperatorCommand(1, 1, _show),
    "why": OperatorCommand(1, 1, _why),
    "hosts": OperatorCommand(0, 1, _at_once(lambda asked, site: brick_hosts.described(site.scene.view, asked.caller, *asked.args))),
    "drain": OperatorCommand(1, 1, _drain(draining=True)),
    "undrain": OperatorCommand(1, 1, _drain(draining=False)),
    "losses": OperatorCommand(1, 1, _at_once(_losses)),
    "forget": OperatorCommand(1, MANY, _forget),
    "stage-out": OperatorCommand(1, 1, _stage_out, lambda config: config.deadlines.stage),
    "discard": OperatorCommand(1, 1, _discard, lambda config: config.deadlines.teardown + SHORT_SECONDS),
    "release": OperatorCommand(1, 2, _release),
    "retry": OperatorCommand(1, 1, _retry),
}
"""Each verb by its name."""


class OperatorFrontEnd:
    """The verbs of ``dacc`` that ask a daemon."""

    name = "dacc"

    def parse(self, call: Call) -> ParsedCommand:
        """The verb by its name. Raises BadArguments."""
        verb, *args = call.args or ("",)
        if verb not in VERBS:
            raise BadArguments(why=f"{verb!r} is no verb: there are {', '.join(VERBS)}")
        shape = VERBS[verb]
        if not shape.least <= len(args) <= shape.most:
            raise BadArguments(why=f"{verb} takes {shape.least} to {shape.most} arguments, not {len(args)}")
        return ParsedCommand(verb, tuple(args), call.caller, args[0] if args else "")

    def run(self, parsed: ParsedCommand, site: FrontEndContext) -> Verb[Answer]:
        """The verb's answer, as JSON."""
        if site.age > STALE_SECONDS:
            raise StaleView(seconds=site.age)
        result = yield from VERBS[parsed.function].result(parsed, site)
        return Answer(stdout=json.dumps(result) + "\n")

    def deadline(self, parsed: ParsedCommand, config: Config) -> float:
        """A copy may take its time."""
        return VERBS[parsed.function].seconds(config)

    def function(self, parsed: ParsedCommand) -> str:
        """The verb."""
        return parsed.function

    def failure(self, parsed: ParsedCommand | None, error: Exception) -> Answer:
        """One line and the error's exit code."""
        if isinstance(error, DaccError):
            return Answer(rc=error.exit_code, stdout=f"{error}\n")
        return Answer(rc=1, stdout="internal error: see the log of dacd\n")


FRONTEND = OperatorFrontEnd()
