"""What every request to a provider carries: deadline, cancellation, hosts, progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import Cancelled, DaccError, Unavailable
from ..values import Progress
from .hosts import Argv, Command, HostRunner, PerHost


class CancelToken:
    """Set once when a step must stop; a step looks at it between its effects."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Tell the step to stop; what was registered with :meth:`on_cancel` is called, each once."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when cancelled, at once if that has happened. It must not block."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def forget(self, callback: Callable[[], None]) -> None:
        """Take back an :meth:`on_cancel`."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    @property
    def cancelled(self) -> bool:
        """Whether the step was told to stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until cancelled; whether it was."""
        return self._event.wait(seconds)

    def check(self, what: str = "the step") -> None:
        """Raise :class:`~dacc_core.errors.Cancelled` if told to stop."""
        if self.cancelled:
            raise Cancelled(what=what)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock (seconds) after which a call must have ended."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """The deadline ``seconds`` from now."""
        return cls(clock() + seconds, clock)

    def remaining(self, at_most: float = float("inf")) -> float:
        """Seconds left, never below 0, never above ``at_most``."""
        return max(0.0, min(self.at - self.clock(), at_most))

    def check(self, what: str) -> None:
        """Raise :class:`~dacc_core.errors.Unavailable` if it has passed."""
        if self.clock() >= self.at:
            raise Unavailable(why=f"{what} did not end before its deadline")


@dataclass(frozen=True, slots=True)
class Context:
    """Carried by every request: the hosts, how long there is, and whether to stop."""

    hosts: HostRunner
    """Runs commands, fenced: a daemon that takes the session over ends them first."""

    deadline: Deadline
    """When the call must have ended."""

    cancel: CancelToken = field(default_factory=CancelToken)
    """Set when the call must stop."""

    generation: int = 1
    """Rises whenever another daemon takes the session over."""

    token: str = ""
    """The session, as Slurm names it."""

    log: logging.Logger = field(default_factory=lambda: logging.getLogger("dacc.provider"))
    """For what operators may want to know; errors are raised, not logged."""

    progress: Callable[[Progress], None] = lambda _: None
    """To be told how far a copy is."""

    def run(self, hosts: Sequence[str], *commands: Argv, timeout: float = 60.0) -> PerHost:
        """Run commands one after the other, each on all hosts at once. A host on which one fails gets no further ones.

        ``timeout``: seconds for each command, less when the deadline comes first. Before each command raises
        :class:`~dacc_core.errors.Cancelled`, or :class:`~dacc_core.errors.Unavailable` when the deadline has passed. To give standard
        input or to get the output use ``hosts.run`` with a :class:`~dacc_core.sdk.hosts.Command`.
        """
        outcome: dict[str, DaccError | None] = dict.fromkeys(hosts)
        for argv in commands:
            self.cancel.check()
            self.deadline.check("the step")
            well = [host for host, error in outcome.items() if error is None]
            results = self.hosts.run(well, Command(argv, timeout=self.deadline.remaining(timeout))) if well else {}
            outcome.update(PerHost.of(results).hosts)
        return PerHost(hosts=outcome)
