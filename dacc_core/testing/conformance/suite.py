"""The class that provider authors inherit from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from ...plugins import load_provider
from ...sdk import Provider
from .checks.create import Create
from .checks.data import Data
from .checks.delete import Delete
from .checks.failures import Concurrency, Crashes, Failures
from .checks.group import Group, group_of
from .checks.host_check import HostCheck
from .checks.lifecycle import Lifecycle
from .checks.metadata import Metadata, Settings
from .checks.mount import Mount, Unmount
from .checks.optional import Private, Restore, Swap, Undeclared, Usage
from .checks.time import Cancellation, Deadlines
from .kit import Kit
from .scratch import Scratch


class ProviderConformance(  # pytest collects what the last base defines first
    Cancellation,
    Deadlines,
    Concurrency,
    Failures,
    Crashes,
    Lifecycle,
    Undeclared,
    Swap,
    Private,
    Restore,
    Usage,
    Data,
    Unmount,
    Mount,
    Delete,
    Create,
    HostCheck,
    Settings,
    Metadata,
):
    """All checks of a provider. Inherit from it in a test module, under a name that begins with ``Test``, and set ``provider``.

    A fixture ``scratch`` gives the hosts and bricks (:class:`~dacc_core.testing.Scratch`) that the checks may ruin; without one of
    your own, directories of this machine are used.
    """

    provider: ClassVar[str] = ""
    """The provider's name, as its entry point has it."""

    _found: ClassVar[dict[Any, Any]]

    repeat: ClassVar[int] = 10
    """How often calls are repeated that must be repeatable."""

    def make_provider(self, scratch: Scratch) -> Provider:
        """A provider object, as a daemon that starts makes it. Replace it for a class that is not installed."""
        return load_provider(self.provider, scratch.settings)

    @pytest.fixture
    def kit(self, scratch: Scratch, request: pytest.FixtureRequest) -> Iterator[Kit]:
        """What each check works with."""
        found = vars(type(self)).get("_found")
        if found is None:
            type(self)._found = found = {}
        kit = Kit(lambda: self.make_provider(scratch), scratch, self.repeat, found)
        try:
            group_of(type(self), request.function.__name__).prepare(kit)
            yield kit
        finally:
            kit.close()


GROUPS: tuple[type[Group], ...] = tuple(reversed([base for base in ProviderConformance.__bases__ if issubclass(base, Group)]))
"""All groups, in the order in which they are made and documented."""
