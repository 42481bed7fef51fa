"""The site's numbers that decisions depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..registry.transaction import MOST_CHANGES

FENCE_WAVE = 64
"""Hosts that one fence reaches at once; the others wait for their turn."""
FENCE_WAVE_SECONDS = 75.0
"""What fencing one host may take: the helper's own timeout, and the end of what it must end."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The site's numbers (seconds). ``most_changes``: what one transaction changes at most.

    ``fence_seconds``: how much longer than its commands may take a fence is waited for. ``commit_seconds``: how long the keystore's answer
    to a session's transaction is waited for, and the watch to reach it.
    """

    lease_ttl: float = 10.0
    deadlines: dict[str, float] = field(default_factory=dict)
    teardown_budget: float = 240.0
    attempts: int = 3
    first_wait: float = 1.0
    cancel_grace: float = 10.0
    fence_seconds: float = 15.0
    commit_seconds: float = 30.0
    stop_grace: float = 10.0
    history_days: float = 7.0
    history_number: int = 1000
    max_pre_run_failures: int = 3
    mover_host: str = ""
    most_changes: int = MOST_CHANGES

    def deadline(self, step: str) -> float:
        """How long a step may take."""
        return self.deadlines.get(step, 120.0)

    def fence_deadline(self, hosts: int) -> float:
        """How long the answer to a fence of so many hosts is waited for."""
        return self.fence_seconds + FENCE_WAVE_SECONDS * math.ceil(hosts / FENCE_WAVE)
