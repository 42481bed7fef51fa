"""Who may watch what a daemon does, without having a part in it: nobody, or the metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ...errors import DaccError
from ...keystore.base import PutKey
from ...lifecycle import effects as fx
from ...lifecycle.transitions import StepOutcome
from ...registry import keys
from ...registry.records import Session, Status
from ...registry.view import View

log = logging.getLogger("dacc.metrics")
Former = Literal["another host", "this host"]
Known = tuple[Session | None, Status]
"""A session, if there is one, and what is known of it."""


class Observer:
    """Told of what happened, from any thread (by :func:`tell`), and quick about it. This one does nothing."""

    watching = False
    """Whether anybody wants to know: what costs something to find out is not found out for nobody."""

    @property
    def following(self) -> bool:
        """Whether anybody wants to know of each session's changes."""
        return False

    def step(self, order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> None:
        """A step has ended."""

    def changed(self, before: Known, after: Known) -> None:
        """What is known of a session was the one and is the other."""

    def dropped(self, hook: str) -> None:
        """An event for a hook of provider packages was dropped."""

    def fenced(self, hosts: int, failures: Mapping[str, DaccError]) -> None:
        """So many hosts were to be fenced, and these could not be."""

    def took_over(self, former: Sequence[Former]) -> None:
        """Sessions were taken over, each from somebody."""

    def stored(self, operation: str, seconds: float, error: DaccError | None) -> None:
        """The keystore answered, or failed to."""

    def called(self, program: str, function: str, rc: int, seconds: float) -> None:
        """A call was answered."""


class Both(Observer):
    """Two observers as one."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._all = (first, second)
        self.watching = first.watching or second.watching

    @property
    def following(self) -> bool:
        """Whether one of them does."""
        return any(one.following for one in self._all)

    def step(self, order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> None:
        """Told to both."""
        self._tell("step", order, outcome, seconds)

    def changed(self, before: Known, after: Known) -> None:
        """Told to both."""
        self._tell("changed", before, after)

    def fenced(self, hosts: int, failures: Mapping[str, DaccError]) -> None:
        """Told to both."""
        self._tell("fenced", hosts, failures)

    def took_over(self, former: Sequence[Former]) -> None:
        """Told to both."""
        self._tell("took_over", former)

    def stored(self, operation: str, seconds: float, error: DaccError | None) -> None:
        """Told to both."""
        self._tell("stored", operation, seconds, error)

    def called(self, program: str, function: str, rc: int, seconds: float) -> None:
        """Told to both."""
        self._tell("called", program, function, rc, seconds)

    def dropped(self, hook: str) -> None:
        """Told to both."""
        self._tell("dropped", hook)

    def _tell(self, what: str, *args: Any) -> None:
        for one in self._all:
            tell(getattr(one, what), *args)


def tell(observer: Callable[..., None], *args: Any) -> None:
    """Tell an observer; a defect in it costs what it would have noted, never what was done."""
    try:
        observer(*args)
    except Exception:
        log.exception("an observer failed")


def takeovers(view: View, host: str, effect: fx.Transact) -> list[Former]:
    """From whom this transaction takes sessions over for ``host``, as long as the view is what it was made from."""
    found: list[Former] = []
    for op in effect.ops:
        kind, token = keys.split(op.key)
        if kind != "status" or not isinstance(op, PutKey):
            continue
        new, old = keys.decode(op.key, op.value), view.status(token)
        assert isinstance(new, Status)
        if new.coordinator == host and old.coordinator and (old.coordinator, old.incarnation) != (host, new.incarnation):
            found.append("this host" if old.coordinator == host else "another host")
    return found
