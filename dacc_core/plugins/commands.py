"""Commands that provider packages add to ``dacc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import found, registration
from .found import CannotLoad

if TYPE_CHECKING:
    import click


def add_commands(cli: click.Group) -> list[str]:
    """Let every provider package add its commands; a line for each that failed, which costs the others nothing."""
    failures = []
    everything = found.find(found.PROVIDERS)
    for one in everything:
        if found.others(one, everything):
            continue
        try:
            plugin, _ = registration.provider_class(one)
            manager = registration.new_manager()
            manager.register(plugin)
            manager.hook.dacc_add_commands(cli=cli)
        except CannotLoad:
            continue  # `dacc providers list` tells
        except Exception as error:
            failures.append(f"provider {one.name} of {one.package} {one.version} could not add its commands: {error}")
    return failures
