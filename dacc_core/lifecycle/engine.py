"""The daemon's core: events in, effects out. It has no thread, lock, sleep or clock of its own.

:class:`Engine` owns the view and routes events to three parts: :mod:`.membership` (this host and its lease), :mod:`.callers`
(verbs that wait for outcomes) and :mod:`.pursuits` (sessions that this host coordinates).
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import DaccError, TooLarge
from ..keystore.base import TxnResult
from ..registry.transaction import Commit
from ..registry.view import View
from ..values import Brick
from . import effects as fx
from .membership import Membership
from .pending_calls import PendingCalls
from .reconcilers import Reconcilers

log = logging.getLogger("dacc.core")
Callback = Callable[[Any], None]


class Timer:
    """Something to do at a time, unless cancelled first."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then: Callable[[], None] | None = then

    def cancel(self) -> None:
        """Do nothing when the time comes."""
        self.then = None


class Engine:
    """One daemon's decisions. Call :meth:`handle` for each event, in one thread, and run what it returns."""

    def __init__(
        self,
        host: str,
        incarnation: str,
        *,
        bricks: tuple[Brick, ...] = (),
        pools: dict[str, tuple[int, str]] | None = None,
        rules: fx.Rules | None = None,
        cluster: str = "",
        boot: str = "",
        lock: str = "",
        who: str = "",
        providers: dict[str, str] | None = None,
        on_bug: Callable[[Exception], None] | None = None,
    ) -> None:
        self.host, self.incarnation = host, incarnation
        self.boot, self.lock, self.who = boot, lock, who
        self.rules = rules or fx.Rules()
        self.view = View()
        self.now = fx.Now(0.0, 0.0)
        self.heard = float("-inf")
        self.loaded = self.stopping = False
        self._on_bug = on_bug or _log_bug
        self._effects: list[fx.Effect] = []
        self._refs = itertools.count(1)
        self._callbacks: dict[int, Callback] = {}
        self._progress: dict[int, Callback] = {}
        self._until: list[tuple[int, int, Callable[[], None]]] = []
        self._resync: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Timer]] = []
        self.membership = Membership(self, bricks, pools or {}, cluster, providers or {})
        self.callers = PendingCalls(self)
        self.pursuits = Reconcilers(self)

    # --- in ---

    def start(self, now: fx.Now) -> list[fx.Effect]:
        """The first effects: read the store."""
        self.now = now
        self._emit(fx.Load())
        return self._drain()

    def handle(self, event: fx.Event, now: fx.Now) -> list[fx.Effect]:
        """Take one event in; what is to be done because of it."""
        self.now = now
        self.guarded(self._dispatch, event)
        self._run_timers()
        return self._drain()

    def guarded(self, work: Callable[..., None], *args: Any) -> Exception | None:
        """Do this; a defect in it costs what it was about, never the daemon, which would meet the same record again after a restart.

        The defect, for who can mend what it left half done.
        """
        try:
            work(*args)
        except Exception as bug:
            self._on_bug(bug)
            return bug
        return None

    def _dispatch(self, event: fx.Event) -> None:
        match event:
            case fx.Loaded():
                self._load(event)
            case fx.Watched():
                self._watch(event)
            case fx.Called():
                self.callers.begin(event)
            case fx.Progressed():
                self._progress.get(event.ref, _ignore)(event.progress)
            case fx.Stopping():
                self._stop()
            case fx.Tick():
                pass
            case _:
                self._callbacks.pop(event.ref, _ignore)(event)

    @property
    def next_wake(self) -> float:
        """When (monotonic) a :class:`Tick` is needed even if nothing else happens."""
        while self._timers and self._timers[0][2].then is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else float("inf")

    @property
    def age(self) -> float:
        """Seconds since the store was last heard from."""
        return self.now.mono - self.heard

    def _load(self, event: fx.Loaded) -> None:
        self.view.load(event.snapshot)
        self.heard, self.loaded = self.now.mono, True
        self._caught_up()
        self.membership.loaded()
        self.guarded(self.callers.changed, None)
        self.guarded(self.pursuits.changed, None)

    def _watch(self, event: fx.Watched) -> None:
        changed = self.view.apply(event.batch)
        self.heard = self.now.mono
        self._caught_up()
        if changed:
            tokens = _tokens(changed)
            self.guarded(self.membership.changed, changed)
            self.guarded(self.callers.changed, tokens)
            self.guarded(self.pursuits.changed, tokens)

    def _caught_up(self) -> None:
        resync, self._resync = self._resync, []
        for resume in resync:
            self.guarded(resume)
        while self._until and self._until[0][0] <= self.view.revision:
            self.guarded(heapq.heappop(self._until)[2])

    def _stop(self) -> None:
        if not self.stopping:
            self.stopping = True
            log.info("stopping")
            self.callers.stop()
            self.pursuits.stop()

    # --- out, for the parts ---

    def _emit(self, effect: fx.Effect) -> None:
        self._effects.append(effect)

    def _drain(self) -> list[fx.Effect]:
        out, self._effects = self._effects, []
        return out

    def emit(self, effect: fx.Effect) -> None:
        """Do this; nobody here waits for its outcome."""
        self._emit(effect)

    def ask(self, make: Callable[[int], fx.Effect], then: Callback) -> int:
        """Do what ``make(ref)`` says and call ``then`` with the event that answers it."""
        ref = next(self._refs)
        self._callbacks[ref] = then
        self._emit(make(ref))
        return ref

    def forget(self, ref: int) -> None:
        """Nobody waits for this outcome any more."""
        self._callbacks.pop(ref, None)
        self._progress.pop(ref, None)

    def on_progress(self, ref: int, then: Callback) -> None:
        """Call ``then`` whenever the step ``ref`` reports progress."""
        self._progress[ref] = then

    def transact(self, commit: Commit, then: Callable[[TxnResult], None], refused: Callable[[TooLarge], None] | None = None) -> None:
        """Run a transaction; ``then`` gets its result when the view has reached it.

        When the store gave no answer, nobody knows whether it was done: then the view is brought up to date first and the result is
        "not ok", so that the caller looks at what is and decides anew. One that is too large for the store will always be: ``refused``
        gets the error.
        """

        def answered(event: fx.Transacted) -> None:
            result = event.result
            if isinstance(result, TooLarge) and refused is not None:
                refused(result)
            elif isinstance(result, DaccError):
                log.warning("transaction without an answer", extra={"why": str(result)})
                self.after_news(lambda: then(TxnResult(ok=False, revision=self.view.revision)))
            else:
                self._when(result.revision, lambda: then(result))

        self.ask(lambda ref: fx.Transact(ref, commit.compares, commit.ops), answered)

    def after_news(self, then: Callable[[], None]) -> None:
        """Call ``then`` when the watch was heard from once more, a moment from now."""
        self.at(self.now.mono + 0.2, lambda: self._resync.append(then))

    def _when(self, revision: int, then: Callable[[], None]) -> None:
        if revision <= self.view.revision:
            then()
        else:
            heapq.heappush(self._until, (revision, next(self._refs), then))

    def at(self, mono: float, then: Callable[[], None]) -> Timer:
        """Call ``then`` at that time."""
        timer = Timer(then)
        heapq.heappush(self._timers, (mono, next(self._refs), timer))
        return timer

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now.mono:
            then = heapq.heappop(self._timers)[2].then
            if then is not None:
                self.guarded(then)

    def may_act(self) -> bool:
        """Whether this daemon may change anything but its own registration now."""
        return self.loaded and self.membership.sure and not self.stopping


def _tokens(changed: Iterable[tuple[str, str]]) -> set[str]:
    """The sessions that changed; ``""`` stands for anything that may concern all."""
    found = set()
    for kind, name in changed:
        if kind in ("sessions", "status"):
            found.add(name)
        elif kind == "attachments":
            found.update(name.split("/"))
        elif kind in ("alive", "hosts", "pools"):
            found.add("")
    return found


def _log_bug(bug: Exception) -> None:
    log.error("a defect of dacd", exc_info=bug)


def _ignore(_: Any) -> None:
    """An answer that nobody waits for any more."""
