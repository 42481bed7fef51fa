"""Waiting for what happens in other threads, processes and machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], what: str = "it comes true", seconds: float = 40.0) -> T:
    """What the condition returns, once that is true. Fails after so many seconds, naming ``what`` did not happen."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
    return value
