"""The events of a daemon for those who listen without having a part in it: metrics, and the hooks of provider packages."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from ...errors import DaccError
from ...keystore.base import DEFAULT_TIMEOUT, Compare, Keystore, Op, PutKey, Snapshot, TxnResult, Watch
from ...lifecycle import effects as fx
from ...lifecycle.transitions import StepOutcome
from ...registry import keys
from ...registry.records import Session, Status
from ...registry.view import View

log = logging.getLogger("dacc.metrics")
T = TypeVar("T")
Former = Literal["another host", "this host"]
SessionRecords = tuple[Session | None, Status]
"""A session, if there is one, and its status."""


class TelemetryListener:
    """Called for what happened (by :func:`notify`), from any thread, and quick about it. This one does nothing."""

    watching = False
    """Whether it counts anything: what costs something to find out is not found out for nobody."""

    @property
    def following(self) -> bool:
        """Whether it follows the changes of each session."""
        return False

    def step(self, order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> None:
        """A step has ended."""

    def changed(self, before: SessionRecords, after: SessionRecords) -> None:
        """The records of a session have changed."""

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


class FanOut(TelemetryListener):
    """Several listeners as one."""

    def __init__(self, *listeners: TelemetryListener) -> None:
        self._listeners = listeners
        self.watching = any(listener.watching for listener in listeners)

    @property
    def following(self) -> bool:
        """Whether one of them does."""
        return any(listener.following for listener in self._listeners)

    def step(self, order: fx.StepOrder, outcome: StepOutcome, seconds: float) -> None:
        """Passed on to all."""
        self._notify("step", order, outcome, seconds)

    def changed(self, before: SessionRecords, after: SessionRecords) -> None:
        """Passed on to all."""
        self._notify("changed", before, after)

    def fenced(self, hosts: int, failures: Mapping[str, DaccError]) -> None:
        """Passed on to all."""
        self._notify("fenced", hosts, failures)

    def took_over(self, former: Sequence[Former]) -> None:
        """Passed on to all."""
        self._notify("took_over", former)

    def stored(self, operation: str, seconds: float, error: DaccError | None) -> None:
        """Passed on to all."""
        self._notify("stored", operation, seconds, error)

    def called(self, program: str, function: str, rc: int, seconds: float) -> None:
        """Passed on to all."""
        self._notify("called", program, function, rc, seconds)

    def dropped(self, hook: str) -> None:
        """Passed on to all."""
        self._notify("dropped", hook)

    def _notify(self, event: str, *args: Any) -> None:
        for listener in self._listeners:
            notify(getattr(listener, event), *args)


def notify(event: Callable[..., None], *args: Any) -> None:
    """Call a listener's method; a defect in it costs what it would have noted, never what was done."""
    try:
        event(*args)
    except Exception:
        log.exception("a telemetry listener failed")


def session_records(view: View, token: str) -> SessionRecords:
    """The records of a session as they are in the view."""
    return view.session(token), view.status(token)


def concerned_sessions(view: View, event: fx.Event) -> dict[str, SessionRecords]:
    """The records, by token, of the sessions that an event changes, as they are before the view takes the event in."""
    if not isinstance(event, fx.Watched):
        return {}
    concerned = (keys.split(change.key) for change in event.batch.changes)
    return {token: session_records(view, token) for kind, token in concerned if kind in ("sessions", "status")}


def takeovers(view: View, host: str, effect: fx.Transact) -> list[Former]:
    """From whom this transaction takes sessions over for ``host``, as long as the view is what it was made from."""
    former: list[Former] = []
    for op in effect.ops:
        kind, token = keys.split(op.key)
        if kind != "status" or not isinstance(op, PutKey):
            continue
        new, old = keys.decode(op.key, op.value), view.status(token)
        assert isinstance(new, Status)
        if new.coordinator == host and old.coordinator and (old.coordinator, old.incarnation) != (host, new.incarnation):
            former.append("this host" if old.coordinator == host else "another host")
    return former


class MeasuredStore:
    """``store``, each of whose requests is a ``stored`` event of ``listener``. Watches, which wait for news, are not timed."""

    def __init__(self, store: Keystore, listener: TelemetryListener) -> None:
        self._store, self._listener = store, listener
        self.where = store.where

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Timed as ``read``."""
        return self._timed("read", lambda: self._store.read(*keys, timeout=timeout))

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Timed as ``range``."""
        return self._timed("range", lambda: self._store.range(prefix, timeout=timeout))

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """Timed as ``txn``."""
        return self._timed("txn", lambda: self._store.txn(compares, ops, timeout=timeout))

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Not timed."""
        return self._store.watch(prefix, after_revision)

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """Timed as ``grant``."""
        return self._timed("grant", lambda: self._store.grant(ttl, timeout=timeout))

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Timed as ``renew``."""
        return self._timed("renew", lambda: self._store.renew(lease, timeout=timeout))

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Timed as ``revoke``."""
        self._timed("revoke", lambda: self._store.revoke(lease, timeout=timeout))

    def close(self) -> None:
        """Release connections and files."""
        self._store.close()

    def _timed(self, operation: str, ask: Callable[[], T]) -> T:
        begun, error = time.monotonic(), None
        try:
            return ask()
        except DaccError as failure:
            error = failure
            raise
        finally:
            notify(self._listener.stored, operation, time.monotonic() - begun, error)
