"""The contract's terms as etcd's messages, and back. Keys are UTF-8 there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..base import Change, Compare, Item, Op, PutKey
from .protocol import Event, KeyValue, RangeReply, TxnReply, WatchReply
from .types import messages

HOME = "/dacc/"
"""Whoever may use the store at all may read here: what is asked for when only the answer's revision matters."""

DELETED = 1


def encoded(key: str) -> bytes:
    """A key as etcd has it. What is no UTF-8 (another program's) survives both ways."""
    return key.encode("utf-8", "surrogateescape")


def item_of(stored: KeyValue) -> Item:
    """A key as the contract has it."""
    return Item(stored.key.decode("utf-8", "surrogateescape"), stored.value, stored.mod_revision, stored.lease)


def items_of(reply: RangeReply) -> tuple[Item, ...]:
    """All items of an answer."""
    return tuple(map(item_of, reply.kvs))


# --- reading ---


def interval(prefix: str) -> tuple[bytes, bytes]:
    """The first key and the first beyond of all that start with a prefix; a zero byte as second stands for no end."""
    first = encoded(prefix)
    stem = first.rstrip(b"\xff")
    return first or b"\0", stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def page(first: bytes, beyond: bytes, limit: int, revision: int) -> Any:
    """Part of a prefix as it was at a revision (0: as it is)."""
    return messages.RangeRequest(key=first, range_end=beyond, limit=limit, revision=revision)


def one(key: str, revision: int = 0) -> Any:
    """One key."""
    return messages.RangeRequest(key=encoded(key), revision=revision)


def several(keys: Iterable[str], revision: int = 0) -> Any:
    """Several keys at one revision. A transaction of ranges, as etcd would answer one without any from memory that may be old."""
    return messages.TxnRequest(success=[messages.RequestOp(request_range=one(key, revision)) for key in keys])


def found(reply: TxnReply) -> tuple[Item, ...]:
    """The items that a transaction of ranges found."""
    return tuple(item for answer in reply.responses for item in items_of(answer.response_range))


# --- writing ---


def transaction(compares: Sequence[Compare], ops: Sequence[Op], unwritten: Compare | None = None) -> Any:
    """A transaction that returns the compared keys when a compare fails. ``unwritten``: only if this key was not written since then."""
    return messages.TxnRequest(
        compare=[*map(_compare, compares), *([_not_after(unwritten)] if unwritten else [])],
        # Without an operation, ask for something: etcd would answer an empty transaction from memory that may be old.
        success=[*map(_operation, ops)] or [messages.RequestOp(request_range=one(compares[0].key if compares else HOME))],
        failure=[messages.RequestOp(request_range=one(compare.key)) for compare in compares],
    )


def current(reply: TxnReply, compares: Sequence[Compare]) -> dict[str, Item | None]:
    """The compared keys as a failed transaction found them."""
    found = {item.key: item for answer in reply.responses for item in items_of(answer.response_range)}
    return {compare.key: found.get(compare.key) for compare in compares}


def _compare(compare: Compare) -> Any:
    return _by_revision(compare.key, messages.Compare.EQUAL, compare.mod_revision)


def _not_after(compare: Compare) -> Any:
    return _by_revision(compare.key, messages.Compare.LESS, compare.mod_revision + 1)


def _by_revision(key: str, result: int, revision: int) -> Any:
    return messages.Compare(key=encoded(key), target=messages.Compare.MOD, result=result, mod_revision=revision)


def _operation(op: Op) -> Any:
    if isinstance(op, PutKey):
        return messages.RequestOp(request_put=messages.PutRequest(key=encoded(op.key), value=op.value, lease=op.lease))
    return messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=encoded(op.key)))


# --- leases ---


def grant(lease: int, seconds: int) -> Any:
    """A lease with a number of our choice."""
    return messages.LeaseGrantRequest(ID=lease, TTL=seconds)


def renewal(lease: int) -> Any:
    """One sign of life."""
    return messages.LeaseKeepAliveRequest(ID=lease)


def revocation(lease: int) -> Any:
    """The end of a lease."""
    return messages.LeaseRevokeRequest(ID=lease)


# --- watching ---


def watch(prefix: str, after_revision: int) -> Any:
    """All changes under a prefix since a revision. Not in fragments, so that each answer holds whole revisions."""
    first, beyond = interval(prefix)
    request = messages.WatchCreateRequest(key=first, range_end=beyond, start_revision=after_revision + 1)
    return messages.WatchRequest(create_request=request)


def progress() -> Any:
    """Asks how far a watch is. etcd 3.4 knows it as an empty field 3 of the request; the messages of 3.3 carry it as an unknown one."""
    return messages.WatchRequest.FromString(b"\x1a\x00")


def changes_of(reply: WatchReply) -> tuple[Change, ...]:
    """What happened, in etcd's order."""
    return tuple(map(_change, reply.events))


def _change(event: Event) -> Change:
    item = item_of(event.kv)
    return Change(item.key, None if event.type == DELETED else item, item.mod_revision)
