"""The site, as the commands see it that a provider package adds to ``dacc``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..errors import Unsupported
from .context import Context
from .provider import Provider


class Site(Protocol):
    """The configuration and the hosts, for a command that an operator runs."""

    def provider(self, name: str) -> Provider:
        """A provider, made with the settings that the configuration has for it."""
        ...

    def bricks(self, provider: str) -> Mapping[str, tuple[str, ...]]:
        """By host, the devices of its bricks in the pools of a provider, in the order of the configuration."""
        ...

    def context(self, seconds: float) -> Context:
        """Hosts and a deadline. Commands are not fenced: they belong to no session."""
        ...


def current_site() -> Site:
    """The site of the ``dacc`` command that runs now. The configuration is read when it is first asked for.

    Raises :class:`~dacc_core.errors.Unsupported` outside of a command.
    """
    import click  # late: who merely serves a provider needs none of it

    context = click.get_current_context(silent=True)
    found = context.find_root().obj if context else None
    if found is None:
        raise Unsupported(why="current_site() was called outside of a dacc command: call it in one")
    site: Site = found
    return site
