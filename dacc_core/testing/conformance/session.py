"""The checks of an installed provider, run through pytest, told line by line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest

from .checks.group import CheckGroup, as_words, group_of
from .outcomes import NotReached
from .scratch import Scratch, Snapshot, described, left_over

State = Literal["ok", "FAILED", "not reached", "not declared", "not possible"]
MODULE = "dacc_core.testing.conformance.installed"
BAD: tuple[State, ...] = ("FAILED", "not reached")


@dataclass
class CheckSession:
    """One run of the checks. It is a pytest plugin: it gives them the scratch resources and tells how each ended."""

    provider: str
    scratch: Scratch
    tell: Callable[[str], None]
    """Takes each line."""

    destructive: bool = False
    """Whether to make those checks that ruin what is on the bricks."""

    sweep: bool = False
    """Whether to take away by force what is left, before the checks and after them."""

    repeat: int = 10
    junit: str = ""
    """A file for the results in JUnit's format."""

    count: Counter[State] = field(default_factory=Counter)
    left: Snapshot = field(default_factory=dict)
    """What was still there in the end."""

    def run(self) -> bool:
        """Make the checks. Whether all that were made ended well and nothing was left behind."""
        before = self._begin() if self.destructive else {}
        status = self._run_pytest()
        if self.destructive:
            self._end(before)
        return status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not any(self.count[bad] for bad in BAD) and not self.left

    def _begin(self) -> Snapshot:
        found = self.scratch.look()
        return self.scratch.sweep(without_signatures(found)) if self.sweep else found

    def _end(self, before: Snapshot) -> None:
        self.left = left_over(before, self.scratch.look())
        if self.left and self.sweep:
            self.tell(f"{'swept':<13} {described(self.left)}")
            self.left = left_over(before, self.scratch.sweep(self.left))
        if self.left:
            self.tell(f"{'left behind':<13} {described(self.left)}")

    def _run_pytest(self) -> int:
        # Of the machine's own plugins and settings for pytest none is to change what a check means.
        words = ["--pyargs", MODULE, "-c", os.devnull, "--rootdir", "/", "-p", "no:cacheprovider", "-p", "no:terminal"]
        words += ["-p", "dacc_core.testing.plugin", "--assert=plain", *([f"--junit-xml={self.junit}"] if self.junit else [])]
        with environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS=""):
            return pytest.main(words, plugins=[self])

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what may not be made."""
        items[:] = [item for item in items if self._may_be_made(group_of_item(item))]
        for item in items:
            cls = item.getparent(pytest.Class)
            if cls is not None:
                cls.obj.provider, cls.obj.repeat, cls.obj.chosen = self.provider, self.repeat, self.scratch

    def _may_be_made(self, group: type[CheckGroup]) -> bool:
        has_bricks = bool(self.scratch.bricks) or group.title in ("metadata", "settings")
        return has_bricks and (self.destructive or not group.destructive)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell how a check ended."""
        if call.when == "call" or (call.when == "setup" and call.excinfo is not None):
            self._tell(item, call.excinfo.value if call.excinfo is not None else None)
        return (yield)

    def _tell(self, item: pytest.Item, error: BaseException | None) -> None:
        state, text = judged(error)
        self.count[state] += 1
        self.tell(f"{state:<13} {group_of_item(item).title}: {as_words(item.name)}{text}")


def without_signatures(found: Snapshot) -> Snapshot:
    """What may be taken away before anything was checked: what is on the bricks then may be somebody's."""
    return {host: frozenset(one for one in entries if one[0] != "signature") for host, entries in found.items()}


def judged(error: BaseException | None) -> tuple[State, str]:
    """How a check ended, and what there is to say about it."""
    if error is None:
        return "ok", ""
    text = " ".join(str(error).split())
    if isinstance(error, pytest.skip.Exception):
        kind, _, reason = text.partition(": ")
        return ("not declared" if kind == "not declared" else "not possible"), f" ({reason})"
    if isinstance(error, AssertionError):
        return ("not reached" if isinstance(error, NotReached) else "FAILED"), f": {text.removeprefix('not reached, ')}"
    return "FAILED", f": {type(error).__name__}: {text}"


def group_of_item(item: pytest.Item) -> type[CheckGroup]:
    """The group of a collected check."""
    cls = item.getparent(pytest.Class)
    if cls is None:
        raise LookupError(item.name)
    return group_of(cls.obj, item.name)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables of this process, meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
