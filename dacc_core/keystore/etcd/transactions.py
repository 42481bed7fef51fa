"""Transactions on etcd: one request each, unless an answer is lost.

What became of a transaction whose answer was lost.

It was done, or was not, or lies somewhere and will still be done. Three things tell which:

- **Doing it again.** A transaction that compares a key which it also changes can take effect once only: afterwards its own compare fails,
  for good, since mod revisions only grow. So it may be sent again, and when that succeeds, it was not done before and will not be done
  later. One without such a compare is sent again on the condition that one of its keys was not written since before the first try, which
  is as good. (A key compared as absent that someone deletes again in the meantime is absent again: a late first try would make it anew.)
- **What is there now.** When the second try fails, a key that the transaction would have changed and that is older than the first try
  proves that it was not done.
- **What was there.** etcd keeps history. The transaction was done at revision R exactly if all of its keys were at R as it would have
  written them. R is one of the revisions that its keys show now or, since others may have written them again, showed before: the history
  of a key that was compared is followed back to the revision it was compared with. If none of these is R, it was not done.

What is left is unknown, and is said to be: deletions without a put, a key that is absent again, history that was compacted. Two
transactions that would write the same bytes to the same keys at the same moment cannot be told apart; both may be told that they succeeded.
dacc's records say who wrote them, or belong to one session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dacc_core.errors import Compacted, DaccError, KeystoreUnavailable, NotFound, TooLarge, TooManyOperations

from ..base import Compare, Item, Op, PutKey, Snapshot, TxnResult
from ..shared import Deadline
from . import protocol as to
from .client import EtcdClient
from .failures import AnswerLost, Refused
from .protocol import TxnReply

STEPS_BACK = 16
"""How many earlier versions of a key are looked at, at most."""


class Read(Protocol):
    """Reads keys as they were at a revision (0: as they are). Raises Compacted."""

    def __call__(self, keys: Sequence[str], revision: int, deadline: Deadline) -> Snapshot: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The transaction. ``since``: a revision that the store had before the first try; 0 when none is known."""

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
        """What makes a second try harmless when there is no guard: a key that the first one would have changed."""
        keys = [op.key for op in self.ops if isinstance(op, PutKey)] or [op.key for op in self.ops]
        return Compare(keys[0], self.since) if keys and self.since else None

    @property
    def floor(self) -> int:
        """It can only have been done at a greater revision."""
        return max([self.since, *(compare.mod_revision for compare in self.compares)])

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether every compare does."""
        there = _revisions(snapshot)
        return all(there.get(compare.key, 0) == compare.mod_revision for compare in self.compares)

    def is_undone_in(self, snapshot: Snapshot) -> bool:
        """Whether a key that it changes was not changed."""
        there = _revisions(snapshot)
        return any(op.key in there and there[op.key] <= self.guards.get(op.key, self.since) for op in self.ops)

    def is_done_in(self, snapshot: Snapshot) -> bool:
        """Whether all its keys are as it leaves them, written at the snapshot's revision."""
        there = {item.key: item for item in snapshot.items}
        return all(_as_written(op, there.get(op.key), snapshot.revision) for op in self.ops)

    def traces(self, snapshot: Snapshot) -> set[int]:
        """The revisions of keys that it puts."""
        there = _revisions(snapshot)
        found = {there.get(op.key, 0) for op in self.ops if isinstance(op, PutKey)}
        return {revision for revision in found if revision > self.floor} if self.floor else set()

    def after(self, snapshot: Snapshot) -> Asked:
        """The same transaction when it is known that it was not done up to here."""
        return replace(self, since=max(self.since, snapshot.revision))


def _revisions(snapshot: Snapshot) -> dict[str, int]:
    return {item.key: item.mod_revision for item in snapshot.items}


def _as_written(op: Op, item: Item | None, revision: int) -> bool:
    if not isinstance(op, PutKey):
        return item is None
    return item == Item(op.key, op.value, revision, op.lease)


@dataclass(frozen=True, slots=True)
class Finding:
    """The revision at which the transaction was done (0: none found), and whether it is certain that there is no other."""

    revision: int
    certain: bool


def search(asked: Asked, snapshot: Snapshot, read: Read, deadline: Deadline) -> Finding:
    """Look through the history for the revision at which it was done."""
    try:
        followed, complete = _history(asked, snapshot, read, deadline)
        for revision in sorted(asked.traces(snapshot).union(followed)):
            if asked.is_done_in(read(asked.keys, revision, deadline)):
                return Finding(revision, True)
    except Compacted:
        return Finding(0, False)
    return Finding(0, complete)


