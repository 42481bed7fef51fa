"""All sessions that this host coordinates, or may have to. One of the engine's parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import policy
from .reactor import Reactor
from .reconciler import Lease, SessionReconciler

STOP_CHECK_SECONDS = 0.05


class Reconcilers:
    """The reconcilers of the sessions that this host coordinates, or has coordinated."""

    def __init__(self, reactor: Reactor, lease: Lease) -> None:
        self._reactor, self._lease = reactor, lease
        self._by_token: dict[str, SessionReconciler] = {}

    def __iter__(self) -> Iterator[SessionReconciler]:
        return iter(self._by_token.values())

    def changed(self, tokens: set[str] | None) -> None:
        """These sessions changed (``None`` or a member ``""``: all must be looked at)."""
        if not self._lease.may_act():
            return
        if tokens is None or "" in tokens:
            tokens = set(self._reactor.view.sessions) | self._by_token.keys()
        for token in sorted(tokens):
            self._reactor.guarded(self._look, token)

    def _look(self, token: str) -> None:
        reconciler = self._by_token.get(token)
        if token in self._reactor.view.sessions:
            if reconciler is None and self._is_ours(token):
                reconciler = self._by_token[token] = SessionReconciler(token, self._reactor, self._lease, self._rested)
            if reconciler is not None:
                reconciler.consider()
        elif reconciler is not None:
            if reconciler.idle:
                reconciler.close()
                del self._by_token[token]
            else:
                reconciler.cancel("the session is gone")

    def _is_ours(self, token: str) -> bool:
        view = self._reactor.view
        session = view.sessions[token].record
        if policy.is_waiting_for_bricks(session):
            return False
        return policy.coordinates(view, session, view.status(token), self._lease.host, self._lease.incarnation)

    def _rested(self, token: str) -> None:
        self.changed({token})

    def halt(self) -> None:
        """The lease cannot be relied on: stop every step now."""
        for reconciler in self:
            reconciler.cancel("this host may have lost its lease")

    def stop(self, then: Callable[[], None]) -> None:
        """The daemon stops: end copies, let short steps finish, ``then`` go on; at the latest when the grace is over."""
        for reconciler in self:
            if reconciler.copying:
                reconciler.cancel("this daemon stops")
        self._reactor.after(self._reactor.rules.stop_grace, then)
        self._check(then)

    def _check(self, then: Callable[[], None]) -> None:
        if all(reconciler.idle for reconciler in self):
            then()
        else:
            self._reactor.after(STOP_CHECK_SECONDS, lambda: self._check(then))
