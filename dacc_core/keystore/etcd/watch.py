"""Watches on etcd: followed over all members, with proof every two seconds that the store is alive.

A watch stream of etcd is silent while nothing changes; one whose member has lost the others, or whose machine is gone, is silent, too. So
the member that streams is asked every :data:`PROOF_INTERVAL` for the store's revision, which it can give only with a majority of the
members. If it does not within :data:`CALL_SECONDS`, another member goes on from the last revision seen. Between proofs the store counts as
alive, so what an empty batch reports is at most 2.5 s old.

A revision that changed nothing under the prefix is not streamed. When the store is known to have reached one, the stream is asked for its
progress. Before 3.4.25 and 3.5.8, etcd may answer that before it sends what comes first (etcd issue 15220). So it is asked twice, and not
at all while the stream still catches up with the past. Should a change come late nevertheless, its revision shows that, and the reader has
to read everything anew.

When history is compacted, etcd may lose a deletion at just that revision (issue 19179). So the revision before the first one wanted must
still be there.

Three parts: :class:`EtcdWatch` takes changes from a :class:`WatchBuffer`; a thread of :class:`_WatchFollower` chooses the member that
fills it; a thread of :class:`WatchStream` reads what this member sends.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import Compacted
from ..base import Batch, Change
from ..shared import HEARTBEAT, StoreDeadline
from .client import FIRST_PAUSE, Endpoint, EtcdClient
from .failures import CallFailed, EtcdFailure, explain
from .protocol import (
    READABLE_KEY,
    EtcdChannel,
    Metadata,
    RangeResponse,
    RpcFailure,
    WatchResponse,
    decode_changes,
    key_request,
    watch_create_request,
    watch_progress_request,
)

log = logging.getLogger("dacc.keystore")

PROOF_INTERVAL = 2.0
ALIVE_SECONDS = 2.5
"""For so long after a proof of life was asked for, the store counts as alive."""

CALL_SECONDS = 1.0
"""How long a member may take to answer before another one is tried."""

PROGRESS_SECONDS = 0.2
DELIVERY_SECONDS = 0.03
"""How long a change may take from a transaction's answer to the watch before its progress is asked for."""

CATCH_UP_SECONDS = 0.5
"""etcd looks every 0.1 s for the past of watches that begin there; any may, whatever revision its response to the creation has."""

LAST_PAUSE = 1.0
STEADY_SECONDS = 5.0

MAX_BUFFERED = 50_000
"""Changes beyond these stay in the network until the reader has taken some."""


class EtcdWatch:
    """A subscription that two threads of its own follow."""

    def __init__(self, client: EtcdClient, prefix: str, after_revision: int) -> None:
        self._client = client
        self._buffer = WatchBuffer(after_revision)
        follower = _WatchFollower(client, prefix, self._buffer)
        weakref.finalize(self, self._buffer.close)
        threading.Thread(target=follower.run, name="etcd-watch", daemon=True).start()

    def next(self, timeout: float) -> Batch | None:
        """The next batch; an empty one when nothing came within ``timeout`` or the heartbeat and the store is alive."""
        self._client.require_own_process()
        buffer, deadline, heartbeat = self._buffer, StoreDeadline(timeout), StoreDeadline(min(timeout, HEARTBEAT))
        with buffer.changed:
            while not buffer.closed:
                batch = buffer.take(empty=not heartbeat.remaining())
                if batch is not None:
                    return batch
                if not deadline.remaining():
                    if buffer.failures and not buffer.alive:
                        raise self._client.unavailable(buffer.failures, deadline)
                    return None
                buffer.changed.wait(heartbeat.remaining() or deadline.remaining())
        return None

    def expect(self, revision: int) -> None:
        """The store has reached this revision: do not wait for the next proof to notice."""
        with self._buffer.changed:
            if revision > self._buffer.wanted:
                self._buffer.wanted = revision
                self._buffer.changed.notify_all()

    def close(self) -> None:
        """End the subscription; a ``next`` that waits in another thread returns ``None`` at once."""
        self._buffer.close()


