"""The class that provider authors inherit from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from ...plugins import load_provider
from ...sdk import Provider
from .checks.create import CreateChecks
from .checks.data import DataChecks
from .checks.delete import DeleteChecks
from .checks.failures import ConcurrencyChecks, CrashChecks, FailureChecks
from .checks.group import CheckGroup, group_of
from .checks.host_check import HostChecks
from .checks.lifecycle import LifecycleChecks
from .checks.metadata import MetadataChecks, SettingsChecks
from .checks.mount import MountChecks, UnmountChecks
from .checks.optional import PrivateChecks, RestoreChecks, SwapChecks, UndeclaredChecks, UsageChecks
from .checks.planted import PlantedChecks
from .checks.time import CancellationChecks, DeadlineChecks
from .kit import Kit
from .scratch import Scratch


class ProviderConformance(  # pytest collects what the last base defines first
    CancellationChecks,
    DeadlineChecks,
    ConcurrencyChecks,
    FailureChecks,
    CrashChecks,
    LifecycleChecks,
    PlantedChecks,
    UndeclaredChecks,
    SwapChecks,
    PrivateChecks,
    RestoreChecks,
    UsageChecks,
    DataChecks,
    UnmountChecks,
    MountChecks,
    DeleteChecks,
    CreateChecks,
    HostChecks,
    SettingsChecks,
    MetadataChecks,
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


GROUPS: tuple[type[CheckGroup], ...] = tuple(reversed([base for base in ProviderConformance.__bases__ if issubclass(base, CheckGroup)]))
"""All groups, in the order in which they are made and documented."""
