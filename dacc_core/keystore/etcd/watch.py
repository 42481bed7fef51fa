"""Watches on etcd: followed over all members, with proof every two seconds that the store is alive.

A stream of etcd says nothing while nothing changes; one whose member has lost the others, or whose machine is gone, says the same. So the
member that streams is asked every :data:`PROOF_SECONDS` for the store's revision, which it can tell only together with a majority. When it
cannot within :data:`PATIENCE`, another member goes on from the last revision seen. Between proofs the store counts as alive, so what an
empty batch says is at most 2.5 s old.

A revision that changed nothing under the prefix is not streamed. When the store is known to have come to one, the stream is asked how far
it is. Before 3.4.25 and 3.5.8, etcd may answer that before it sends what comes first (etcd issue 15220). So it is asked twice, and not at
all while it still looks for the past. Should a change come late nevertheless, its revision tells, and so is the reader told: to read
everything anew.

When history is compacted, etcd may lose a deletion at just that revision (issue 19179). So the revision before the first one wanted must
still be there.

One stream of one watch: what etcd sends, on its way into the feed.

What has come in from etcd for a watch and was not taken yet, shared by the threads that fill it and the one that takes from it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from dacc_core.errors import Compacted

from ..base import Batch, Change
from ..shared import HEARTBEAT, Deadline
from . import protocol as to
from .client import FIRST_PAUSE, Endpoint, EtcdClient
from .failures import CallFailed, Failure, explain
from .protocol import Channel, Metadata, RangeReply, RpcFailure, WatchReply

ALIVE_SECONDS = 2.5
"""For so long after a proof of life was asked for, the store counts as alive."""

MOST_WAITING = 50_000
"""Changes beyond these stay in the network until some were taken."""


class Feed:
    """Changes in order, and how far they reach. Everything is read and written while :attr:`changed` is held."""

    def __init__(self, after_revision: int) -> None:
        self.changed = threading.Condition()  # reentrant: the garbage collector may close us anywhere
        self.closed = False
        self.seen = after_revision
        self.wanted = after_revision
        self.failures: dict[str, Failure] = {}
        self._changes: list[Change] = []
        self._taken = after_revision
        self._proven = float("-inf")
        self._gone: Compacted | None = None

    def close(self) -> None:
        """Nobody takes from it any more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    # --- in ---

    def add(self, changes: tuple[Change, ...]) -> None:
        """Whole revisions that follow what is there. One that should have come before proves that something was missed."""
        if changes[0].revision <= self.seen:
            self.lose(Compacted.from_text(f"the watch came to revision {self.seen} without {changes[0].revision}: read everything anew"))
            return
        self._changes += changes
        self.seen = changes[-1].revision
        self.changed.notify_all()

    def reach(self, revision: int) -> None:
        """Nothing happened up to here beyond what was added."""
        self.seen = max(self.seen, revision)
        self.changed.notify_all()

    def prove(self, asked: float, revision: int) -> None:
        """The store answered what it was asked at this time, and was at this revision."""
        self._proven = asked
        self.wanted = max(self.wanted, revision)
        self.failures.clear()
        self.changed.notify_all()

    def lose(self, why: Compacted) -> None:
        """The changes that come next cannot be had."""
        self._gone = self._gone or why
        self.changed.notify_all()

    # --- out ---

    @property
    def ended(self) -> bool:
        """Whether nothing more need be added."""
        return self.closed or self._gone is not None

    @property
    def full(self) -> bool:
        """Whether to wait before adding more."""
        return len(self._changes) > MOST_WAITING and not self.ended

    @property
    def alive(self) -> bool:
        """Whether the store was heard from lately."""
        return time.monotonic() - self._proven < ALIVE_SECONDS

    def take(self, *, empty: bool) -> Batch | None:
        """All that is there; if it is nothing, an empty batch where that is wanted and the store alive. Raises Compacted."""
        if self._changes or self.seen > self._taken:
            changes, self._changes = self._changes, []
            self._taken = self.seen
            self.changed.notify_all()
            return Batch(tuple(changes), self.seen)
        if self._gone is not None:
            raise self._gone.with_traceback(None)
        return Batch((), self.seen) if empty and self.alive else None


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


log = logging.getLogger("dacc.keystore")

PROOF_SECONDS = 2.0
PATIENCE = 1.0
PROGRESS_PATIENCE = 0.2
LAST_PAUSE = 1.0
STEADY_SECONDS = 5.0
# How long a change may take from a transaction's answer to the watch before it is asked for.
ON_ITS_WAY = 0.03


class EtcdWatch:
    """A subscription that two threads of its own follow."""

    def __init__(self, caller: EtcdClient, prefix: str, after_revision: int) -> None:
        self._caller = caller
        self._feed = Feed(after_revision)
        follower = _Follower(caller, prefix, self._feed)
        weakref.finalize(self, self._feed.close)
        threading.Thread(target=follower.run, name="etcd-watch", daemon=True).start()

    def next(self, timeout: float) -> Batch | None:
        """The next batch; an empty one when nothing came within ``timeout`` or the heartbeat and the store is alive."""
        self._caller.require_own_process()
        feed, deadline, pause = self._feed, Deadline(timeout), Deadline(min(timeout, HEARTBEAT))
        with feed.changed:
            while not feed.closed:
                batch = feed.take(empty=not pause.remaining())
                if batch is not None:
                    return batch
                if not deadline.remaining():
                    if feed.failures and not feed.alive:
                        raise self._caller.unavailable(feed.failures, deadline)
                    return None
                feed.changed.wait(pause.remaining() or deadline.remaining())
        return None

    def expect(self, revision: int) -> None:
        """The store has come to this revision: do not wait for the next proof to notice."""
        with self._feed.changed:
            if revision > self._feed.wanted:
                self._feed.wanted = revision
                self._feed.changed.notify_all()

    def close(self) -> None:
        """End the subscription; a ``next`` that waits in another thread returns ``None`` at once."""
        self._feed.close()