class WatchBuffer:
    """Changes that have arrived and were not taken yet, in order, and how far they reach.

    ``seen`` is the revision up to which everything is here; ``wanted`` the highest that the store is known to have reached. Everything
    is read and written while :attr:`changed` is held.
    """

    def __init__(self, after_revision: int) -> None:
        self.changed = threading.Condition()  # reentrant: the garbage collector may close us anywhere
        self.closed = False
        self.seen = after_revision
        self.wanted = after_revision
        self.failures: dict[str, EtcdFailure] = {}
        self._changes: list[Change] = []
        self._taken = after_revision
        self._proven_at = float("-inf")
        self._gap: Compacted | None = None

    def close(self) -> None:
        """There is no reader any more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    # --- for the stream and its follower ---

    def add(self, changes: tuple[Change, ...]) -> None:
        """Whole revisions that follow what is here. One that should have come before proves that something was missed."""
        if changes[0].revision <= self.seen:
            why = f"the watch came to revision {self.seen} without {changes[0].revision}: read everything anew"
            self.break_off(Compacted.from_text(why))
            return
        self._changes += changes
        self.seen = changes[-1].revision
        self.changed.notify_all()

    def advance(self, revision: int) -> None:
        """Nothing happened up to here beyond what was added."""
        self.seen = max(self.seen, revision)
        self.changed.notify_all()

    def prove_alive(self, asked_at: float, revision: int) -> None:
        """The store answered a request of this time, and was at this revision."""
        self._proven_at = asked_at
        self.wanted = max(self.wanted, revision)
        self.failures.clear()
        self.changed.notify_all()

    def break_off(self, gap: Compacted) -> None:
        """The changes that come next cannot be had."""
        self._gap = self._gap or gap
        self.changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether nothing more need be added."""
        return self.closed or self._gap is not None

    @property
    def full(self) -> bool:
        """Whether to wait before adding more."""
        return len(self._changes) > MAX_BUFFERED and not self.ended

    # --- for the reader ---

    @property
    def alive(self) -> bool:
        """Whether the last proof of life is recent."""
        return time.monotonic() - self._proven_at < ALIVE_SECONDS

    def take(self, *, empty: bool) -> Batch | None:
        """All that is here; if that is nothing, an empty batch where ``empty`` is set and the store alive. Raises Compacted."""
        if self._changes or self.seen > self._taken:
            changes, self._changes = self._changes, []
            self._taken = self.seen
            self.changed.notify_all()
            return Batch(tuple(changes), self.seen)
        if self._gap is not None:
            raise self._gap.with_traceback(None)
        return Batch((), self.seen) if empty and self.alive else None


class _WatchFollower:
    """Keeps a stream into the buffer, from whichever member serves one."""

    def __init__(self, client: EtcdClient, prefix: str, buffer: WatchBuffer) -> None:
        self._client, self._prefix, self._buffer = client, prefix, buffer

    def run(self) -> None:
        """Until the buffer needs no more. After each round over the members comes a pause, longer from round to round."""
        pause = FIRST_PAUSE
        while not self._buffer.ended:
            started = time.monotonic()
            for endpoint in self._client.endpoints.in_order():
                if self._follow(endpoint):
                    break
            if time.monotonic() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE
            with self._buffer.changed:
                self._buffer.changed.wait_for(lambda: self._buffer.ended, pause)
            pause = min(2 * pause, LAST_PAUSE)

    def _follow(self, endpoint: Endpoint) -> bool:
        """Stream from this member until that fails; whether it ever worked."""
        member = _WatchedMember(self._client, self._prefix, self._buffer, endpoint)
        try:
            with endpoint.channel() as channel:
                member.run(channel)
        except (CallFailed, RpcFailure) as error:
            failure = error.failure if isinstance(error, CallFailed) else explain(error, endpoint.name, CALL_SECONDS)
            # Whoever waits for a batch gets the reason in an error; for the log, only the moment when a working stream ends is of interest.
            log.log(logging.INFO if member.worked else logging.DEBUG, "a watch looks for another member", extra={"why": str(failure)})
            self._client.endpoints.avoid(endpoint)
            with self._buffer.changed:
                self._buffer.failures[endpoint.name] = failure
        except Exception:
            log.exception("following etcd failed")
        return member.worked or self._buffer.ended


