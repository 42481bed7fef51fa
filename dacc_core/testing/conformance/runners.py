"""Host runners around a real one: what passes through is noted, or goes wrong at a chosen command.

A *command* here is one argument list on one host; what a provider runs on four hosts at once are four commands.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ...errors import Cancelled, HostUnreachable, Unavailable
from ...sdk import CancelToken, Command, CommandResult, HostRunner


class Crash(BaseException):
    """The daemon that ran the provider is gone. No exception handler of a provider is to see this."""


@dataclass
class Tap:
    """Passes every command on, after asking :meth:`answer` whether it is to be answered without being run."""

    inner: HostRunner
    touched: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def python(self) -> str:
        """The Python interpreter on the hosts."""
        return self.inner.python

    @property
    def commands(self) -> int:
        """How many commands there were."""
        return len(self.touched)

    def answer(self, host: str, number: int) -> CommandResult | None:
        """The result of the command with that number (from 1), or ``None`` to have it run. May raise."""
        return None

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Run what is not answered here; see :class:`~dacc_core.sdk.HostRunner`."""
        names = list(dict.fromkeys(hosts))
        answers: dict[str, CommandResult] = {}
        left: list[str] = []
        try:
            for host in names:
                answer = self.answer(host, self._count(host))
                answers.update({host: answer} if answer else {})
                left += [] if answer else [host]
        finally:  # what came before a crash has happened
            results = self.inner.run(left, command) if left else {}
        return {host: answers.get(host) or results[host] for host in names}

    def _count(self, host: str) -> int:
        with self._lock:
            self.touched.append(host)
            return len(self.touched)


@dataclass
class Crashing(Tap):
    """The daemon is gone before command ``at``, and stays so."""

    at: int = 1

    def answer(self, host: str, number: int) -> CommandResult | None:
        """Crash, or let it run."""
        if number >= self.at:
            raise Crash
        return None


@dataclass
class Failing(Tap):
    """Command ``at`` does nothing and ends with exit status 1."""

    at: int = 1

    def answer(self, host: str, number: int) -> CommandResult | None:
        """Fail, or let it run."""
        return CommandResult(host, 1, stderr=b"the conformance kit made this command fail\n") if number == self.at else None


@dataclass
class Unreachable(Tap):
    """No command reaches the hosts ``down``."""

    down: tuple[str, ...] = ()

    def answer(self, host: str, number: int) -> CommandResult | None:
        """Refuse, or let it run."""
        if host not in self.down:
            return None
        return CommandResult(host, -1, error=HostUnreachable(host=host, why="the conformance kit has cut it off"))


@dataclass
class Cancelling(Tap):
    """The step is told to stop while command ``at`` runs; that one and all later ones are ended or refused, as by a fenced runner."""

    at: int = 1
    cancel: CancelToken = field(default_factory=CancelToken)

    def answer(self, host: str, number: int) -> CommandResult | None:
        """Cancel, or let it run."""
        if number < self.at:
            return None
        self.cancel.cancel()
        return CommandResult(host, -1, error=Cancelled(what=f"a command on {host}"))

    @property
    def late(self) -> int:
        """How many commands were tried after the one that was running when the step was told to stop."""
        return max(0, self.commands - self.at)


@dataclass
class Clock:
    """A clock (seconds) that goes on only when commands take their time."""

    now: float = 1000.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


@dataclass
class Slow:
    """Every command takes ``seconds`` on ``clock``; one that has less time than that is ended when its time is over, without effect."""

    inner: HostRunner
    clock: Clock
    seconds: float

    @property
    def python(self) -> str:
        """The Python interpreter on the hosts."""
        return self.inner.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Run it if there is time; see :class:`~dacc_core.sdk.HostRunner`."""
        self.clock.now += min(self.seconds, max(0.0, command.timeout))
        if self.seconds <= command.timeout:
            return self.inner.run(hosts, replace(command, timeout=60.0))
        late = Unavailable(why=f"a command did not end within {command.timeout:.0f} s")
        return {host: CommandResult(host, -1, error=late) for host in hosts}


@dataclass
class Meeting:
    """The first command of each of two callers waits until the other caller has come as far."""

    inner: HostRunner
    barrier: threading.Barrier
    _met: bool = False

    @property
    def python(self) -> str:
        """The Python interpreter on the hosts."""
        return self.inner.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Wait if it is the first, then run it; see :class:`~dacc_core.sdk.HostRunner`."""
        if not self._met:
            self._met = True
            with suppress(threading.BrokenBarrierError):  # the other caller ran no command, or needs a lock that this one holds
                self.barrier.wait(5.0)
        return self.inner.run(hosts, command)
