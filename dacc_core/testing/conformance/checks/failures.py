"""Crashes, commands that fail, two callers at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ..kit import CallOutcome, Kit, Trial, is_error_of_sdk
from ..outcomes import expect
from ..runners import Crash, Crashing, Failing, Meeting
from .group import CheckGroup
from .plain import commands_of


def crashes(kit: Kit, call: str) -> Iterator[tuple[int, Trial]]:
    """A volume for each place between two commands of a call: the daemon crashed there, and another one has started."""
    for at in range(2, commands_of(kit, call) + 1):
        trial = kit.ready(call)
        with contextlib.suppress(Crash):
            trial.outcome(call, trial.context(Crashing(kit.scratch.runner, at=at)))
        trial.restart()
        yield at - 1, trial
        trial.end()


def failures(kit: Kit, call: str) -> Iterator[tuple[int, Trial, CallOutcome]]:
    """A volume for each command of a call: that command failed, and so the call ended."""
    for at in range(1, commands_of(kit, call) + 1):
        kit.renew()
        trial = kit.ready(call)
        yield at, trial, trial.outcome(call, trial.context(Failing(kit.scratch.runner, at=at)))
        trial.end()


@dataclass(frozen=True)
class Trouble:
    """What came of a call one of whose commands failed."""

    at: int
    """Which command."""

    outcome: CallOutcome
    wrong: str
    """What is not as it must be, where the call reports success."""

    again: CallOutcome
    """How it ended when the same provider repeated it, if it had failed."""


def troubles(kit: Kit, call: str) -> list[Trouble]:
    """What comes of a call when one of its commands fails, for each of them."""
    return kit.once(("troubles", call), lambda: _troubles(kit, call))


def _troubles(kit: Kit, call: str) -> list[Trouble]:
    if call == "delete":
        kit.remember()  # what is there afterwards tells whether one did its work
    return [_trouble(call, *failure) for failure in failures(kit, call)]


def _trouble(call: str, at: int, trial: Trial, outcome: CallOutcome) -> Trouble:
    if outcome.ok:
        return Trouble(at, outcome, trial.wrong_after(call), outcome)
    return Trouble(at, outcome, "", trial.outcome(call))


def resumed(kit: Kit, call: str) -> None:
    """Expect that a call that crashed anywhere can be made again and then has done its work."""
    for done, trial in crashes(kit, call):
        again = trial.outcome(call)
        expect(again.ok, f"{call} crashed after {done} commands, and then failed again: {again.why()}")
        wrong = trial.wrong_after(call)
        expect(not wrong, f"{call} crashed after {done} commands and was repeated, and then {wrong}")


class CrashChecks(CheckGroup):
    """The daemon is gone between any two commands of a call; another one, which knows what is stored, makes the call again."""

    title = "crashes"

    def test_a_crashed_create_can_be_repeated(self, kit: Kit) -> None:
        """And the volume can then be mounted."""
        resumed(kit, "create")

    def test_a_crashed_create_can_be_deleted(self, kit: Kit) -> None:
        """Without a state, and nothing is left."""
        kit.remember()
        for done, trial in crashes(kit, "create"):
            outcome = trial.outcome("delete", state={})
            expect(outcome.ok, f"create crashed after {done} commands, and then delete failed: {outcome.why()}")
            kit.expect_nothing_left()

    def test_a_crashed_delete_can_be_repeated(self, kit: Kit) -> None:
        """And nothing is left."""
        kit.remember()
        for done, trial in crashes(kit, "delete"):
            outcome = trial.outcome("delete")
            expect(outcome.ok, f"delete crashed after {done} commands, and then failed again: {outcome.why()}")
            kit.expect_nothing_left()

    def test_a_crashed_mount_can_be_repeated(self, kit: Kit) -> None:
        """And the volume is then there on each host."""
        resumed(kit, "mount")

    def test_a_crashed_mount_can_be_unmounted(self, kit: Kit) -> None:
        """And nothing is left at the path."""
        for done, trial in crashes(kit, "mount"):
            outcome = trial.outcome("unmount")
            expect(outcome.ok, f"mount crashed after {done} commands, and then unmount failed: {outcome.why()}")
            expect(not trial.still_there(), f"mount crashed after {done} commands, and unmount left something")

    def test_a_crashed_unmount_can_be_repeated(self, kit: Kit) -> None:
        """And nothing is left at the path."""
        resumed(kit, "unmount")

    def test_other_calls_that_crashed_can_be_repeated(self, kit: Kit) -> None:
        """``usage``, ``restore``, ``swap_on`` and ``swap_off``, where they are declared."""
        for call in ("usage", "restore", "swap_on", "swap_off"):
            if call in kit.calls():
                resumed(kit, call)


class FailureChecks(CheckGroup):
    """One command of a call ends with exit status 1, each command in turn."""

    title = "failing commands"

    def test_a_failed_command_is_not_taken_for_success(self, kit: Kit) -> None:
        """A call that reports success all the same has done its work."""
        for call in ("create", "mount", "unmount"):
            for trouble in troubles(kit, call):
                expect(not trouble.wrong, f"{call} reports success, though its command {trouble.at} failed and {trouble.wrong}")

    def test_a_failed_delete_is_not_taken_for_success(self, kit: Kit) -> None:
        """A delete that reports success leaves nothing, or the next session meets it."""
        for trouble in troubles(kit, "delete"):
            expect(not trouble.wrong, f"delete reports success, though its command {trouble.at} failed and {trouble.wrong}")

    def test_errors_are_of_the_sdks_classes(self, kit: Kit) -> None:
        """Whatever goes wrong, what is raised or returned for a host is an error that ``dacc_core.sdk`` offers."""
        for call in kit.calls():
            for trouble in troubles(kit, call):
                wrong = [error for error in trouble.outcome.errors if not is_error_of_sdk(error)]
                expect(not wrong, f"{call} ended with {trouble.outcome.why()} when its command {trouble.at} failed")

    def test_errors_are_one_line(self, kit: Kit) -> None:
        """Users and operators read them: one line, not empty."""
        for call in kit.calls():
            for trouble in troubles(kit, call):
                texts = [str(error) for error in trouble.outcome.errors]
                right = all(text.strip() and "\n" not in text for text in texts)
                expect(right, f"{call} said {texts!r} when its command {trouble.at} failed")

    def test_a_failed_create_can_be_deleted(self, kit: Kit) -> None:
        """Without a state, and nothing is left."""
        kit.remember()
        for at, trial, _ in failures(kit, "create"):
            outcome = trial.outcome("delete", state={})
            expect(outcome.ok, f"command {at} of create failed, and then delete did: {outcome.why()}")
            kit.expect_nothing_left()

    def test_a_call_that_failed_can_be_repeated(self, kit: Kit) -> None:
        """By the same provider, once the command works."""
        for call in kit.calls():
            for trouble in troubles(kit, call):
                expect(trouble.again.ok, f"command {trouble.at} of {call} failed, and when it was repeated {trouble.again.why()}")


def together(*calls: Callable[[], CallOutcome]) -> list[CallOutcome]:
    """Calls in threads of their own, and how they ended."""
    found: list[CallOutcome] = [CallOutcome(error=TimeoutError("it did not end"))] * len(calls)

    def make(number: int, call: Callable[[], CallOutcome]) -> None:
        found[number] = call()

    threads = [threading.Thread(target=make, args=one, daemon=True) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300.0)
    return found


class ConcurrencyChecks(CheckGroup):
    """One provider object serves all sessions of a daemon, from many threads."""

    title = "two callers at once"

    def test_two_volumes_can_be_created_at_once(self, kit: Kit) -> None:
        """Each is then there, with its own data."""
        kit.need_bricks(2)
        first, *rest = kit.scratch.bricks
        trials, barrier = [kit.trial([first]), kit.trial(rest)], threading.Barrier(2)
        contexts = [trial.context(Meeting(kit.scratch.runner, barrier)) for trial in trials]
        outcomes = together(*(partial(trial.outcome, "create", one) for trial, one in zip(trials, contexts, strict=True)))
        for trial, outcome in zip(trials, outcomes, strict=True):
            expect(outcome.ok, f"one of two creates at once failed: {outcome.why()}")
            wrong = trial.wrong_after("create")
            expect(not wrong, f"two volumes were created at once, and of one {wrong}")

    def test_two_hosts_can_be_mounted_at_once(self, kit: Kit) -> None:
        """By two calls about one volume; the same for unmount."""
        kit.need_hosts(2)
        trial = kit.ready("mount")
        pair = trial.hosts[:2]
        for call in ("mount", "unmount"):
            barrier = threading.Barrier(2)
            contexts = {host: trial.context(Meeting(kit.scratch.runner, barrier)) for host in pair}
            for outcome in together(*(partial(trial.outcome, call, contexts[host], hosts=(host,)) for host in pair)):
                expect(outcome.ok, f"one of two {call}s at once failed: {outcome.why()}")
            wrong = trial.not_there(hosts=pair) if call == "mount" else trial.still_there(hosts=pair)
            expect(not wrong, f"two {call}s at once succeeded, and not on {', '.join(wrong)}")
