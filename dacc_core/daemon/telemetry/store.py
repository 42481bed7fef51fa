"""A keystore whose answers are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ...errors import DaccError
from ...keystore.base import DEFAULT_TIMEOUT, Compare, Keystore, Op, Snapshot, TxnResult, Watch
from .events import Observer, tell

T = TypeVar("T")


class ObservedStore:
    """``store``, whose requests ``observer`` is told of. Watches, which wait for news, are not timed."""

    def __init__(self, store: Keystore, observer: Observer) -> None:
        self._store, self._observer = store, observer
        self.where = store.where

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Told as ``read``."""
        return self._timed("read", lambda: self._store.read(*keys, timeout=timeout))

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Told as ``range``."""
        return self._timed("range", lambda: self._store.range(prefix, timeout=timeout))

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """Told as ``txn``."""
        return self._timed("txn", lambda: self._store.txn(compares, ops, timeout=timeout))

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Not told."""
        return self._store.watch(prefix, after_revision)

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """Told as ``grant``."""
        return self._timed("grant", lambda: self._store.grant(ttl, timeout=timeout))

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Told as ``renew``."""
        return self._timed("renew", lambda: self._store.renew(lease, timeout=timeout))

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Told as ``revoke``."""
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
            tell(self._observer.stored, operation, time.monotonic() - begun, error)
