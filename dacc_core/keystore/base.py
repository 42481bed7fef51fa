"""The keystore contract: what every backend does, in etcd's terms.

A store maps keys (``str``) to values (``bytes``). Each committed transaction that changes anything
raises the store's *revision* by one; each item remembers the revision that last wrote it
(``mod_revision``). An absent key compares as revision 0.

Every call takes ``timeout`` in seconds and raises :class:`~dacc_core.errors.KeystoreUnavailable` when it
passes; no call waits forever. Objects may be used from several threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

DEFAULT_TIMEOUT = 5.0


# A store makes one for each key: msgspec's Structs are made many times faster than dataclasses.
class Item(msgspec.Struct, frozen=True, gc=False):
    """A key with its value and the revision that wrote it. ``lease`` is 0 without one."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Items as they were at one revision of the store, in key order."""

    items: tuple[Item, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Compare:
    """True when the key was last written at ``mod_revision``; 0 means that it is absent."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class PutKey:
    """Write a value, attached to ``lease`` unless that is 0 (the key is deleted when the lease ends)."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Delete a key; deleting an absent one succeeds and changes nothing."""

    key: str


Op = PutKey | DeleteKey


@dataclass(frozen=True, slots=True)
class TxnResult:
    """The outcome of a transaction.

    When ``ok``, everything was written at ``revision``. Otherwise nothing was written, and ``current`` holds, for each
    key compared, its current item (``None`` when absent).
    """

    ok: bool
    revision: int
    current: Mapping[str, Item | None] = field(default_factory=dict)


class Change(msgspec.Struct, frozen=True):
    """What a transaction did to one key: the new item, or ``None`` when it was deleted (or its lease ended)."""

    key: str
    item: Item | None
    revision: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes under a watched prefix, in revision order, whole revisions only.

    ``revision`` is the store's revision up to which the watch has come; an empty batch means that nothing under
    the prefix changed up to there, and that the store is alive.
    """

    changes: tuple[Change, ...]
    revision: int


class Watch(Protocol):
    """A subscription to the changes under a prefix."""

    def next(self, timeout: float) -> Batch | None:
        """The next batch, or ``None`` after ``timeout`` seconds without one.

        A backend sends an empty batch at least every second while the store is alive, so ``None`` means that it may be down.
        Resumes by itself after a lost connection. Raises :class:`~dacc_core.errors.Compacted` when the history it needs was compacted, and
        :class:`~dacc_core.errors.KeystoreUnavailable` when the store cannot be read (``next`` may be called again).
        """
        ...

    def close(self) -> None:
        """End the subscription; a ``next`` that waits in another thread returns ``None`` soon."""
        ...


class Keystore(Protocol):
    """One store; ``where`` is its name in messages."""

    where: str

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """The items of these keys that exist, all at one revision."""
        ...

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """All items whose key starts with ``prefix``, all at one revision."""
        ...

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """If every compare holds, do every op, at once and durably; else do nothing.

        No key may be in two ops. Putting under a lease that has ended raises :class:`~dacc_core.errors.NotFound`.
        """
        ...

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """Changes under ``prefix`` with a revision greater than ``after_revision``."""
        ...

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A new lease that ends ``ttl`` seconds after its last renewal; its number, never 0."""
        ...

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start the lease's ttl anew; ``False`` when the lease has already ended."""
        ...

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """End a lease now; its keys are deleted. Revoking an ended lease succeeds."""
        ...

    def close(self) -> None:
        """Release connections and files; leases live on until they end."""
        ...
