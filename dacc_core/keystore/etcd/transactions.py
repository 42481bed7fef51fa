"""Transactions on etcd: one request each, unless an answer is lost. Then it is found out what became of the transaction.

It was done, or was not, or lies somewhere and will still be done. Three things decide which:

- **Doing it again.** A transaction that compares a key which it also changes can take effect once only: afterwards its own compare fails,
  for good, since mod revisions only grow. So it may be sent again, and when that succeeds, it was not done before and will not be done
  later. One without such a compare is sent again on the condition that one of its keys was not written since before the first try, which
  is as good. (A key compared as absent that someone deletes again in the meantime is absent again: a late first try would make it anew.)
- **The keys now.** When the second try fails, a key that the transaction would have changed and that is older than the first try
  proves that it was not done.
- **The keys before.** etcd keeps history. The transaction was done at revision R exactly if all of its keys were at R as it would have
  written them. R is one of the revisions that its keys show now or, since others may have written them again, showed before: the history
  of a key that was compared is followed back to the revision it was compared with. If none of these is R, it was not done.

What is left is unknown, and is reported as such: deletions without a put, a key that is absent again, history that was compacted. Two
transactions that would write the same bytes to the same keys at the same moment cannot be told apart; both may be reported as successful.
dacc's records contain who wrote them, or belong to one session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...errors import Compacted, DaccError, KeystoreUnavailable, NotFound, TooLarge, TooManyOperations
from ..base import Compare, Item, Op, PutKey, Snapshot, TxnResult
from ..shared import StoreDeadline
from .client import EtcdClient
from .failures import AnswerLost, RequestRefused
from .protocol import TxnResponse, decode_txn_items, txn_request

MAX_TXN_OPS = 128
MAX_REQUEST_BYTES = 3 << 19
"""etcd's defaults: --max-txn-ops, --max-request-bytes."""

