"""The Lustre provider: burst buffers on NVMe bricks."""

from __future__ import annotations

from dacc_core.sdk import Provider, hookimpl

from .provider import LustreProvider
from .settings import Settings as LustreSettings

__all__ = ["LustreProvider", "LustreSettings", "dacc_register_provider"]


@hookimpl
def dacc_register_provider() -> type[Provider]:
    """The provider class of this package."""
    return LustreProvider
