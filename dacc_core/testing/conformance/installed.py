"""What ``dacc provider check`` has pytest collect: the checks of a provider that is installed."""

from __future__ import annotations

from typing import ClassVar

import pytest

from .scratch import Scratch
from .suite import ProviderConformance


class TestProvider(ProviderConformance):
    """:class:`~.session.CheckSession` sets the provider, how often calls are repeated, and what the checks may ruin."""

    chosen: ClassVar[Scratch]

    @pytest.fixture
    def scratch(self) -> Scratch:
        """The site's own hosts and bricks, never those that the pytest plugin would make."""
        return self.chosen