def _history(asked: Asked, snapshot: Snapshot, read: Read, deadline: Deadline) -> tuple[list[int], bool]:
    """The revisions that wrote one compared key since it was compared, and whether these are all."""
    there = _revisions(snapshot)
    key, compared = next(((key, compared) for key, compared in asked.guards.items() if compared and key in there), ("", 0))
    found: list[int] = []
    revision = there.get(key, 0)
    while revision > compared and len(found) < STEPS_BACK:
        found.append(revision)
        revision = _revisions(read([key], revision - 1, deadline)).get(key, 0)
    return found, bool(key) and revision == compared


MOST_OPERATIONS = 128
MOST_BYTES = 3 << 19
"""What etcd takes unless told otherwise: --max-txn-ops, --max-request-bytes."""

UNKNOWN = "it is not known whether the transaction was done: look before doing it again"


class Transactions:
    """Does transactions, and finds out what became of one whose answer was lost: see :mod:`.etcd_inquiry`."""

    def __init__(self, caller: EtcdClient, read: Read) -> None:
        self._caller, self._read = caller, read

    def run(self, compares: Sequence[Compare], ops: Sequence[Op], deadline: Deadline) -> TxnResult:
        """The outcome. KeystoreUnavailable when it was surely not done, or when it could not be found out: it then has ``unknown``."""
        asked = Asked(compares, ops, self._caller.revision)
        try:
            return self._ask(asked, to.transaction(compares, ops), deadline, resend=not ops)
        except AnswerLost as lost:
            unknown = self._unknown(lost)
        try:
            result = self._find_out(asked, deadline)
        except (KeystoreUnavailable, Compacted) as error:
            raise unknown from error
        if result is None:
            raise unknown
        return result

    def _ask(self, asked: Asked, request: Any, deadline: Deadline, *, resend: bool) -> TxnResult:
        refusals = ("NOT_FOUND", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
        try:
            reply: TxnReply = self._caller.ask("Txn", request, deadline, resend=resend, refusals=refusals)
        except Refused as error:
            raise self._explain(asked, request, error) from error
        current = {} if reply.succeeded else to.current(reply, asked.compares)
        return TxnResult(reply.succeeded, reply.header.revision, current)

    def _find_out(self, asked: Asked, deadline: Deadline) -> TxnResult | None:
        """The outcome, or ``None`` when nothing tells."""
        while deadline.remaining():
            result = self._try_again(asked, deadline)
            if result is not None and result.ok:
                return result
            snapshot = self._read(asked.keys, 0, deadline)
            if not asked.is_undone_in(snapshot):
                finding = search(asked, snapshot, self._read, deadline)
                if finding.revision:
                    return TxnResult(True, finding.revision)
                if not finding.certain:
                    return None
            if not asked.holds(snapshot):
                there = {item.key: item for item in snapshot.items}
                return TxnResult(False, snapshot.revision, {compare.key: there.get(compare.key) for compare in asked.compares})
            asked = asked.after(snapshot)
        return None

    def _try_again(self, asked: Asked, deadline: Deadline) -> TxnResult | None:
        if asked.guards:
            return self._ask(asked, to.transaction(asked.compares, asked.ops), deadline, resend=True)
        if asked.unwritten is None:
            return None
        return self._ask(asked, to.transaction(asked.compares, asked.ops, asked.unwritten), deadline, resend=True)

    def _unknown(self, lost: AnswerLost) -> KeystoreUnavailable:
        return KeystoreUnavailable(where=self._caller.where, why=f"{lost.failure}: {UNKNOWN}", unknown=True)

    def _explain(self, asked: Asked, request: Any, refused: Refused) -> DaccError:
        details = refused.failure.details
        if "lease not found" in details:
            return NotFound(why=_ended(asked.ops))
        if "too many operations" in details:
            count = max(len(asked.compares), len(asked.ops))
            hint = "ask for fewer hosts, or raise etcd's --max-txn-ops"
            return TooManyOperations(what="a transaction", count=count, limit=MOST_OPERATIONS, hint=hint)
        if "too large" in details or "larger than max" in details:
            return TooLarge(what="a transaction", size=request.ByteSize(), limit=MOST_BYTES, hint="raise etcd's --max-request-bytes")
        return self._caller.refusal(refused)


def _ended(ops: Sequence[Op]) -> str:
    leased = [op for op in ops if isinstance(op, PutKey) and op.lease]
    return " or ".join(f"lease {op.lease} of key {op.key}" for op in leased) + " has ended"
