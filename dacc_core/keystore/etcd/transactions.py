"""Transactions on etcd: one request each, unless an answer is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dacc_core.errors import Compacted, DaccError, KeystoreUnavailable, NotFound, TooLarge, TooManyOperations

from ..base import Compare, Op, PutKey, TxnResult
from ..shared import Deadline
from . import messages as to
from .calls import EtcdClient
from .failures import AnswerLost, Refused
from .inquiry import Asked, Read, search
from .protocol import TxnReply

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
