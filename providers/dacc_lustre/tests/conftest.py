"""What the tests share. They run from the wheel, and pytest's importlib mode does not put their directory on the path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no reason to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def as_root() -> None:
    """Root, since directories are given to their owners. Without, a test is skipped, or fails where everything must run."""
    if os.geteuid() == 0:
        return
    if os.environ.get("DACC_REQUIRE_ALL") == "1":
        pytest.fail("needs root, and DACC_REQUIRE_ALL=1 lets nothing be skipped")
    pytest.skip("needs root, since directories are given to their owners")
