"""The node helper on the hosts: how its text and a request get there, and what its answers mean.

One command for each host and call. By default the host's own interpreter reads the helper, and the request behind it, from standard
input: nothing has to be installed. An installed helper gets the verb as its one argument and the request on standard input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from dacc_core.sdk import Argv, Command, CommandResult, Context, DaccError, ProviderBug

from . import answers
from .answers import Answer
from .errors import codes_to_retry
from .settings import Settings

PARTS = ("common", "planted", "argv", "devices", "pools", "targets", "settle", "holders", "client", "swap", "check", "nodemap", "prepare")
HEAD = '"""The node helper of the Lustre provider of dacc, version {version}. Made by `dacc lustre helper`; do not edit."""\n'
RETRY_WAIT = 1.0


@cache
def helper() -> str:
    """The helper's text: its files joined."""
    folder = files(__package__) / "node"
    return "\n\n".join((folder / f"{name}.py").read_text("utf-8") for name in PARTS)


@cache
def verbs() -> tuple[str, ...]:
    """The verbs that the helper has."""
    return tuple(sorted(re.findall(r'^@verb\("([a-z-]+)"\)$', helper(), re.MULTILINE)))


def program(version: str) -> str:
    """The helper as a program to install."""
    end = '\n\nif __name__ == "__main__":\n    sys.exit(program(sys.argv[1:]))\n'
    return "#!/usr/bin/python3 -IS\n" + HEAD.format(version=version) + helper() + end


def call(
    context: Context,
    settings: Settings,
    verb: str,
    common: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    *,
    seconds: float,
    tries: int = 1,
) -> dict[str, Answer]:
    """Do ``verb`` on each host at once; ``common`` with what ``hosts`` has for the host are its arguments.

    An answer is the verb's result or its error. ``seconds``: the deadline on the host, earlier when the context's is. Raises Cancelled,
    and Unavailable when the deadline is over before it starts.
    """
    if not hosts:
        return {}
    context.cancel.check(verb)
    context.deadline.check(verb)
    timeout = context.deadline.remaining(at_most=seconds + 5.0)
    # What is late is then reported by the helper itself, which can say what it was.
    retry = {"codes": codes_to_retry(), "tries": tries, "wait": RETRY_WAIT}
    document = json.dumps({"common": {**common, "seconds": max(0.5, timeout - 2.0), "retry": retry}, "hosts": hosts})
    argv, stdin = _command(context, settings, verb, document)
    results = context.hosts.run(list(hosts), Command(argv, timeout=timeout, stdin=stdin))
    context.cancel.check(verb)
    return {host: answer_of(host, verb, results.get(host)) for host in hosts}


def _command(context: Context, settings: Settings, verb: str, document: str) -> tuple[Argv, bytes]:
    if settings.helper:
        return [*(("sudo", "-n") if settings.sudo else ()), settings.helper, verb], document.encode()
    text = f"{helper()}\n\nstart({verb!r}, {document!r}, sys.argv[1])\n"
    python = context.hosts.python
    return lambda host: [python, "-I", "-S", "-", host], text.encode()


def answer_of(host: str, verb: str, result: CommandResult | None) -> Answer:
    """What a command's result means; errors name the host."""
    if result is None:
        return ProviderBug(provider="lustre", where=verb, why=f"the host runner gave no result for {host}")
    return answers.answer_of(host, verb, result)


def ask(
    context: Context,
    settings: Settings,
    verb: str,
    common: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    *,
    seconds: float,
    tries: int = 1,
) -> dict[str, Answer]:
    """As :func:`call`, and every result is of the verb's shape."""
    return answers.fitting(verb, call(context, settings, verb, common, hosts, seconds=seconds, tries=tries))


def results_of(found: Mapping[str, Answer]) -> dict[str, Mapping[str, Any]]:
    """The results. Raises the first error, in the order of the hosts."""
    made: dict[str, Mapping[str, Any]] = {}
    for host, answer in found.items():
        if isinstance(answer, DaccError):
            raise answer
        made[host] = answer
    return made


def errors_of(answers: Mapping[str, Answer], hosts: Sequence[str]) -> dict[str, DaccError | None]:
    """By host the error, or ``None``."""
    found = {host: answers[host] for host in hosts}
    return {host: answer if isinstance(answer, DaccError) else None for host, answer in found.items()}
