"""Tools for testing: the conformance kit for providers, and a simulated cluster.

A provider author needs :class:`ProviderConformance`, and :class:`Scratch` for hosts of other kinds than :func:`local_scratch` makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conformance.local import local_scratch
    from .conformance.scratch import Scratch
    from .conformance.suite import ProviderConformance

__all__ = ["ProviderConformance", "Scratch", "local_scratch"]

_PLACES = {"ProviderConformance": "suite", "Scratch": "scratch", "local_scratch": "local"}


def __getattr__(name: str) -> Any:
    # Late: pytest is needed for the first only, and pytest loads our plugin wherever dacc is installed.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".conformance.{_PLACES[name]}", __name__), name)
