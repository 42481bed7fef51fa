"""The front end of ``dacc``: people's verbs, through the same socket and core as Slurm's. Answers are JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..errors import BadArguments, DaccError, StaleView
from ..lifecycle.facts import state_name
from ..registry import operators
from ..registry.calls import Answer, Call, Caller, Site
from ..registry.ops import Verb

STALE_SECONDS = 3.0
SHAPES = {"status": (0, 0), "show": (1, 1), "stage-out": (1, 1), "discard": (1, 1), "release": (1, 2), "retry": (1, 1)}
"""Each verb with how many arguments it takes, at least and at most."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A verb and its arguments."""

    verb: str
    args: tuple[str, ...]
    caller: Caller
    token: str = ""


class OperatorFrontEnd:
    """``dacc status``, ``show``, ``stage-out``, ``discard``, ``release`` and ``retry``."""

    name = "dacc"

    def parse(self, call: Call) -> Parsed:
        """The verb by its name. Raises BadArguments."""
        verb, *args = call.args or ("",)
        if verb not in SHAPES:
            raise BadArguments(why=f"{verb!r} is no verb: there are {', '.join(SHAPES)}")
        least, most = SHAPES[verb]
        if not least <= len(args) <= most:
            raise BadArguments(why=f"{verb} takes {least} to {most} arguments, not {len(args)}")
        return Parsed(verb, tuple(args), call.caller, args[0] if args else "")

    def run(self, parsed: Parsed, site: Site) -> Verb[Answer]:
        """The verb's answer, as JSON."""
        if site.age > STALE_SECONDS:
            raise StaleView(seconds=site.age)
        result = yield from self._result(parsed, site)
        return Answer(stdout=json.dumps(result) + "\n")

    def _result(self, parsed: Parsed, site: Site) -> Verb[Any]:
        scene, args = site.scene, parsed.args
        match parsed.verb:
            case "status":
                return operators.overview(scene.view, parsed.caller)
            case "show":
                found = yield from operators.show(scene, args[0], parsed.caller)
                session = scene.view.session(found["token"])
                return found | {"state": state_name(session, scene.view.status(found["token"]))}
            case "stage-out":
                token = yield from operators.stage_out(scene, args[0], parsed.caller)
                return {"token": token, "done": True}
            case "discard":
                return {"token": (yield from operators.discard(scene, args[0], parsed.caller)), "done": True}
            case "retry":
                return {"job": args[0], "forgotten": (yield from operators.retry(scene, args[0], parsed.caller))}
            case _:
                freed = yield from operators.release(scene, args[0], args[1] if len(args) > 1 else "", parsed.caller)
                return {"host": args[0], "released": list(freed)}

    def deadline(self, parsed: Parsed, config: Config) -> float:
        """A copy may take its time."""
        long = {"stage-out": config.deadlines.stage, "discard": config.deadlines.teardown + 30.0}
        return long.get(parsed.verb, 30.0)

    def failure(self, parsed: Parsed | None, error: Exception) -> Answer:
        """One line and the error's exit code."""
        if isinstance(error, DaccError):
            return Answer(rc=error.exit_code, stdout=f"{error}\n")
        return Answer(rc=1, stdout="internal error: see the log of dacd\n")


FRONTEND = OperatorFrontEnd()
