"""Commands that provider packages add to ``dacc``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import DaccError
from . import discovery, registration
from .discovery import CannotLoad

if TYPE_CHECKING:
    import click


def add_commands(cli: click.Group, disabled: Collection[str] = ()) -> list[str]:
    """Let every provider package add its commands; a line for each that failed, which costs the others nothing."""
    failures = []
    everything = [one for one in discovery.find(discovery.PROVIDERS) if not one.is_in(disabled)]
    for one in everything:
        if discovery.others(one, everything):
            continue
        try:
            _add(one, cli)
        except CommandsFailed as failure:
            who = f"entry point `{one.text}` of {one.package} {one.version}"
            failures.append(f"provider {one.name} cannot add its commands: {who}: {failure.why}; {failure.fix}")
        except (CannotLoad, DaccError):
            continue  # `dacc providers list` tells
    return failures


class CommandsFailed(CannotLoad):
    """The package loads, and its hook dacc_add_commands fails."""


def _add(one: discovery.DiscoveredPlugin, cli: click.Group) -> None:
    package = registration.provider_package(one)
    manager = registration.new_manager()
    manager.register(package.plugin)
    try:
        discovery.guarded("its hook", lambda: manager.hook.dacc_add_commands(cli=cli))
    except (CannotLoad, DaccError) as problem:
        why, fix = (problem.why, problem.fix) if isinstance(problem, CannotLoad) else (str(problem), discovery.REPORT)
        raise CommandsFailed(why, fix) from problem
