"""Calls with which nothing goes wrong, each made once for all checks that ask about it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from ..kit import CallOutcome, Kit
from ..outcomes import expect, given
from ..runners import Tap

ON_HOSTS = ("mount", "unmount", "swap_on", "swap_off")
"""Calls that are asked for hosts besides those of the bricks."""


@dataclass(frozen=True)
class Plain:
    """What came of a call."""

    outcome: CallOutcome
    touched: tuple[str, ...]
    """The host of each command, in order."""

    allowed: frozenset[str]
    """The hosts that its request names."""

    before: object
    """The state in its request."""

    after: object
    """The same, once the call had ended."""


def plain(kit: Kit, call: str) -> Plain:
    """What comes of a call."""
    return kit.once(("plain", call), lambda: _plain(kit, call))


def commands_of(kit: Kit, call: str) -> int:
    """How many commands a call takes. Raises NotReached when it fails."""
    made = plain(kit, call)
    with given(call):
        expect(made.outcome.ok, f"{call} failed: {made.outcome.why()}")
    return len(made.touched)


def _plain(kit: Kit, call: str) -> Plain:
    kit.renew()
    trial, tap = kit.ready(call), Tap(kit.scratch.runner)
    request = trial.request(call, trial.context(tap))
    before = copy.deepcopy(getattr(request, "state", None))
    outcome = trial.sent(call, request)
    trial.end()
    asked = trial.hosts if call in ON_HOSTS else ()
    return Plain(outcome, tuple(tap.touched), frozenset((*asked, *trial.volume.hosts)), before, getattr(request, "state", None))
