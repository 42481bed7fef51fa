"""The engine of all host runners: one event loop, in one thread of this process, in which every command on every host is waited for.

Whoever runs a command blocks in its own thread; on the engine's side neither a command nor a host needs one. So a fence of 2,400 hosts,
or 256 steps at once on 64 hosts each, takes the same single thread, and nothing here can fail for want of another.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from ..errors import Unavailable

FAN_OUT = 64
"""Hosts on which one call works at once."""

CANCEL_SECONDS = 5.0
"""How long a caller that is interrupted waits until its commands were ended."""
BLOCKING_THREADS = 64
"""What asyncssh does that blocks, at once: look-ups of names, of which a few that take long must not hold up all other hosts, and keys."""

log = logging.getLogger("dacc.hosts")
_T = TypeVar("_T")


class HostEngine:
    """An event loop in a thread of its own, started with the first work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What the work returns or raises; the caller blocks meanwhile. An exception in the caller, a Ctrl-C for instance, cancels it.

        Raises Unavailable, and begins nothing, when the engine's thread cannot start.
        """
        loop = self.loop
        if self._thread is threading.current_thread():
            raise RuntimeError("the engine of hosts cannot wait for itself: run no command in a listener to output")
        finished = threading.Event()

        async def attended() -> _T:
            try:
                return await work()
            finally:
                finished.set()

        future = asyncio.run_coroutine_threadsafe(attended(), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            finished.wait(CANCEL_SECONDS)  # the caller's process may end next, and with it this thread, which ends the command
            raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; after a fork that of a new thread."""
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop, self._thread = _start()
            return self._loop


def _start() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(BLOCKING_THREADS, "dacc-blocking"))
    thread = threading.Thread(target=_serve, args=(loop,), name="dacc-hosts", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        loop.close()
        raise Unavailable(why=f"no thread for commands on hosts can start ({error}): see this process's limit of processes") from error
    return loop, thread


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except BaseException:  # of a callback: all other commands go on
            log.exception("the engine of hosts goes on after a defect")


ENGINE = HostEngine()
"""The engine of this process."""


async def fan_out(hosts: Iterable[str], function: Callable[[str], Awaitable[_T]], width: int = FAN_OUT) -> dict[str, _T]:
    """``function`` of every host (each once, in order), at most ``width`` at a time."""
    names = list(dict.fromkeys(hosts))
    room = asyncio.Semaphore(width)

    async def call(host: str) -> _T:
        async with room:
            return await function(host)

    return dict(zip(names, await asyncio.gather(*map(call, names)), strict=True))


def loop_time(monotonic: float) -> float:
    """A moment on the monotonic clock as the running loop counts it."""
    return asyncio.get_running_loop().time() + monotonic - time.monotonic()
