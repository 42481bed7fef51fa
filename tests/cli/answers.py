"""Commands with a daemon that is not there: what it answers is given."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dacc_core.cli.main import main


def invoke(monkeypatch: pytest.MonkeyPatch, module: str, answer: Any, *words: str, stdin: str = "") -> tuple[Result, list[tuple[str, ...]]]:
    """Run a command whose daemon gives ``answer`` (or what it makes of the question); its result, and what the daemon was asked."""
    asked: list[tuple[str, ...]] = []
    make: Callable[..., Any] = answer if callable(answer) else lambda *_: answer

    def ask(*args: str) -> Any:
        asked.append(args)
        return make(*args)

    monkeypatch.setattr(importlib.import_module(f"dacc_core.cli.{module}"), "ask", ask)
    return CliRunner().invoke(main, words, input=stdin), asked
