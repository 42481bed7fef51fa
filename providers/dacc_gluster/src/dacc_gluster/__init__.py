"""The provider ``gluster``: a distributed GlusterFS volume over the session's bricks, mounted on the nodes through FUSE."""

from __future__ import annotations

from dacc_core.sdk import Provider, hookimpl

from .provider import GlusterProvider


@hookimpl
def dacc_register_provider() -> type[Provider]:
    """The provider class of this package."""
    return GlusterProvider
