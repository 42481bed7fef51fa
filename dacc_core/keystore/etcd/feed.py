"""What has come in from etcd for a watch and was not taken yet, shared by the threads that fill it and the one that takes from it."""

from __future__ import annotations

import threading
import time

from dacc_core.errors import Compacted

from ..base import Batch, Change
from .failures import Failure

ALIVE_SECONDS = 2.5
"""For so long after a proof of life was asked for, the store counts as alive."""

MOST_WAITING = 50_000
"""Changes beyond these stay in the network until some were taken."""


class Feed:
    """Changes in order, and how far they reach. Everything is read and written while :attr:`changed` is held."""

    def __init__(self, after_revision: int) -> None:
        self.changed = threading.Condition()  # reentrant: the garbage collector may close us anywhere
        self.closed = False
        self.seen = after_revision
        self.wanted = after_revision
        self.failures: dict[str, Failure] = {}
        self._changes: list[Change] = []
        self._taken = after_revision
        self._proven = float("-inf")
        self._gone: Compacted | None = None

    def close(self) -> None:
        """Nobody takes from it any more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    # --- in ---

    def add(self, changes: tuple[Change, ...]) -> None:
        """Whole revisions that follow what is there. One that should have come before proves that something was missed."""
        if changes[0].revision <= self.seen:
            self.lose(Compacted.from_text(f"the watch came to revision {self.seen} without {changes[0].revision}: read everything anew"))
            return
        self._changes += changes
        self.seen = changes[-1].revision
        self.changed.notify_all()

    def reach(self, revision: int) -> None:
        """Nothing happened up to here beyond what was added."""
        self.seen = max(self.seen, revision)
        self.changed.notify_all()

    def prove(self, asked: float, revision: int) -> None:
        """The store answered what it was asked at this time, and was at this revision."""
        self._proven = asked
        self.wanted = max(self.wanted, revision)
        self.failures.clear()
        self.changed.notify_all()

    def lose(self, why: Compacted) -> None:
        """The changes that come next cannot be had."""
        self._gone = self._gone or why
        self.changed.notify_all()

    # --- out ---

    @property
    def ended(self) -> bool:
        """Whether nothing more need be added."""
        return self.closed or self._gone is not None

    @property
    def full(self) -> bool:
        """Whether to wait before adding more."""
        return len(self._changes) > MOST_WAITING and not self.ended

    @property
    def alive(self) -> bool:
        """Whether the store was heard from lately."""
        return time.monotonic() - self._proven < ALIVE_SECONDS

    def take(self, *, empty: bool) -> Batch | None:
        """All that is there; if it is nothing, an empty batch where that is wanted and the store alive. Raises Compacted."""
        if self._changes or self.seen > self._taken:
            changes, self._changes = self._changes, []
            self._taken = self.seen
            self.changed.notify_all()
            return Batch(tuple(changes), self.seen)
        if self._gone is not None:
            raise self._gone.with_traceback(None)
        return Batch((), self.seen) if empty and self.alive else None
