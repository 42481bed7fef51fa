"""How providers are wrong: each differs from the right one in one thing, and names the checks that catch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .shelf import ShelfProvider

WRONG: dict[type[ShelfProvider], frozenset[str]] = {}
"""Each wrong provider, and the names of exactly those checks that fail with it, or are not reached."""

P = TypeVar("P", bound=type[ShelfProvider])


def caught_by(check: str, *also: str) -> Callable[[P], P]:
    """Note the check that is meant for a wrong provider, and those that it cannot help failing as well."""

    def note(cls: P) -> P:
        WRONG[cls] = frozenset((check, *also))
        return cls

    return note
