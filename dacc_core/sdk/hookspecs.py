"""The hooks of a provider package. pluggy broadcasts and a provider is a driver, so they are few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from .provider import Provider

PROJECT = "dacc"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def dacc_register_provider() -> type[Provider]:  # type: ignore[empty-body]
    """The provider class of this package."""


@hookspec
def dacc_add_commands(cli: click.Group) -> None:
    """Add commands to ``dacc`` (never to ``fakewarp``)."""


@hookspec
def dacc_session_changed(event: Mapping[str, Any]) -> None:
    """A session's goal or facts changed. An observer: what it returns or raises changes nothing."""


@hookspec
def dacc_step_finished(event: Mapping[str, Any]) -> None:
    """A step ended, well or not. An observer."""
