"""What the backends share: deadlines, checks of arguments, the end of a prefix."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .base import Op

# A watch returns an empty batch at least every second; half of that leaves room for a slow machine.
HEARTBEAT = 0.5


class StoreDeadline:
    """A moment on the monotonic clock, made from a call's ``timeout``."""

    __slots__ = ("moment", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.moment = time.monotonic() + timeout

    def remaining(self) -> float:
        """Seconds left, never negative (a lock takes a negative timeout for "wait for ever")."""
        return max(0.0, self.moment - time.monotonic())


def check_ops(ops: Sequence[Op]) -> None:
    """Refuse a transaction that names a key twice: its outcome would depend on the backend's order."""
    keys = [op.key for op in ops]
    if len(set(keys)) != len(keys):
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"keys in more than one operation of a transaction: {', '.join(repeated)}")


def check_ttl(ttl: float) -> None:
    """Refuse a lease that would end before it is granted."""
    if not ttl > 0:
        raise ValueError(f"a lease needs a positive ttl, not {ttl!r}")


def prefix_end(prefix: str) -> str | None:
    """The smallest string greater than every string that starts with ``prefix``; ``None`` when there is no end."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    # Surrogates are not characters: they have no UTF-8 form, which is what SQLite compares.
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)
