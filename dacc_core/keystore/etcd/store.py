"""The keystore of a site with several machines: an etcd cluster, 3.4 or newer.

**Times.** Every call ends by its deadline. If the member that is called first is away, a call goes on with another: after milliseconds if
it refuses connections, after :data:`~.client.SLICE` (1.5 s) if it accepts them and never responds. While a new leader is elected (1 to 3 s
with etcd's defaults), it waits. So with the default deadline of 5 s, reads, leases and transactions survive the loss of one member of
three. What became of a transaction whose answer was lost is found out: see :mod:`.transactions`.

**Requests.** One for each call, whatever it names; a prefix with more than :data:`PAGE` keys, or a read of more than 128, takes one for
each such part, all at one revision.

A lease's TTL is in whole seconds, rounded up, and etcd may grant more: never less than its election timeout.
"""

from __future__ import annotations

import random
import secrets
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from typing import Any

from ...errors import Compacted, KeystoreUnavailable
from ..base import DEFAULT_TIMEOUT, Compare, Item, Op, PutKey, Snapshot, TxnResult, Watch
from ..shared import StoreDeadline, check_ops, check_ttl
from . import protocol
from .access import EtcdAccess
from .client import Endpoint, Endpoints, EtcdClient, Login
from .failures import RequestRefused
from .protocol import READABLE_KEY, RangeResponse, TxnResponse, decode_items, decode_txn_items
from .transactions import MAX_TXN_OPS, EtcdTransactions
from .watch import EtcdWatch

PAGE = 10_000


class EtcdKeystore:
    """A store in the cluster that ``access`` describes. Making one calls nothing: the cluster may be started later.

    Threads may share an object. A forked child cannot use it, nor make one of its own: gRPC does not survive a fork. A program that is
    executed anew can. ``first`` is the index of the endpoint to call first.
    """

    def __init__(self, access: EtcdAccess, first: int | None = None) -> None:
        self.where = access.where
        endpoints = [Endpoint(address, access.read_certificates) for address in access.addresses]
        # Clients begin with different members, so that not all watch the same one.
        first = random.randrange(len(endpoints)) if first is None else first  # noqa: S311 - for balance only
        self._client = EtcdClient(self.where, Endpoints(endpoints, first), Login(access.user, access.password))
        self._transactions = EtcdTransactions(self._client, self._read)
        self._watches: weakref.WeakSet[EtcdWatch] = weakref.WeakSet()
        self._opening = threading.Lock()  # against a watch that is begun while the store is closed

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """The items of these keys that exist, all at one revision."""
        snapshot = self._read(sorted(set(keys)), 0, StoreDeadline(timeout))
        self._expect(snapshot.revision)
        return snapshot

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """All items whose key starts with ``prefix``, all at one revision."""
        deadline = StoreDeadline(timeout)
        while True:
            try:
                snapshot = self._range(prefix, deadline)
            except Compacted as error:  # between two pages
                if not deadline.remaining():
                    raise KeystoreUnavailable(where=self.where, why=f"{error}: no time left") from error
            else:
                self._expect(snapshot.revision)
                return snapshot

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """If every compare holds, do every op, at once and durably; else do nothing.

        Raises TooManyOperations beyond what etcd accepts. KeystoreUnavailable with the field ``unknown`` means that it may have been done.
        """
        check_ops(ops)
        result = self._transactions.run(compares, ops, StoreDeadline(timeout))
        if not (result.ok and any(isinstance(op, PutKey) for op in ops)):  # etcd sends watches what is put
            self._expect(result.revision)
        return result

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Changes under ``prefix`` with a revision greater than ``after_revision``."""
        with self._opening:
            self._client.require_open()
            watch = EtcdWatch(self._client, prefix, after_revision)
            self._watches.add(watch)
        return watch

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A new lease that ends ``ttl`` seconds, rounded up to whole ones, after its last renewal; its number, never 0."""
        check_ttl(ttl)
        lease = 1 + secrets.randbits(62)  # our own choice, so that asking again makes no second one
        request = protocol.lease_grant_request(lease, ceil(ttl))
        try:
            self._client.call("LeaseGrant", request, StoreDeadline(timeout), refusals=("FAILED_PRECONDITION",))
        except RequestRefused as error:
            if "already exists" not in error.failure.details:
                raise self._client.refusal(error) from error
        return lease

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start the lease's ttl anew; ``False`` when the lease has already ended."""
        response = self._client.call("LeaseKeepAlive", protocol.lease_keep_alive_request(lease), StoreDeadline(timeout))
        return bool(response.TTL > 0)

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End a lease now; its keys are deleted. Revoking an ended lease succeeds."""
        with suppress(RequestRefused):
            self._client.call("LeaseRevoke", protocol.lease_revoke_request(lease), StoreDeadline(timeout), refusals=("NOT_FOUND",))

    def close(self) -> None:
        """End every watch and every call; further calls raise ``KeystoreUnavailable``."""
        with self._opening:
            for watch in list(self._watches):
                watch.close()
            self._client.close()

    def _read(self, keys: Sequence[str], revision: int, deadline: StoreDeadline) -> Snapshot:
        """Keys at a revision (0: now). Raises Compacted when it is too old."""
        items: list[Item] = []
        for start in range(0, len(keys) or 1, MAX_TXN_OPS):
            request = protocol.keys_request(keys[start : start + MAX_TXN_OPS] or [READABLE_KEY], revision)
            response: TxnResponse = self._call_at(revision, "Txn", request, deadline)
            items += decode_txn_items(response) if keys else ()
            revision = revision or response.header.revision
        return Snapshot(tuple(items), revision)

    def _range(self, prefix: str, deadline: StoreDeadline) -> Snapshot:
        items: list[Item] = []
        revision, more = 0, True
        first, range_end = protocol.key_interval(prefix)
        while more:
            request = protocol.range_request(first, range_end, PAGE, revision)
            response: RangeResponse = self._call_at(revision, "Range", request, deadline)
            items += decode_items(response)
            revision, more = revision or response.header.revision, response.more
            first = response.kvs[-1].key + b"\0" if more else b""
        return Snapshot(tuple(items), revision)

    def _call_at(self, revision: int, method: str, request: Any, deadline: StoreDeadline) -> Any:
        try:
            return self._client.call(method, request, deadline, refusals=("OUT_OF_RANGE",))
        except RequestRefused as error:
            if "compacted" not in error.failure.details:
                raise self._client.refusal(error) from error
            raise Compacted(wanted=revision, oldest=revision + 1) from error

    def _expect(self, revision: int) -> None:
        """The store has reached this revision: watches are to notice soon, even if nothing changed under their prefix."""
        for watch in list(self._watches):
            watch.expect(revision)
