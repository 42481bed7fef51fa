"""Run commands and helpers on hosts, and make errors of how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

from dacc_core.sdk import Argv, Command, CommandResult, Context, DaccError, PerHost, Unavailable, clean_text

from .told import Withdrawn, ended, told_by

T = TypeVar("T")
Helper = Literal["storage", "client"]


@dataclass(frozen=True)
class Remote:
    """The hosts of one request. ``seconds``: what a command may take."""

    context: Context
    seconds: float

    def run(self, hosts: Sequence[str], argv: Argv, stdin: bytes = b"") -> Mapping[str, CommandResult]:
        """A command on all hosts at once, within the deadline. Raises Cancelled, or Unavailable when the deadline has passed."""
        self.context.cancel.check()
        self.context.deadline.check("a step of the provider gluster")
        return self.context.hosts.run(hosts, Command(argv, timeout=self.context.deadline.remaining(self.seconds), stdin=stdin))

    def help(
        self, hosts: Sequence[str], helper: Helper, action: str, what: Callable[[str], Mapping[str, Any]]
    ) -> Mapping[str, CommandResult]:
        """An action of a helper on all hosts; ``what`` gives what it needs on a host."""
        python = self.context.hosts.python
        return self.run(hosts, lambda host: (python, "-I", "-", action, json.dumps(what(host))), source(helper))


@cache
def source(helper: Helper) -> bytes:
    """A helper's program, which needs nothing but Python on the host."""
    node = files(__package__) / "node"
    parts = ("common", "planted", "client") if helper == "client" else ("common", "planted", "answers", "volume", "storage")
    return b"\n".join((node / f"{name}.py").read_bytes() for name in parts)


def outcome(results: Mapping[str, CommandResult]) -> PerHost:
    """How a helper's action that has nothing to tell ended on each host."""
    return PerHost(hosts={host: ended(result) for host, result in results.items()})


def told(results: Mapping[str, CommandResult], shape: type[T]) -> dict[str, T]:
    """What a helper's action told on each host, of that shape. Raises the first error."""
    found = {host: told_by(result, shape) for host, result in results.items()}
    PerHost(hosts={host: one if isinstance(one, DaccError) else None for host, one in found.items()}).check()
    return {host: one for host, one in found.items() if not isinstance(one, DaccError)}


def knower(results: Mapping[str, CommandResult]) -> str:
    """The first host that told that gluster knows the volume; empty when all say that there is none.

    Some may not answer as long as one knows it. Raises the first error when none does.
    """
    errors: list[DaccError] = []
    for host, result in results.items():
        answer = told_by(result, Withdrawn)
        if isinstance(answer, DaccError):
            errors.append(answer)
        elif answer.known:
            return host
        elif answer.why:
            errors.append(Unavailable(why=f"host {host}: {clean_text(answer.why)}"))
    if errors:
        raise errors[0]
    return ""
