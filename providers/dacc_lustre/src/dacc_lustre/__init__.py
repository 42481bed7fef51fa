"""The Lustre provider: burst buffers on NVMe bricks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dacc_core.sdk import Provider, hookimpl

from .provider import LustreProvider
from .settings import LustreSettings

if TYPE_CHECKING:
    import click

__all__ = ["LustreProvider", "LustreSettings", "dacc_add_commands", "dacc_register_provider"]


@hookimpl
def dacc_register_provider() -> type[Provider]:
    """The provider class of this package."""
    return LustreProvider


@hookimpl
def dacc_add_commands(cli: click.Group) -> None:
    """``dacc lustre``."""
    from .commands import lustre  # late: a daemon needs none of it

    cli.add_command(lustre)
