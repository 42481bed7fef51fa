"""The helper on the hosts: how its text gets there, and what its answers mean.

One command per host and call: the host's own interpreter reads the helper from standard input and finds the verb and its
arguments in ``argv``. Nothing has to be installed on the hosts, and no shell sees any name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from dacc_core.sdk import Command, CommandResult, Context, ProviderBug

from .answers import Answer, Nothing, Shape, answer_of


@cache
def helper(part: str) -> bytes:
    """The helper's text for the verbs of one part (``image``, ``directory`` or ``swap``)."""
    folder = files(__package__) / "node"
    texts = [(folder / f"{name}.py").read_text("utf-8") for name in ("common", "planted", part)]
    return "\n\n".join([*texts, "start()\n"]).encode()


def call(
    context: Context,
    hosts: Sequence[str],
    part: str,
    verb: str,
    job: Callable[[str], Mapping[str, Any]],
    *,
    shapes: Mapping[str, Shape] = {},
    wrapper: Sequence[str] = (),
    most: float = 600.0,
) -> dict[str, Answer]:
    """Do ``verb`` on each host, in parallel; ``job`` makes its arguments. An answer is the verb's result or its error.

    ``shapes``: of the results, by host; the others have nothing in them.

    Raises Cancelled, and Unavailable when the deadline (or ``most`` seconds) is over before it starts.
    """
    if not hosts:
        return {}
    context.cancel.check(verb)
    context.deadline.check(verb)
    timeout = context.deadline.remaining(at_most=most)
    # A lock that is not had in time is then reported by the helper itself, which can say so.
    seconds = max(0.1, timeout - 1.0)

    def argv(host: str) -> list[str]:
        arguments = json.dumps({**job(host), "host": host, "seconds": seconds})
        return [*wrapper, context.hosts.python, "-I", "-S", "-", verb, arguments]

    results = context.hosts.run(hosts, Command(argv, timeout=timeout, stdin=helper(part)))
    context.cancel.check(verb)
    return {host: _answer(host, verb, results.get(host), shapes.get(host, Nothing)) for host in hosts}


def _answer(host: str, verb: str, result: CommandResult | None, shape: Shape) -> Answer:
    if result is None:
        return ProviderBug(provider="fake", where=verb, why=f"the host runner gave no result for {host}")
    return answer_of(host, verb, result, shape)
