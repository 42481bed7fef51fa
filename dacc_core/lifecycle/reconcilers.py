"""All sessions that this host coordinates, or may have to. One of the core's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry.records import Session
from . import effects as fx
from .reconciler import SessionReconciler

if TYPE_CHECKING:
    from .engine import Engine


class Reconcilers:
    """All sessions that this host coordinates or may have to."""

    def __init__(self, core: Engine) -> None:
        self.core = core
        self._by_token: dict[str, SessionReconciler] = {}

    def changed(self, tokens: set[str] | None) -> None:
        """These sessions changed (``None`` or a member ``""``: all must be looked at)."""
        if not self.core.may_act():
            return
        if tokens is None or "" in tokens:
            tokens = set(self.core.view.sessions) | self._by_token.keys()
        for token in sorted(tokens):
            self.core.guarded(self._look, token)

    def _look(self, token: str) -> None:
        pursuit = self._by_token.get(token)
        if token in self.core.view.sessions:
            if pursuit is None:
                pursuit = self._by_token[token] = SessionReconciler(self.core, token)
            pursuit.consider()
        elif pursuit is not None:
            if pursuit.idle:
                del self._by_token[token]
            else:
                pursuit.cancel("the session is gone")

    def desired(self, session: Session) -> str:
        """Which host should coordinate a session that has no living coordinator."""
        alive, hosts = self.core.view.alive, self.core.view.hosts
        for host in session.brick_hosts:
            if host in alive:
                return host
        pool = session.volume.pool if session.volume else session.request.pool
        serving = sorted(host for host in alive if host in hosts and hosts[host].record.bricks)
        for host in serving:
            if any(brick.pool == pool for brick in hosts[host].record.bricks):
                return host
        return min(serving, default=min(alive, default=""))

    def halt(self) -> None:
        """The lease cannot be relied on: stop every step now."""
        for pursuit in self._by_token.values():
            pursuit.cancel("this host may have lost its lease")

    def stop(self) -> None:
        """The daemon stops: end copies, let short steps finish, then leave."""
        for pursuit in self._by_token.values():
            if pursuit.copying:
                pursuit.cancel("this daemon stops")
        self.core.at(self.core.now.mono + self.core.rules.stop_grace, self._leave)
        self._check()

    def _check(self) -> None:
        if all(pursuit.idle for pursuit in self._by_token.values()):
            self._leave()
        else:
            self.core.at(self.core.now.mono + 0.05, self._check)

    def _leave(self) -> None:
        self.core.membership.leave()
        self.core.emit(fx.Exit())
