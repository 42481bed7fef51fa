"""What the parts of the engine share: the time, the view of the store, effects and the events that answer them, timers, transactions.

A part asks for an effect and names the function that takes its answer. Whoever does not wait any longer forgets the effect's ``ref``: a
late answer is ignored then. The engine feeds events in and takes effects out; parts do not know the engine.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from ..errors import DaccError, TooLarge
from ..keystore.base import Batch, Snapshot, TxnResult
from ..registry.transaction import Commit
from ..registry.view import View
from . import effects as fx
from .rules import Rules

log = logging.getLogger("dacc.core")
RESYNC_SECONDS = 0.2
Callback: TypeAlias = Callable[[Any], None]
Answer: TypeAlias = fx.Transacted | fx.Granted | fx.Renewed | fx.UserResolved | fx.StepEnded | fx.Fenced


class Timer:
    """Something to do at a time, unless cancelled first."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then: Callable[[], None] | None = then

    def cancel(self) -> None:
        """Do nothing when the time comes."""
        self.then = None


class Reactor:
    """Everything that parts have in common. Nothing here blocks, and nothing calls a part while that part calls it."""

    def __init__(self, rules: Rules, on_bug: Callable[[Exception], None] | None = None) -> None:
        self.rules, self.on_bug = rules, on_bug or _log_bug
        self.view = View()
        self.now = fx.Now(0.0, 0.0)
        self.heard = float("-inf")
        self.loaded = self.stopping = False
        self._effects: list[fx.Effect] = []
        self._refs = itertools.count(1)
        self._callbacks: dict[int, Callback] = {}
        self._progress: dict[int, Callback] = {}
        self._behind: list[tuple[int, int]] = []  # (revision, ref): answers that the view has not reached yet
        self._resync: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Timer]] = []

    # --- for the parts ---

    @property
    def age(self) -> float:
        """Seconds since the store was last heard from."""
        return self.now.mono - self.heard

    def emit(self, effect: fx.Effect) -> None:
        """Do this; nobody here waits for its outcome."""
        self._effects.append(effect)

    def ask(self, make: Callable[[int], fx.Asked], then: Callback) -> int:
        """Do what ``make(ref)`` says and call ``then`` with the event that answers it; the effect's ref."""
        ref = next(self._refs)
        self._callbacks[ref] = then
        self.emit(make(ref))
        return ref

    def forget(self, ref: int) -> None:
        """Nobody waits for this outcome any more."""
        self._callbacks.pop(ref, None)
        self._progress.pop(ref, None)

    def on_progress(self, ref: int, then: Callback) -> None:
        """Call ``then`` whenever the step ``ref`` reports progress."""
        self._progress[ref] = then

    def at(self, mono: float, then: Callable[[], None]) -> Timer:
        """Call ``then`` at that time."""
        timer = Timer(then)
        heapq.heappush(self._timers, (mono, next(self._refs), timer))
        return timer

    def after(self, seconds: float, then: Callable[[], None]) -> Timer:
        """Call ``then`` in so many seconds."""
        return self.at(self.now.mono + seconds, then)

    def transact(self, commit: Commit, then: Callable[[TxnResult], None], refused: Callable[[TooLarge], None] | None = None) -> int:
        """Run a transaction; ``then`` gets its result when the view has reached it. The ref of its effect.

        When the store gave no answer, nobody knows whether it was done: then the view is brought up to date first and the result is
        "not ok", so that the caller looks at what is and decides anew. One that is too large for the store will always be: ``refused``
        gets the error.
        """
        answered: Callback = lambda event: self._transacted(event, then, refused)  # noqa: E731
        return self.ask(lambda ref: fx.Transact(ref, commit.compares, commit.ops), answered)

    def _transacted(self, event: fx.Transacted, then: Callable[[TxnResult], None], refused: Callable[[TooLarge], None] | None) -> None:
        result = event.result
        if isinstance(result, TooLarge) and refused is not None:
            refused(result)
        elif isinstance(result, DaccError):
            log.warning("transaction without an answer", extra={"why": str(result)})
            self._callbacks[event.ref] = lambda _: then(TxnResult(ok=False, revision=self.view.revision))
            self.after_news(lambda: self.answer(event))
        elif result.revision <= self.view.revision:
            then(result)
        else:
            self._callbacks[event.ref] = lambda _: then(result)
            heapq.heappush(self._behind, (result.revision, event.ref))

    def after_news(self, then: Callable[[], None]) -> None:
        """Call ``then`` when the watch was heard from once more, a moment from now."""
        self.after(RESYNC_SECONDS, lambda: self._resync.append(then))

    def guarded(self, work: Callable[..., None], *args: Any) -> Exception | None:
        """Do this; a defect in it costs what it was about, never the daemon, which would meet the same record again after a restart.

        The defect, for who can mend what it left half done.
        """
        try:
            work(*args)
        except Exception as bug:
            self.on_bug(bug)
            return bug
        return None

    # --- for the engine ---

    def answer(self, event: Answer) -> None:
        """Give an effect's outcome to whoever waits for it."""
        self._callbacks.pop(event.ref, _ignore)(event)

    def progressed(self, event: fx.Progressed) -> None:
        """Give a step's progress to whoever waits for it."""
        self._progress.get(event.ref, _ignore)(event.progress)

    def load(self, snapshot: Snapshot) -> None:
        """The whole store, as it is now."""
        self.view.load(snapshot)
        self.loaded = True
        self._catch_up()

    def apply(self, batch: Batch) -> set[tuple[str, str]]:
        """What the watch brought; the (kind, name) of everything it changed."""
        changed = self.view.apply(batch)
        self._catch_up()
        return changed

    def _catch_up(self) -> None:
        self.heard = self.now.mono
        resync, self._resync = self._resync, []
        for resume in resync:
            self.guarded(resume)
        while self._behind and self._behind[0][0] <= self.view.revision:
            _, ref = heapq.heappop(self._behind)
            self.guarded(self._callbacks.pop(ref, _ignore), None)

    def run_timers(self) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= self.now.mono:
            then = heapq.heappop(self._timers)[2].then
            if then is not None:
                self.guarded(then)

    @property
    def next_wake(self) -> float:
        """When (monotonic) the next timer is due."""
        while self._timers and self._timers[0][2].then is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else float("inf")

    def drain(self) -> list[fx.Effect]:
        """The effects since this was last called."""
        effects, self._effects = self._effects, []
        return effects


def _log_bug(bug: Exception) -> None:
    log.error("a defect of dacd", exc_info=bug)


def _ignore(_: Any) -> None:
    """An answer that nobody waits for any more."""
