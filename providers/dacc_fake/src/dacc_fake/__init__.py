"""The fake provider: real mounts and a real capacity limit without storage hardware, and faults on demand."""

from __future__ import annotations

from dacc_core.sdk import Provider, hookimpl

from .faults import Fault
from .provider import FakeProvider
from .settings import FakeSettings

__all__ = ["FakeProvider", "FakeSettings", "Fault", "dacc_register_provider"]


@hookimpl
def dacc_register_provider() -> type[Provider]:
    """The provider class of this package."""
    return FakeProvider
