"""A transaction in the making, over a view."""

from __future__ import annotations

from dataclasses import dataclass

from ..keystore.base import Compare, DeleteKey, Op, PutKey
from ..values import Record
from . import keys
from .view import View

MOST_CHANGES = 100
"""Records of a kind that one transaction changes at most: etcd refuses more than 128 operations, and others come with them."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Do this transaction; the reply is its :class:`~dacc_core.keystore.base.TxnResult`."""

    compares: tuple[Compare, ...]
    ops: tuple[Op, ...]


class TransactionBuilder:
    """A transaction in the making, over a view: every record that is touched is also compared."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._compares: dict[str, Compare] = {}
        self._ops: dict[str, Op] = {}

    def expect(self, kind: str, name: str = "") -> TransactionBuilder:
        """Only if this record is still as the view has it (or still absent)."""
        full = _key(kind, name)
        self._compares[full] = Compare(full, self._view.revision_of(kind, name))
        return self

    def put(self, record: Record, kind: str, name: str = "", *, lease: int = 0) -> TransactionBuilder:
        """Write a record, if it is still as the view has it."""
        full = _key(kind, name)
        self._ops[full] = PutKey(full, keys.encode(record), lease)
        return self.expect(kind, name)

    def delete(self, kind: str, name: str = "", *, expect: bool = True) -> TransactionBuilder:
        """Delete a record, if it is still as the view has it."""
        full = _key(kind, name)
        self._ops[full] = DeleteKey(full)
        return self.expect(kind, name) if expect else self

    def commit(self) -> Commit:
        """The transaction as an operation."""
        return Commit(tuple(self._compares.values()), tuple(self._ops.values()))


def _key(kind: str, name: str) -> str:
    return keys.key(kind, name) if name else keys.key(kind)