class _Follower:
    """Keeps a stream into the feed, from whichever member has one."""

    def __init__(self, caller: EtcdClient, prefix: str, feed: Feed) -> None:
        self._caller, self._prefix, self._feed = caller, prefix, feed

    def run(self) -> None:
        """Until the feed needs no more. After each round over the members comes a pause, longer from round to round."""
        pause = FIRST_PAUSE
        while not self._feed.ended:
            begun = time.monotonic()
            for endpoint in self._caller.endpoints.in_order():
                if self._follow(endpoint):
                    break
            if time.monotonic() - begun > STEADY_SECONDS:
                pause = FIRST_PAUSE
            with self._feed.changed:
                self._feed.changed.wait_for(lambda: self._feed.ended, pause)
            pause = min(2 * pause, LAST_PAUSE)

    def _follow(self, endpoint: Endpoint) -> bool:
        """Stream from this member until that fails; whether it was good."""
        turn = _Turn(self._caller, self._prefix, self._feed, endpoint)
        try:
            with endpoint.channel() as channel:
                turn.run(channel)
        except (CallFailed, RpcFailure) as error:
            failure = error.failure if isinstance(error, CallFailed) else explain(error, endpoint.name, PATIENCE)
            # Whoever waits for news is told why none come; here it is of interest when they ceased.
            log.log(logging.INFO if turn.good else logging.DEBUG, "a watch looks for another member", extra={"why": str(failure)})
            self._caller.endpoints.bad(endpoint)
            with self._feed.changed:
                self._feed.failures[endpoint.name] = failure
        except Exception:
            log.exception("following etcd failed")
        return turn.good or self._feed.ended


class _Turn:
    """One member's."""

    def __init__(self, caller: EtcdClient, prefix: str, feed: Feed, endpoint: Endpoint) -> None:
        self._caller, self._prefix, self._feed, self._endpoint = caller, prefix, feed, endpoint
        self.good = False

    def run(self, channel: Channel) -> None:
        """Until the feed needs no more. Raises CallFailed and RpcFailure when the member is of no more use."""
        try:
            metadata = self._caller.login.metadata(channel, Deadline(PATIENCE))
            with self._feed.changed:
                stream = Stream(channel, self._prefix, self._feed, metadata)
            try:
                self._begin(channel, stream)
                self._keep(channel, stream)
            except RpcFailure as error:
                # Up to 3.4, etcd says so to whose token has expired, too.
                if error.code == "UNAUTHENTICATED" or "permission denied" in error.details:
                    self._caller.login.forget(metadata)
                raise
            finally:
                stream.cancel()
        except (CallFailed, RpcFailure):
            self._endpoint.retire(channel)
            raise

    def _begin(self, channel: Channel, stream: Stream) -> None:
        """See that the stream runs, that the history before it is whole, and that the store is alive."""
        asked = time.monotonic()
        try:
            revision = self._revision(channel, self._feed.seen)
        except CallFailed as error:
            if "compacted" not in error.failure.details:
                raise
            self._lose(stream)
            return
        self._wait(stream, lambda: stream.begun, PATIENCE)
        with self._feed.changed:
            if stream.failure is not None or not stream.begun:
                raise stream.failure or RpcFailure("DEADLINE_EXCEEDED", "")
            self._feed.prove(asked, revision)
            stream.release()
        self.good = True

    def _lose(self, stream: Stream) -> None:
        self._wait(stream, lambda: False, UNSETTLED_SECONDS)  # it is told how far history goes back, unless that is just too far
        with self._feed.changed:
            self._feed.lose(Compacted(wanted=self._feed.seen + 1, oldest=self._feed.seen + 2))

    def _keep(self, channel: Channel, stream: Stream) -> None:
        due = time.monotonic() + PROOF_SECONDS
        while not self._feed.ended:
            self._wait(stream, lambda: self._feed.wanted > self._feed.seen, due - time.monotonic())
            if self._feed.ended:
                return
            if stream.failure is not None:
                raise stream.failure
            if time.monotonic() >= due:
                asked = time.monotonic()
                revision = self._revision(channel)
                with self._feed.changed:
                    self._feed.prove(asked, revision)
                due = asked + PROOF_SECONDS
            elif self._feed.wanted > self._feed.seen:
                self._catch_up(stream, self._feed.wanted)

    def _revision(self, channel: Channel, at: int = 0) -> int:
        """The store's revision; in passing, whether it still has what there was ``at`` a revision."""
        reply: RangeReply = self._caller.once(self._endpoint, channel, "Range", to.one(self._prefix or to.HOME, at), PATIENCE)
        return reply.header.revision

    def _catch_up(self, stream: Stream, wanted: int) -> None:
        if self._wait(stream, lambda: self._feed.seen >= wanted, ON_ITS_WAY) or not self._wait(stream, lambda: stream.settled, PATIENCE):
            return
        if self._has_come_to(stream, wanted) and self._has_come_to(stream, wanted):
            with self._feed.changed:
                self._feed.reach(wanted)

    def _has_come_to(self, stream: Stream, wanted: int) -> bool:
        answers = stream.answers
        stream.ask_progress()
        return self._wait(stream, lambda: stream.answers > answers, PROGRESS_PATIENCE) and stream.progress >= wanted

    def _wait(self, stream: Stream, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, or for the end of the stream or of the feed's need; whether it is the condition."""
        with self._feed.changed:
            self._feed.changed.wait_for(lambda: condition() or stream.failure is not None or self._feed.ended, max(0.0, seconds))
            return condition() and stream.failure is None
