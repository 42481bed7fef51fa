"""Deadlines and cancellation."""

from __future__ import annotations

from ....sdk import Cancelled, CancelToken, Deadline
from ..kit import Kit
from ..outcomes import expect, given
from ..runners import Cancelling, Clock, Slow, Tap
from .failures import commands_of
from .group import Group

LIMIT = 20.0
GRACE = 5.0
"""Seconds after its deadline by which a call must have ended."""

LATE = 2
"""How many commands a call may still try after it was told to stop: it may be asking several hosts in turn."""


def ends_in_time(kit: Kit, seconds: float) -> None:
    """Expect of every call that it ends near its deadline when each command takes that long, on a clock that only commands move."""
    for call in kit.calls():
        trial, clock = kit.ready(call), Clock()
        deadline = Deadline.after(LIMIT, clock)
        trial.outcome(call, trial.context(Slow(kit.scratch.runner, clock, seconds), deadline))
        over = clock.now - deadline.at
        expect(over <= GRACE, f"{call} ended {over:.0f} s after its deadline")
        trial.end()


class Deadlines(Group):
    """A call has ended by ``context.deadline``. The checks' clock is moved by commands only, so they take no time."""

    title = "deadlines"

    def test_calls_end_in_time_when_hosts_hang(self, kit: Kit) -> None:
        """No command ever ends by itself: the timeouts that are given to the host runner are what is left of the time."""
        ends_in_time(kit, float("inf"))

    def test_calls_end_in_time_when_hosts_are_slow(self, kit: Kit) -> None:
        """Each command takes three quarters of the time."""
        ends_in_time(kit, LIMIT * 0.75)

    def test_a_call_without_time_left_fails(self, kit: Kit) -> None:
        """When hosts hang, no call that needs a command reports success."""
        for call in kit.calls():
            trial, clock = kit.ready(call), Clock()
            tap = Tap(Slow(kit.scratch.runner, clock, float("inf")))
            outcome = trial.outcome(call, trial.context(tap, Deadline.after(LIMIT, clock)))
            expect(not tap.commands or outcome.errors, f"{call} reports success, though none of its commands ended")
            trial.end()


class Cancellation(Group):
    """``context.cancel`` is set while a command runs, each command in turn; that one is ended, and later ones are refused."""

    title = "cancellation"

    def test_a_cancelled_call_stops(self, kit: Kit) -> None:
        """It tries hardly any further command."""
        for call in kit.calls():
            for at, runner, _ in cancelled(kit, call):
                expect(runner.late <= LATE, f"{call} was cancelled at command {at} and tried {runner.late} more")

    def test_a_cancelled_call_says_so(self, kit: Kit) -> None:
        """It raises ``Cancelled``, or returns that for the hosts that it did not come to."""
        for call in kit.calls():
            for at, _, errors in cancelled(kit, call):
                right = errors and all(isinstance(error, Cancelled) for error in errors)
                what = "; ".join(f"{type(error).__name__}: {error}" for error in errors[:1]) or "success"
                expect(right, f"{call} was cancelled at command {at} and ended with {what}")

    def test_a_cancelled_call_can_be_repeated(self, kit: Kit) -> None:
        """With a token that is not set."""
        for call in kit.calls():
            trial, cancel = kit.ready(call), CancelToken()
            trial.outcome(call, trial.context(Cancelling(kit.scratch.runner, at=1, cancel=cancel), cancel=cancel))
            trial.must(call)
            trial.end()


def cancelled(kit: Kit, call: str) -> list[tuple[int, Cancelling, list[Exception]]]:
    """A call cancelled at each of its commands: the runner, and the errors that it ended with."""
    return kit.once(("cancelled", call), lambda: _cancelled(kit, call))


def _cancelled(kit: Kit, call: str) -> list[tuple[int, Cancelling, list[Exception]]]:
    found = []
    for at in range(1, commands_of(kit, call) + 1):
        kit.renew()
        trial, cancel = kit.ready(call), CancelToken()
        runner = Cancelling(kit.scratch.runner, at=at, cancel=cancel)
        outcome = trial.outcome(call, trial.context(runner, cancel=cancel))
        if runner.commands >= at:
            found.append((at, runner, outcome.errors))
        with given("taking the volume away"):
            trial.end()
    return found