class _WatchedMember:
    """One member's time as the one that streams."""

    def __init__(self, client: EtcdClient, prefix: str, buffer: WatchBuffer, endpoint: Endpoint) -> None:
        self._client, self._prefix, self._buffer, self._endpoint = client, prefix, buffer, endpoint
        self.worked = False

    def run(self, channel: EtcdChannel) -> None:
        """Until the buffer needs no more. Raises CallFailed and RpcFailure when the member is of no more use."""
        try:
            metadata = self._client.login.metadata(channel, StoreDeadline(CALL_SECONDS))
            with self._buffer.changed:
                stream = WatchStream(channel, self._prefix, self._buffer, metadata)
            try:
                self._start(channel, stream)
                self._keep_up(channel, stream)
            except RpcFailure as error:
                # Up to 3.4, etcd denies the permission also when the token has expired.
                if error.code == "UNAUTHENTICATED" or "permission denied" in error.details:
                    self._client.login.discard(metadata)
                raise
            finally:
                stream.cancel()
        except (CallFailed, RpcFailure):
            self._endpoint.retire(channel)
            raise

    def _start(self, channel: EtcdChannel, stream: WatchStream) -> None:
        """See that the stream was created, that the history before it is whole, and that the store is alive."""
        asked_at = time.monotonic()
        try:
            revision = self._store_revision(channel, self._buffer.seen)
        except CallFailed as error:
            if "compacted" not in error.failure.details:
                raise
            self._break_off(stream)
            return
        self._wait(stream, lambda: stream.created, CALL_SECONDS)
        with self._buffer.changed:
            if stream.failure is not None or not stream.created:
                raise stream.failure or RpcFailure("DEADLINE_EXCEEDED", "")
            self._buffer.prove_alive(asked_at, revision)
            stream.release()
        self.worked = True

    def _break_off(self, stream: WatchStream) -> None:
        self._wait(stream, lambda: False, CATCH_UP_SECONDS)  # etcd reports how far history goes back, unless just one revision is missing
        with self._buffer.changed:
            self._buffer.break_off(Compacted(wanted=self._buffer.seen + 1, oldest=self._buffer.seen + 2))

    def _keep_up(self, channel: EtcdChannel, stream: WatchStream) -> None:
        proof_due = time.monotonic() + PROOF_INTERVAL
        while not self._buffer.ended:
            self._wait(stream, lambda: self._buffer.wanted > self._buffer.seen, proof_due - time.monotonic())
            if self._buffer.ended:
                return
            if stream.failure is not None:
                raise stream.failure
            if time.monotonic() >= proof_due:
                asked_at = time.monotonic()
                revision = self._store_revision(channel)
                with self._buffer.changed:
                    self._buffer.prove_alive(asked_at, revision)
                proof_due = asked_at + PROOF_INTERVAL
            elif self._buffer.wanted > self._buffer.seen:
                self._catch_up(stream, self._buffer.wanted)

    def _store_revision(self, channel: EtcdChannel, at: int = 0) -> int:
        """The store's revision; fails if the history ``at`` a revision is gone."""
        request = key_request(self._prefix or READABLE_KEY, at)
        response: RangeResponse = self._client.call_once(self._endpoint, channel, "Range", request, CALL_SECONDS)
        return response.header.revision

    def _catch_up(self, stream: WatchStream, wanted: int) -> None:
        """See whether the stream has reached this revision without a change."""
        if self._wait(stream, lambda: self._buffer.seen >= wanted, DELIVERY_SECONDS):
            return
        if not self._wait(stream, lambda: stream.caught_up, CALL_SECONDS):
            return
        if self._has_reached(stream, wanted) and self._has_reached(stream, wanted):
            with self._buffer.changed:
                self._buffer.advance(wanted)

    def _has_reached(self, stream: WatchStream, wanted: int) -> bool:
        reports = stream.progress_reports
        stream.request_progress()
        return self._wait(stream, lambda: stream.progress_reports > reports, PROGRESS_SECONDS) and stream.progress >= wanted

    def _wait(self, stream: WatchStream, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition, or for the end of the stream or of the buffer's need; whether it is the condition."""
        with self._buffer.changed:
            self._buffer.changed.wait_for(lambda: condition() or stream.failure is not None or self._buffer.ended, max(0.0, seconds))
            return condition() and stream.failure is None


class WatchStream:
    """One watch on one member, read by a thread of its own. Changes are held back until :meth:`release`, when their history is whole.

    :attr:`failure` is set when it has ended. Like the buffer, it is used while ``buffer.changed`` is held.
    """

    def __init__(self, channel: EtcdChannel, prefix: str, buffer: WatchBuffer, metadata: Metadata) -> None:
        self.failure: RpcFailure | None = None
        self.created = False
        self.progress = self.progress_reports = 0
        self._buffer, self._start = buffer, buffer.seen
        self._created_at = 0.0
        self._held: list[tuple[Change, ...]] | None = []
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(watch_create_request(prefix, self._start))
        self._call = channel.stream("Watch", self._queued_requests(), metadata)
        threading.Thread(target=self._read, name="etcd-stream", daemon=True).start()

    @property
    def caught_up(self) -> bool:
        """Whether a watch that began in the past has certainly reached the present."""
        return self.created and time.monotonic() >= self._created_at + CATCH_UP_SECONDS

    def request_progress(self) -> None:
        """Ask for its progress; the response raises :attr:`progress_reports` and sets :attr:`progress`."""
        self._requests.put(watch_progress_request())

    def release(self) -> None:
        """Pass on what was held back and all that comes."""
        held, self._held = self._held or [], None
        for changes in held:
            self._buffer.add(changes)

    def cancel(self) -> None:
        """End it; never waits."""
        self._call.cancel()
        self._requests.put(None)

    def _queued_requests(self) -> Iterator[Any]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        failure = RpcFailure("UNAVAILABLE", "etcd ended the watch")
        try:
            for response in self._call:
                with self._buffer.changed:
                    self._buffer.changed.wait_for(lambda: not self._buffer.full)
                    self._receive(response)
        except RpcFailure as error:
            failure = error
        finally:
            with self._buffer.changed:
                self.failure = self.failure or failure
                self._buffer.changed.notify_all()

    def _receive(self, response: WatchResponse) -> None:
        if response.canceled:
            self._end(response)
        elif response.created:
            self.created, self._created_at = True, time.monotonic()
        elif not response.events:
            self.progress, self.progress_reports = response.header.revision, self.progress_reports + 1
        elif self._held is not None:
            self._held.append(decode_changes(response))
        else:
            self._buffer.add(decode_changes(response))
        self._buffer.changed.notify_all()

    def _end(self, response: WatchResponse) -> None:
        if response.compact_revision:
            self._buffer.break_off(Compacted(wanted=self._start + 1, oldest=response.compact_revision))
        self.failure = RpcFailure("CANCELLED", response.cancel_reason or "etcd cancelled the watch")
