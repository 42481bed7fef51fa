"""The executor's runtime in a daemon: threads and real time.

One thread handles events, one after the other; each lane has workers of its own; the lease has a thread to itself.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..lifecycle import effects as fx
from ..sdk import CancelToken
from .executor import Follower, Inquiry, Lane

log = logging.getLogger("dacc.daemon")
WORKERS: dict[Lane, int] = {"store": 8, "lease": 1, "step": 256, "fence": 32, "user": 4}
LONGEST_SLEEP = 60.0


def clock() -> fx.Now:
    """The time, for the engine. BOOTTIME counts while the machine sleeps, as leases do."""
    return fx.Now(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


class ThreadRuntime:
    """Runs until it is stopped."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[fx.Event | Inquiry] = queue.SimpleQueue()
        self._workers = {lane: ThreadPoolExecutor(number, lane) for lane, number in WORKERS.items()}
        self._wake = float("inf")
        self._ended = threading.Event()
        self._waiting: list[Follower] = []  # to be followed, as soon as a thread can be started

    def run(self, take: Callable[[fx.Event | Inquiry], None]) -> None:
        """Have events handled, in this thread, until :meth:`stop`."""
        while not self._ended.is_set():
            take(self._next())

    def close(self) -> None:
        """End the workers, without waiting for what they do."""
        for workers in self._workers.values():
            workers.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> fx.Event | Inquiry:
        self._start_waiting()
        longest = 1.0 if self._waiting else LONGEST_SLEEP
        try:
            return self._events.get(timeout=max(0.0, min(self._wake - clock().mono, longest)))
        except queue.Empty:
            return fx.Tick()

    # --- for the executor ---

    def now(self) -> fx.Now:
        """The time, for the engine."""
        return clock()

    def submit(self, lane: Lane, effect: fx.Asked, work: Callable[[], None]) -> None:
        """In a worker of the lane. Raises RuntimeError when no thread can be started."""
        self._workers[lane].submit(work)

    def finish(self, lane: Lane, work: Callable[[], Any], seconds: float) -> None:
        """In a worker of the lane, waiting for its end."""
        self._workers[lane].submit(work).result(timeout=seconds)

    def cancel_token(self, ref: int) -> CancelToken:
        """A token that works at once."""
        return CancelToken()

    def follow(self, follower: Follower) -> None:
        """In a thread of its own; if none can be started, as soon as one can."""
        self._waiting.append(follower)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting:
            try:
                threading.Thread(target=self._follow, args=(self._waiting[0],), name="watch", daemon=True).start()
            except RuntimeError as error:
                log.error("the watch cannot be started yet", extra={"why": str(error)})
                return
            self._waiting.pop(0)

    def _follow(self, follower: Follower) -> None:
        while not self._ended.is_set():
            if (pause := follower.advance()) > 0:
                self._ended.wait(pause)
        follower.close()

    def post(self, event: fx.Event | Inquiry) -> None:
        """Queue an event."""
        self._events.put(event)

    def wake_at(self, mono: float) -> None:
        """A tick at this time."""
        self._wake = mono

    def stop(self) -> None:
        """Take no more events."""
        self._ended.set()
