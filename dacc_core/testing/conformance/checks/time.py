"""Deadlines and cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ....sdk import Cancelled, CancelToken, Deadline
from ..kit import CallOutcome, Kit
from ..outcomes import expect, given
from ..runners import Cancelling, Clock, Slow, Tap
from .group import CheckGroup

LIMIT = 20.0
GRACE = 5.0
"""Seconds after its deadline by which a call must have ended."""

LATE = 2
"""How many commands a call may still try after it was told to stop: it may be asking several hosts in turn."""


@dataclass(frozen=True)
class TimedCall:
    """How a call ended whose commands take their time."""

    over: float
    """Seconds after its deadline, below 0 when before."""

    commands: int
    outcome: CallOutcome


def waits(kit: Kit, seconds: float) -> dict[str, TimedCall]:
    """How every call ends when each command takes that long, on a clock that only commands move."""
    return kit.once(("waits", str(seconds)), lambda: {call: _wait(kit, call, seconds) for call in kit.calls()})


def _wait(kit: Kit, call: str, seconds: float) -> TimedCall:
    kit.renew()
    trial, clock = kit.ready(call, kit.scratch.bricks[:1]), Clock()
    deadline, tap = Deadline.after(LIMIT, clock), Tap(Slow(kit.scratch.runner, clock, seconds))
    outcome = trial.outcome(call, trial.context(tap, deadline))
    trial.end()
    return TimedCall(clock.now - deadline.at, tap.commands, outcome)


def ends_in_time(kit: Kit, seconds: float) -> None:
    """Expect of every call that it ends near its deadline."""
    for call, wait in waits(kit, seconds).items():
        expect(wait.over <= GRACE, f"{call} ended {wait.over:.0f} s after its deadline")


class DeadlineChecks(CheckGroup):
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
        for call, wait in waits(kit, float("inf")).items():
            expect(not wait.commands or wait.outcome.errors, f"{call} reports success, though none of its commands ended")


class CancellationChecks(CheckGroup):
    """``context.cancel`` is set while a command runs, each command in turn; that one is ended, and later ones are refused."""

    title = "cancellation"

    def test_a_cancelled_call_stops(self, kit: Kit) -> None:
        """It tries hardly any further command."""
        for call in kit.calls():
            for stop in stops(kit, call):
                expect(stop.late <= LATE, f"{call} was cancelled at command {stop.at} and tried {stop.late} more")

    def test_a_cancelled_call_says_so(self, kit: Kit) -> None:
        """It raises ``Cancelled``, or returns that for the hosts that it did not come to."""
        for call in kit.calls():
            for stop in stops(kit, call):
                errors = stop.outcome.errors
                right = errors and all(isinstance(error, Cancelled) for error in errors)
                what = "; ".join(f"{type(error).__name__}: {error}" for error in errors[:1]) or "success"
                expect(right, f"{call} was cancelled at command {stop.at} and ended with {what}")

    def test_a_cancelled_call_can_be_repeated(self, kit: Kit) -> None:
        """With a token that is not set."""
        for call in kit.calls():
            for stop in stops(kit, call):
                expect(stop.again.ok, f"{call} was cancelled at command {stop.at}, and when it was repeated {stop.again.why()}")


@dataclass(frozen=True)
class Stop:
    """What came of a call that was cancelled."""

    at: int
    """The command that was running."""

    late: int
    """How many commands it tried after that."""

    outcome: CallOutcome
    again: CallOutcome
    """How it ended when it was repeated."""


def stops(kit: Kit, call: str) -> list[Stop]:
    """What comes of a call that is cancelled, for each of its commands."""
    return kit.once(("stops", call), lambda: list(_stops(kit, call)))


def _stops(kit: Kit, call: str) -> Iterator[Stop]:
    at = last = 1
    while at <= last:
        kit.renew()
        # One brick will do: what a call does about the time, it does about one host as about many.
        trial, cancel = kit.ready(call, kit.scratch.bricks[:1]), CancelToken()
        runner = Cancelling(kit.scratch.runner, at=at, cancel=cancel)
        outcome = trial.outcome(call, trial.context(runner, cancel=cancel))
        if runner.commands >= at:
            tap = Tap(kit.scratch.runner)
            yield Stop(at, runner.late, outcome, trial.outcome(call, trial.context(tap)))
            last = max(last, tap.commands)  # the first time that is all of them: the call that was cancelled had not begun
        gone = trial.end()
        with given("taking the volume away"):
            expect(gone.ok, gone.why())
        at += 1
