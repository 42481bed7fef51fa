"""The pytest plugin: a ``scratch`` for those who have none, and how checks are told that could not be made.

pytest loads it wherever dacc is installed, so it imports nothing of dacc before a conformance check runs.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conformance.scratch import Scratch

NOT_MADE = ("NotDeclared", "NotPossible")


@pytest.fixture
def scratch(tmp_path: Path) -> Generator[Scratch, None, None]:
    """Two brick hosts with a directory for a brick, and hosts to mount on: two as root, each with mounts of its own, else one."""
    from .conformance.local import local_scratch

    with local_scratch(tmp_path) as made:
        yield made


def _skip_what_cannot_be_made() -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as reason:
        if type(reason).__name__ in NOT_MADE and type(reason).__module__ == "dacc_core.testing.conformance.outcomes":
            pytest.skip(str(reason))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """A group that the provider does not declare is skipped, and says so."""
    return (yield from _skip_what_cannot_be_made())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A check that the scratch resources do not suffice for is skipped, and says so."""
    return (yield from _skip_what_cannot_be_made())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what was not checked, and why, even where pytest shows no skipped tests."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        text = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if text.startswith(("not declared: ", "not possible: ")):
            reasons[text] = reasons.get(text, 0) + 1
    if reasons:
        terminalreporter.section("dacc: checks that were not made")
        for text, count in sorted(reasons.items()):
            terminalreporter.write_line(f"{text} ({count} checks)")
