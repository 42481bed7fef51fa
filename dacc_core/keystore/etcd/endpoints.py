"""The members of an etcd cluster as we know them: a connection to each, and whom to ask first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .protocol import Channel, Tls


class _Connection:
    """A channel and how many use it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.uses = 0


class Endpoint:
    """One member. After a failure it gets a new channel, which connects at once and with the certificates as they are now."""

    def __init__(self, name: str, tls: Callable[[], Tls | None]) -> None:
        self.name = name
        self._tls = tls
        self._lock = threading.Lock()
        self._current: _Connection | None = None
        self._open: set[_Connection] = set()

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """The channel, which stays open at least as long as this lasts. Raises RpcFailure when there can be none."""
        connection = self._take()
        try:
            yield connection.channel
        finally:
            self._give_back(connection)

    def retire(self, channel: Channel) -> None:
        """This channel does not work: use it no more. Calls in other threads may still come to an end; the last one closes it."""
        with self._lock:
            if self._current is not None and self._current.channel is channel:
                self._current = None

    def close(self) -> None:
        """End every call."""
        with self._lock:
            for connection in self._open:
                connection.channel.close()

    def _take(self) -> _Connection:
        with self._lock:
            if self._current is None:
                self._current = _Connection(Channel(self.name, self._tls()))
                self._open.add(self._current)
            self._current.uses += 1
            return self._current

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            connection.uses -= 1
            unused = not connection.uses and connection is not self._current
            if unused:
                self._open.discard(connection)
        if unused:
            connection.channel.close()


class Endpoints:
    """All members, the last good one first."""

    def __init__(self, every: Sequence[Endpoint], first: int = 0) -> None:
        self._every = list(every)
        self._first = first

    def in_order(self) -> list[Endpoint]:
        """Each endpoint once, in the order in which to ask them."""
        first = self._first
        return self._every[first:] + self._every[:first]

    def good(self, endpoint: Endpoint) -> None:
        """It answered: ask it first."""
        self._first = self._every.index(endpoint)

    def bad(self, endpoint: Endpoint) -> None:
        """It failed: ask the next one first, unless another is first already."""
        place = self._every.index(endpoint)
        if place == self._first:
            self._first = (place + 1) % len(self._every)

    def close(self) -> None:
        """End every call."""
        for endpoint in self._every:
            endpoint.close()
