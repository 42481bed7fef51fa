"""The daemon's core: events in, effects out. It has no thread, lock, sleep or clock of its own.

:class:`Engine` owns the parts and routes events to them: :mod:`.membership` (this host and its lease), :mod:`.pending_calls` (verbs that
wait for outcomes) and :mod:`.reconcilers` (sessions that this host coordinates). What they share is in :mod:`.reactor`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ..registry.view import View
from ..values import Brick
from . import effects as fx
from .membership import LocalHost, Membership
from .pending_calls import PendingCalls
from .reactor import Reactor
from .reconcilers import Reconcilers
from .rules import Rules

log = logging.getLogger("dacc.core")


class Engine:
    """One daemon's decisions. Call :meth:`handle` for each event, in one thread, and run what it returns."""

    def __init__(
        self,
        host: str,
        incarnation: str,
        *,
        bricks: tuple[Brick, ...] = (),
        pools: dict[str, tuple[int, str]] | None = None,
        rules: Rules | None = None,
        cluster: str = "",
        boot: str = "",
        lock: str = "",
        who: str = "",
        providers: dict[str, str] | None = None,
        on_bug: Callable[[Exception], None] | None = None,
    ) -> None:
        self.reactor = Reactor(rules or Rules(), on_bug)
        local = LocalHost(host, incarnation, bricks, pools or {}, cluster, boot, lock, who, providers or {})
        self.membership = Membership(self.reactor, local, on_sure=self._may_act_again, on_doubt=self._halt)
        self.calls = PendingCalls(self.reactor)
        self.reconcilers = Reconcilers(self.reactor, self.membership)

    # --- events ---

    def start(self, now: fx.Now) -> list[fx.Effect]:
        """The first effects: read the store."""
        self.reactor.now = now
        self.reactor.emit(fx.Load())
        return self.reactor.drain()

    def handle(self, event: fx.Event, now: fx.Now) -> list[fx.Effect]:
        """Take one event in; what is to be done because of it."""
        self.reactor.now = now
        self.reactor.guarded(self._dispatch, event)
        self.reactor.run_timers()
        return self.reactor.drain()

    def _dispatch(self, event: fx.Event) -> None:
        match event:
            case fx.Loaded():
                self._load(event)
            case fx.Watched():
                self._watch(event)
            case fx.Called():
                self.calls.begin(event)
            case fx.Progressed():
                self.reactor.progressed(event)
            case fx.Stopping():
                self._stop()
            case fx.Tick():
                pass
            case _:
                self.reactor.answer(event)

    def _load(self, event: fx.Loaded) -> None:
        self.reactor.load(event.snapshot)
        self.membership.loaded()
        self.reactor.guarded(self.calls.changed, None)
        self.reactor.guarded(self.reconcilers.changed, None)

    def _watch(self, event: fx.Watched) -> None:
        if changed := self.reactor.apply(event.batch):
            tokens = _tokens(changed)
            self.reactor.guarded(self.membership.changed, changed)
            self.reactor.guarded(self.calls.changed, tokens)
            self.reactor.guarded(self.reconcilers.changed, tokens)

    # --- what the lease means for sessions ---

    def _may_act_again(self) -> None:
        self.reconcilers.changed(None)

    def _halt(self) -> None:
        self.reconcilers.halt()

    # --- the end ---

    def _stop(self) -> None:
        if not self.reactor.stopping:
            self.reactor.stopping = True
            log.info("stopping")
            self.calls.stop()
            self.reconcilers.stop(self._leave)

    def _leave(self) -> None:
        self.membership.leave()
        self.reactor.emit(fx.Exit())

    # --- what others may read ---

    @property
    def next_wake(self) -> float:
        """When (monotonic) a :class:`Tick` is needed even if nothing else happens."""
        return self.reactor.next_wake

    @property
    def view(self) -> View:
        """The store as this daemon has seen it."""
        return self.reactor.view

    @property
    def heard(self) -> float:
        """When (monotonic) the store was last heard from."""
        return self.reactor.heard

    @property
    def host(self) -> str:
        """The name of this host."""
        return self.membership.host

    @property
    def incarnation(self) -> str:
        """The name of this life of the daemon; a new one after its lease was lost."""
        return self.membership.incarnation

    @property
    def rules(self) -> Rules:
        """The site's numbers."""
        return self.reactor.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self.reactor.rules = rules

    def may_act(self) -> bool:
        """Whether this daemon may change anything but its own registration now."""
        return self.membership.may_act()


def _tokens(changed: Iterable[tuple[str, str]]) -> set[str]:
    """The sessions that changed; ``""`` stands for anything that may concern all."""
    tokens: set[str] = set()
    for kind, name in changed:
        if kind in ("sessions", "status"):
            tokens.add(name)
        elif kind == "attachments":
            tokens.update(name.split("/"))
        elif kind in ("alive", "hosts", "pools"):
            tokens.add("")
    return tokens
