"""The keystore of a site with several machines: an etcd cluster, 3.4 or newer.

**Times.** Every call ends by its deadline. When one member of three is away that was asked first, a call goes on with another: after
milliseconds if it refuses connections, after :data:`~.etcd_calls.SLICE` (1.5 s) if it takes them and never answers. While a new leader is
elected (1 to 3 s as etcd comes), it waits. So with the usual deadline of 5 s, reads, leases and transactions get over the loss of one
member. What became of a transaction whose answer was lost is found out: see :mod:`.etcd_inquiry`.

**Requests.** One for each call, whatever it names; a prefix with more than :data:`PAGE` keys, or a read of more than 128, takes one for
each such part, all at one revision.

A lease's time is in whole seconds, rounded up, and etcd may grant more: never less than its election takes.
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

from dacc_core.errors import Compacted, KeystoreUnavailable

from ..base import DEFAULT_TIMEOUT, Compare, Item, Op, PutKey, Snapshot, TxnResult, Watch
from ..shared import Deadline, check_ops, check_ttl
from . import protocol as to
from .access import Access
from .client import Endpoint, Endpoints, EtcdClient, Login
from .failures import Refused
from .protocol import RangeReply, TxnReply
from .transactions import MOST_OPERATIONS, Transactions
from .watch import EtcdWatch

PAGE = 10_000
OUT_OF_RANGE = ("OUT_OF_RANGE",)


class EtcdKeystore:
    """A store in the cluster that ``access`` leads to. Making one asks nothing: the cluster may be started later.

    Threads may share an object. A forked child cannot use it, nor make one of its own: gRPC does not survive a fork. A program that is
    executed anew can.
    """

    def __init__(self, access: Access, first: int | None = None) -> None:
        self.where = access.where
        every = [Endpoint(address, access.tls) for address in access.addresses]
        # Clients begin with different members, so that not all watch the same one.
        endpoints = Endpoints(every, random.randrange(len(every)) if first is None else first)  # noqa: S311 - for balance only
        self._caller = EtcdClient(self.where, endpoints, Login(access.user, access.password))
        self._transactions = Transactions(self._caller, self._read)
        self._watches: weakref.WeakSet[EtcdWatch] = weakref.WeakSet()
        self._state = threading.Lock()

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """The items of these keys that exist, all at one revision."""
        return self._noted(self._read(sorted(set(keys)), 0, Deadline(timeout)))

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """All items whose key starts with ``prefix``, all at one revision."""
        deadline = Deadline(timeout)
        while True:
            try:
                return self._noted(self._range(prefix, deadline))
            except Compacted as error:  # between two pages
                if not deadline.remaining():
                    raise KeystoreUnavailable(where=self.where, why=f"{error}: no time left") from error

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """If every compare holds, do every op, at once and durably; else do nothing.

        Raises TooManyOperations beyond what etcd takes. KeystoreUnavailable with the field ``unknown`` says that it may have been done.
        """
        check_ops(ops)
        result = self._transactions.run(compares, ops, Deadline(timeout))
        if not (result.ok and any(isinstance(op, PutKey) for op in ops)):  # what is put, watches are sent
            self._note(result.revision)
        return result

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Changes under ``prefix`` with a revision greater than ``after_revision``."""
        with self._state:
            self._caller.require_open()
            made = EtcdWatch(self._caller, prefix, after_revision)
            self._watches.add(made)
        return made

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A new lease that ends ``ttl`` seconds, rounded up to whole ones, after its last renewal; its number, never 0."""
        check_ttl(ttl)
        lease = 1 + secrets.randbits(62)  # our own choice, so that asking again makes no second one
        try:
            self._caller.ask("LeaseGrant", to.grant(lease, ceil(ttl)), Deadline(timeout), refusals=("FAILED_PRECONDITION",))
        except Refused as error:
            if "already exists" not in error.failure.details:
                raise self._caller.refusal(error) from error
        return lease

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start the lease's ttl anew; ``False`` when the lease has already ended."""
        reply = self._caller.ask("LeaseKeepAlive", to.renewal(lease), Deadline(timeout))
        return bool(reply.TTL > 0)

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End a lease now; its keys are deleted. Revoking an ended lease succeeds."""
        with suppress(Refused):
            self._caller.ask("LeaseRevoke", to.revocation(lease), Deadline(timeout), refusals=("NOT_FOUND",))

    def close(self) -> None:
        """End every watch and every call; further calls raise ``KeystoreUnavailable``."""
        with self._state:
            for watch in list(self._watches):
                watch.close()
            self._caller.close()

    def _read(self, keys: Sequence[str], revision: int, deadline: Deadline) -> Snapshot:
        """Keys at a revision (0: now). Raises Compacted when it is too old."""
        items: list[Item] = []
        for start in range(0, len(keys) or 1, MOST_OPERATIONS):
            request = to.several(keys[start : start + MOST_OPERATIONS] or [to.HOME], revision)
            reply: TxnReply = self._ask_at(revision, "Txn", request, deadline)
            items += to.found(reply) if keys else ()
            revision = revision or reply.header.revision
        return Snapshot(tuple(items), revision)

    def _range(self, prefix: str, deadline: Deadline) -> Snapshot:
        items: list[Item] = []
        revision, more = 0, True
        first, beyond = to.interval(prefix)
        while more:
            reply: RangeReply = self._ask_at(revision, "Range", to.page(first, beyond, PAGE, revision), deadline)
            items += to.items_of(reply)
            revision, more = revision or reply.header.revision, reply.more
            first = reply.kvs[-1].key + b"\0" if more else b""
        return Snapshot(tuple(items), revision)

    def _ask_at(self, revision: int, method: str, request: Any, deadline: Deadline) -> Any:
        try:
            return self._caller.ask(method, request, deadline, refusals=OUT_OF_RANGE)
        except Refused as error:
            if "compacted" not in error.failure.details:
                raise self._caller.refusal(error) from error
            raise Compacted(wanted=revision, oldest=revision + 1) from error

    def _noted(self, snapshot: Snapshot) -> Snapshot:
        self._note(snapshot.revision)
        return snapshot

    def _note(self, revision: int) -> None:
        """The store has come to this revision: watches are to notice soon, even if it was not under their prefix."""
        for watch in list(self._watches):
            watch.expect(revision)
