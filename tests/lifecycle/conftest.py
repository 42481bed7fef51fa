"""The cluster that tests of one job share."""

from __future__ import annotations

import pytest

from dacc_core.simulation.daemon import VirtualRuntime

from .quiet import Job


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(VirtualRuntime, "_live_on", lambda *_: None)  # here calls are counted
    made = Job()
    made.set_up()
    return made
