"""The Lustre provider: not usable yet."""

from __future__ import annotations

from dacc_core.sdk import Provider, hookimpl

from .provider import LustreProvider, LustreSettings

__all__ = ["LustreProvider", "LustreSettings", "dacc_register_provider"]


@hookimpl
def dacc_register_provider() -> type[Provider]:
    """The provider class of this package."""
    return LustreProvider
