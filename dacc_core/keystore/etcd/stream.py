"""One stream of one watch: what etcd sends, on its way into the feed."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from dacc_core.errors import Compacted

from ..base import Change
from . import messages as to
from .feed import Feed
from .protocol import Channel, Metadata, RpcFailure, WatchReply

UNSETTLED_SECONDS = 0.5
"""etcd looks every 0.1 s for the past of watches that begin there; any may, whatever revision it says it began at."""


class Stream:
    """Reads in a thread of its own. What comes is held back until :meth:`release` says that the history before it is whole.

    :attr:`failure` tells that it has ended. Like the feed, it is used while ``feed.changed`` is held.
    """

    def __init__(self, channel: Channel, prefix: str, feed: Feed, metadata: Metadata) -> None:
        self.failure: RpcFailure | None = None
        self.begun = False
        self.progress = self.answers = 0
        self._feed, self._start = feed, feed.seen
        self._begun_at = 0.0
        self._held: list[tuple[Change, ...]] | None = []
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(to.watch(prefix, self._start))
        self._call = channel.stream("Watch", self._sent(), metadata)
        threading.Thread(target=self._read, name="etcd-stream", daemon=True).start()

    @property
    def settled(self) -> bool:
        """Whether a watch that began in the past has surely come to the present."""
        return self.begun and time.monotonic() >= self._begun_at + UNSETTLED_SECONDS

    def ask_progress(self) -> None:
        """Ask how far it is; the answer raises :attr:`answers` and sets :attr:`progress`."""
        self._requests.put(to.progress())

    def release(self) -> None:
        """Let through what was held back and all that comes."""
        held, self._held = self._held or [], None
        for changes in held:
            self._feed.add(changes)

    def cancel(self) -> None:
        """End it; never waits."""
        self._call.cancel()
        self._requests.put(None)

    def _sent(self) -> Iterator[Any]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        failure = RpcFailure("UNAVAILABLE", "etcd ended the watch")
        try:
            for reply in self._call:
                with self._feed.changed:
                    self._feed.changed.wait_for(lambda: not self._feed.full)
                    self._take(reply)
        except RpcFailure as error:
            failure = error
        finally:
            with self._feed.changed:
                self.failure = self.failure or failure
                self._feed.changed.notify_all()

    def _take(self, reply: WatchReply) -> None:
        if reply.canceled:
            self._end(reply)
        elif reply.created:
            self.begun, self._begun_at = True, time.monotonic()
        elif not reply.events:
            self.progress, self.answers = reply.header.revision, self.answers + 1
        elif self._held is not None:
            self._held.append(to.changes_of(reply))
        else:
            self._feed.add(to.changes_of(reply))
        self._feed.changed.notify_all()

    def _end(self, reply: WatchReply) -> None:
        if reply.compact_revision:
            self._feed.lose(Compacted(wanted=self._start + 1, oldest=reply.compact_revision))
        self.failure = RpcFailure("CANCELLED", reply.cancel_reason or "etcd cancelled the watch")
