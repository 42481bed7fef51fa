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
    """A session was set up, its facts or its goal changed, or it ended. An observer, called by the daemon that coordinates the session.

    ``event`` has ``time`` (seconds since the epoch), ``session`` (the token), ``id``, ``kind`` (``job``, ``persistent`` or ``kept``),
    ``owner`` (uid), ``pool``, ``provider`` and ``volume`` (empty without a filesystem of its own), ``capacity`` (bytes), ``goal`` (the
    verb that set it), ``state``, ``filesystem``, ``stage_in``, ``stage_out``, ``mounts`` (a folded set of hosts), ``error`` (the
    class, empty if the goal has not failed) and ``reason`` (its text). ``state`` is ``bricks_deleted`` when the session has ended.
    """


@hookspec
def dacc_step_finished(event: Mapping[str, Any]) -> None:
    """A step ended, well or not. An observer, called by the daemon that ran the step.

    ``event`` has ``time`` (seconds since the epoch), ``session``, ``id``, ``kind``, ``owner``, ``pool``, ``provider``, ``volume`` and
    ``capacity`` as in ``dacc_session_changed``; ``step``, ``hosts`` (a folded set), ``seconds``, and ``error`` and ``reason``, empty
    when it went well. After a copy ``files`` and ``bytes`` say how much.
    """
