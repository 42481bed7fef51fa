"""What a test needs of its machine. Nothing is skipped silently where everything must run."""

from __future__ import annotations

import os

import pytest


def require(fulfilled: bool, what: str) -> None:
    """Skip a test that lacks ``what``; fail it instead where everything must run (``DACC_REQUIRE_ALL=1``)."""
    if fulfilled:
        return
    if os.environ.get("DACC_REQUIRE_ALL") == "1":
        pytest.fail(f"needs {what}, and DACC_REQUIRE_ALL=1 lets nothing be skipped")
    pytest.skip(f"needs {what}")


def require_root(what: str = "mounts and other users") -> None:
    """For tests that only root can run."""
    require(os.geteuid() == 0, f"root, for {what}")
