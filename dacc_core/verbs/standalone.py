"""Runs one verb without a daemon: straight on the keystore, in the caller's own process.

This is the fallback of the thin client. It reads, records goals and waits for the daemons to pursue them; it never runs a step, and never
makes a store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..config import Config
from ..errors import Compacted, DaccError, KeystoreMissing, KeystoreUnavailable, StillWorking, Unavailable, WrongCluster
from ..keystore.base import Keystore, TxnResult, Watch
from ..registry import keys
from ..registry.transaction import Commit
from ..registry.view import View
from .frontend import Answer, FrontEndContext
from .operations import AcquireClaimSlot, LookupUser, Sleep, Verb, Wait, grace
from .sessions import VerbContext
from .users import find_user

READ_SECONDS = 3.0


class StandaloneRunner:
    """A view of a store, read once and then kept up by a watch, and a verb that runs over it."""

    def __init__(self, store: Keystore, config: Config, seconds: float) -> None:
        self._store, self._ends, self._grace = store, time.monotonic() + seconds, grace(seconds)
        self._watch: Watch | None = None
        self.view = View()
        self._load(min(READ_SECONDS, seconds))
        self._check_cluster(config)
        verb_context = VerbContext(self.view, time.time, config.max_pre_run_failures, config.slurm.buffer_wait)
        self.context = FrontEndContext(verb_context=verb_context, config=config)

    def _load(self, timeout: float) -> None:
        self.view.load(self._store.range(keys.PREFIX, timeout=max(0.1, timeout)))

    def _check_cluster(self, config: Config) -> None:
        cluster = self.view.cluster
        if cluster is None:
            raise KeystoreMissing(where=self._store.where, hint="the store there was never used by a dacd")
        if cluster.record.restoring:
            raise Unavailable(why=f"a restore into keystore {self._store.where} is under way or did not end: wait, or repeat dacc restore")
        if config.cluster and cluster.record.id != config.cluster:
            raise WrongCluster(where=self._store.where, found=cluster.record.id, wanted=config.cluster)

    def run(self, verb: Verb[Answer], token: str = "") -> Answer:
        """Run the verb to its answer. Raises what it raises; StillWorking when its time is over, and that for undoing what it began."""
        reply: Any = None
        error: DaccError | None = None
        try:
            while True:
                operation = verb.throw(error) if error else verb.send(reply)
                reply, error = None, None
                try:
                    reply = self._do(operation, token)
                except DaccError as failure:
                    error = failure
                    self._allow_grace()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            if self._watch is not None:
                self._watch.close()

    def _do(self, operation: Any, token: str) -> Any:
        match operation:
            case Commit():
                return self._commit(operation, token)
            case Wait():
                return self._await(operation.ready, operation.doing, token)
            case Sleep():
                self._pause(operation.seconds, token)
            case LookupUser():
                return find_user(operation.uid, operation.name)
            case AcquireClaimSlot():
                pass
        return None

    def _allow_grace(self) -> None:
        if not self._left():
            self._ends, self._grace = self._ends + self._grace, 0.0

    def _pause(self, seconds: float, token: str) -> None:
        """Let time pass and take in what happens meanwhile: the verb may be waiting for just that."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self._left():
                raise StillWorking(doing="writing", token=token)
            self._follow(min(left, self._left()))

    def _commit(self, operation: Commit, token: str) -> TxnResult:
        try:
            result = self._store.txn(operation.compares, operation.ops, timeout=max(0.1, min(5.0, self._left())))
        except KeystoreUnavailable:
            if not self._left():
                raise
            time.sleep(min(0.2, self._left()))
            self._load(5.0)
            return TxnResult(ok=False, revision=self.view.revision)
        self._await(lambda: True if self.view.revision >= result.revision else None, "reading the store", token)
        return result

    def _await(self, ready: Callable[[], Any], doing: str, token: str) -> Any:
        while (value := ready()) is None:
            if not self._left():
                raise StillWorking(doing=doing, token=token)
            self._follow(min(1.0, self._left()))
        return value

    def _follow(self, seconds: float) -> None:
        if self._watch is None:
            self._watch = self._store.watch(keys.PREFIX, self.view.revision)
        try:
            batch = self._watch.next(seconds)
        except Compacted:
            self._watch.close()
            self._watch = None
            self._load(5.0)
            return
        except KeystoreUnavailable:
            time.sleep(min(0.2, self._left()))
            return
        if batch is not None:
            self.view.apply(batch)

    def _left(self) -> float:
        return max(0.0, self._ends - time.monotonic())
