"""The reference pages that are made from the code: each a function that returns the page's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import commands, conformance, directives, errors, fake, hooks, keys, lustre, metrics, settings

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "errors.md": errors.page,
    "keys.md": keys.page,
    "commands.md": commands.page,
    "hooks.md": hooks.page,
    "conformance.md": conformance.page,
    "directives.md": directives.page,
    "fake-provider.md": fake.page,
    "lustre-provider.md": lustre.page,
    "metrics.md": metrics.page,
}


def directory() -> Path:
    """Where the pages are kept."""
    return Path(__file__).resolve().parent.parent.parent / "docs" / "reference"