UNKNOWN = "it is not known whether the transaction was done: look before doing it again"
REFUSALS = ("NOT_FOUND", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")

MAX_VERSIONS = 16
"""How many earlier versions of a key are read, at most."""


class ReadKeys(Protocol):
    """Reads keys as they were at a revision (0: as they are). Raises Compacted."""

    def __call__(self, keys: Sequence[str], revision: int, deadline: StoreDeadline) -> Snapshot: ...


class EtcdTransactions:
    """Does transactions, and finds out what became of one whose answer was lost."""

    def __init__(self, client: EtcdClient, read: ReadKeys) -> None:
        self._client, self._read = client, read

    def run(self, compares: Sequence[Compare], ops: Sequence[Op], deadline: StoreDeadline) -> TxnResult:
        """The outcome. KeystoreUnavailable if it was certainly not done, or if that is unknown: it then has ``unknown``."""
        attempt = TxnAttempt(compares, ops, self._client.revision)
        try:
            return self._send(attempt, None, deadline, resend=not ops)
        except AnswerLost as lost:
            unknown = KeystoreUnavailable(where=self._client.where, why=f"{lost.failure}: {UNKNOWN}", unknown=True)
        try:
            result = self._find_outcome(attempt, deadline)
        except (KeystoreUnavailable, Compacted) as error:
            raise unknown from error
        if result is None:
            raise unknown
        return result

    def _send(self, attempt: TxnAttempt, unwritten: Compare | None, deadline: StoreDeadline, *, resend: bool) -> TxnResult:
        request = txn_request(attempt.compares, attempt.ops, unwritten)
        try:
            response: TxnResponse = self._client.call("Txn", request, deadline, resend=resend, refusals=REFUSALS)
        except RequestRefused as error:
            raise self._explain(attempt, request, error) from error
        current = {} if response.succeeded else attempt.compared_items(decode_txn_items(response))
        return TxnResult(response.succeeded, response.header.revision, current)

    def _find_outcome(self, attempt: TxnAttempt, deadline: StoreDeadline) -> TxnResult | None:
        """The outcome after a lost answer, or ``None`` if it stays unknown."""
        while deadline.remaining():
            result = self._send_again(attempt, deadline)
            if result is not None and result.ok:
                return result
            snapshot = self._read(attempt.keys, 0, deadline)
            if not attempt.is_undone_in(snapshot):
                search = search_history(attempt, snapshot, self._read, deadline)
                if search.revision:
                    return TxnResult(True, search.revision)
                if not search.certain:
                    return None
            if not attempt.holds_in(snapshot):
                return TxnResult(False, snapshot.revision, attempt.compared_items(snapshot.items))
            attempt = attempt.undone_until(snapshot.revision)
        return None

    def _send_again(self, attempt: TxnAttempt, deadline: StoreDeadline) -> TxnResult | None:
        if attempt.guards:
            return self._send(attempt, None, deadline, resend=True)
        if attempt.unwritten is None:
            return None
        return self._send(attempt, attempt.unwritten, deadline, resend=True)

    def _explain(self, attempt: TxnAttempt, request: Any, refused: RequestRefused) -> DaccError:
        details = refused.failure.details
        if "lease not found" in details:
            leased = [op for op in attempt.ops if isinstance(op, PutKey) and op.lease]
            return NotFound(why=" or ".join(f"lease {op.lease} of key {op.key}" for op in leased) + " has ended")
        if "too many operations" in details:
            count = max(len(attempt.compares), len(attempt.ops))
            hint = "ask for fewer hosts, or raise etcd's --max-txn-ops"
            return TooManyOperations(what="a transaction", count=count, limit=MAX_TXN_OPS, hint=hint)
        if "too large" in details or "larger than max" in details:
            hint = "raise etcd's --max-request-bytes"
            return TooLarge(what="a transaction", size=request.ByteSize(), limit=MAX_REQUEST_BYTES, hint=hint)
        return self._client.refusal(refused)


@dataclass(frozen=True, slots=True)
class TxnAttempt:
    """A transaction that was sent. ``since``: a revision that the store had before the first try; 0 if none is known."""

    compares: Sequence[Compare]
    ops: Sequence[Op]
    since: int

    @property
    def keys(self) -> list[str]:
        """Every key that it names."""
        return sorted({*(compare.key for compare in self.compares), *(op.key for op in self.ops)})

    @property
    def guards(self) -> dict[str, int]:
        """The keys that it compares and always changes, with the revision compared."""
        compared = {compare.key: compare.mod_revision for compare in self.compares}
        return {op.key: compared[op.key] for op in self.ops if op.key in compared and (compared[op.key] or isinstance(op, PutKey))}

    @property
    def unwritten(self) -> Compare | None:
        """The condition that makes a second try harmless if there is no guard: a key that the first one would have changed."""
        keys = [op.key for op in self.ops if isinstance(op, PutKey)] or [op.key for op in self.ops]
        return Compare(keys[0], self.since) if keys and self.since else None

    @property
    def floor(self) -> int:
        """It can only have been done at a greater revision."""
        return max([self.since, *(compare.mod_revision for compare in self.compares)])

    def compared_items(self, items: Sequence[Item]) -> dict[str, Item | None]:
        """What these items hold for each key that it compares."""
        by_key = {item.key: item for item in items}
        return {compare.key: by_key.get(compare.key) for compare in self.compares}

    def holds_in(self, snapshot: Snapshot) -> bool:
        """Whether every compare is true."""
        revisions = _mod_revisions(snapshot)
        return all(revisions.get(compare.key, 0) == compare.mod_revision for compare in self.compares)

    def is_undone_in(self, snapshot: Snapshot) -> bool:
        """Whether a key that it changes was not changed."""
        revisions = _mod_revisions(snapshot)
        return any(op.key in revisions and revisions[op.key] <= self.guards.get(op.key, self.since) for op in self.ops)

    def is_done_in(self, snapshot: Snapshot) -> bool:
        """Whether all its keys are as it leaves them, written at the snapshot's revision."""
        by_key = {item.key: item for item in snapshot.items}
        return all(_is_written(op, by_key.get(op.key), snapshot.revision) for op in self.ops)

    def candidates(self, snapshot: Snapshot) -> set[int]:
        """The revisions of the keys that it puts, as far as they may be its own."""
        revisions = _mod_revisions(snapshot)
        put = {revisions.get(op.key, 0) for op in self.ops if isinstance(op, PutKey)}
        return {revision for revision in put if revision > self.floor} if self.floor else set()

    def undone_until(self, revision: int) -> TxnAttempt:
        """The same transaction, known not to have been done up to here."""
        return replace(self, since=max(self.since, revision))


def _mod_revisions(snapshot: Snapshot) -> dict[str, int]:
    return {item.key: item.mod_revision for item in snapshot.items}


def _is_written(op: Op, item: Item | None, revision: int) -> bool:
    if not isinstance(op, PutKey):
        return item is None
    return item == Item(op.key, op.value, revision, op.lease)


@dataclass(frozen=True, slots=True)
class HistorySearch:
    """The revision at which a transaction was done (0: none), and whether it is certain that there is no other."""

    revision: int
    certain: bool


def search_history(attempt: TxnAttempt, snapshot: Snapshot, read: ReadKeys, deadline: StoreDeadline) -> HistorySearch:
    """Search etcd's history for the revision at which the transaction was done."""
    try:
        versions, complete = _versions(attempt, snapshot, read, deadline)
        for revision in sorted(attempt.candidates(snapshot).union(versions)):
            if attempt.is_done_in(read(attempt.keys, revision, deadline)):
                return HistorySearch(revision, True)
    except Compacted:
        return HistorySearch(0, False)
    return HistorySearch(0, complete)


def _versions(attempt: TxnAttempt, snapshot: Snapshot, read: ReadKeys, deadline: StoreDeadline) -> tuple[list[int], bool]:
    """The revisions that wrote one guard since it was compared, latest first, and whether these are all."""
    current = _mod_revisions(snapshot)
    key, compared = next(((key, compared) for key, compared in attempt.guards.items() if compared and key in current), ("", 0))
    versions: list[int] = []
    revision = current.get(key, 0)
    while revision > compared and len(versions) < MAX_VERSIONS:
        versions.append(revision)
        revision = _mod_revisions(read([key], revision - 1, deadline)).get(key, 0)
    return versions, bool(key) and revision == compared
