"""A real etcd as a backend of the suite.

All tests of a process share one cluster of each kind; each begins with an empty one. What the suite expects of a store of its own is made
up here, around the keystore that is tested:

- revisions begin at the one that the emptying left;
- time passes when a test says so: leases are granted for long, and those whose time has come are revoked. That is what etcd itself does
  with them. The suite's other backends end all that are due at one revision, so their keys are deleted first;
- ``next(0)`` looks at the past up to now, as a backend does that has its history at hand. What a watch was sent before history was
  compacted stays its own, so the watch is then begun anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from time import monotonic

from dacc_core.errors import Compacted
from dacc_core.keystore.base import DEFAULT_TIMEOUT, Batch, Change, Compare, DeleteKey, Item, Keystore, Op, Snapshot, TxnResult, Watch
from tests.support.etcd import PASSWORD, EtcdCluster
from tests.support.proxy import Proxy

KINDS = ("etcd", "etcd-tls", "etcd-mutual-tls", "etcd-user")
LONG = 3600.0


def shifted(item: Item | None, by: int) -> Item | None:
    return item and Item(item.key, item.value, item.mod_revision + by, item.lease)


class ShiftedKeystore:
    """A keystore whose revisions begin after ``base``, and whose time passes when a test says so."""

    def __init__(self, store: Keystore, base: int) -> None:
        self.where, self.store, self.base = store.where, store, base
        self.compacted = self._now = 0.0
        self._leases: dict[int, tuple[float, float]] = {}
        self._transactions = 0
        self._changed = Condition()

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        return self._snapshot(self.store.read(*keys, timeout=timeout))

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        return self._snapshot(self.store.range(prefix, timeout=timeout))

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        real = [Compare(compare.key, compare.mod_revision and compare.mod_revision + self.base) for compare in compares]
        with self._transaction():
            result = self.store.txn(real, ops, timeout=timeout)
        current = {key: shifted(item, -self.base) for key, item in result.current.items()}
        return TxnResult(result.ok, result.revision - self.base, current)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        return ShiftedWatch(self, prefix, after_revision)

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        lease = self.store.grant(ttl + LONG if ttl > 0 else ttl, timeout=timeout)
        self._leases[lease] = (ttl, self._now + ttl)
        return lease

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        alive = self.store.renew(lease, timeout=timeout)
        if alive:
            ttl, _ = self._leases[lease]
            self._leases[lease] = (ttl, self._now + ttl)
        return alive

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.store.revoke(lease, timeout=timeout)
        self._leases.pop(lease, None)

    def close(self) -> None:
        with self._changed:  # watchers may hear of a transaction before whoever did it in another thread
            self._changed.wait_for(lambda: not self._transactions, 5)
        self.store.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._changed:
            self._transactions += 1
        try:
            yield
        finally:
            with self._changed:
                self._transactions -= 1
                self._changed.notify_all()

    def pass_time(self, seconds: float) -> None:
        self._now += seconds
        due = {lease for lease, (_, end) in self._leases.items() if end <= self._now}
        keys = [item.key for item in self.store.range("").items if item.lease in due]
        self.store.txn([], [DeleteKey(key) for key in keys])
        for lease in due:
            self.revoke(lease)

    def _snapshot(self, snapshot: Snapshot) -> Snapshot:
        items = (shifted(item, -self.base) for item in snapshot.items)
        return Snapshot(tuple(item for item in items if item), snapshot.revision - self.base)


class ShiftedWatch:
    def __init__(self, store: ShiftedKeystore, prefix: str, after_revision: int) -> None:
        self._store, self._prefix, self._position = store, prefix, after_revision
        self._watch = self._new()
        self._closed = False

    def next(self, timeout: float) -> Batch | None:
        if self._closed or timeout:
            return self._ask(timeout)
        if self._position < self._store.compacted:
            self._watch.close()
            self._watch = self._new()
        changes: list[Change] = []
        revision = self._store.range("").revision
        end = monotonic() + 10
        while monotonic() < end:
            batch = self._ask(0.02)
            if batch is not None:
                changes += batch.changes
                if batch.revision >= revision:
                    return Batch(tuple(changes), batch.revision)
        raise AssertionError(f"the watch does not come to revision {revision}")

    def close(self) -> None:
        self._closed = True
        self._watch.close()

    def _new(self) -> Watch:
        return self._store.store.watch(self._prefix, self._position + self._store.base)

    def _ask(self, timeout: float) -> Batch | None:
        by = -self._store.base
        try:
            batch = self._watch.next(timeout)
        except Compacted as error:
            raise Compacted(**{name: int(str(revision)) + by for name, revision in error.fields.items()}) from error
        if batch is None:
            return None
        self._position = batch.revision + by
        changes = (Change(change.key, shifted(change.item, by), change.revision + by) for change in batch.changes)
        return Batch(tuple(changes), batch.revision + by)


@dataclass
class Cluster:
    """One running kind, and how its tests reach it: through a proxy that can hold everything up."""

    etcd: EtcdCluster
    proxy: Proxy

    def open(self) -> Keystore:
        from dacc_core.keystore.etcd.access import EtcdAccess
        from dacc_core.keystore.etcd.store import EtcdKeystore

        files = {name: path for name, path in self.etcd.settings.items() if name != "endpoints"}
        scheme = "https" if self.etcd.tls else "http"
        user = {"user": "dacc", "password": PASSWORD} if self.etcd.token else {}
        return EtcdKeystore(EtcdAccess(endpoints=(f"{scheme}://{self.proxy.endpoint}",), **files, **user))


class Clusters:
    """The clusters of a test run; each is started when the first test needs it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, Cluster] = {}
        self._stack = ExitStack()

    def __getitem__(self, kind: str) -> Cluster:
        if kind not in self._running:
            self._running[kind] = self._start(kind)
        return self._running[kind]

    def close(self) -> None:
        self._stack.close()

    def _start(self, kind: str) -> Cluster:
        directory = self._directory / kind
        directory.mkdir()
        tls = {"etcd-tls": "server", "etcd-mutual-tls": "mutual"}.get(kind, "")
        etcd = self._stack.enter_context(EtcdCluster(directory, tls=tls))
        if kind == "etcd-user":
            etcd.enable_users()
        proxy = Proxy(etcd.members[0].client_port)
        self._stack.callback(proxy.close)
        return Cluster(etcd, proxy)
