"""One local child process in the engine's loop: feed it, read it with bounds, stop it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from ..sdk.context import CancelToken
from .engine import loop_time

MAX_OUTPUT = 1024 * 1024
"""Bytes kept of each stream; the rest is read and dropped, so that the command never blocks on us."""

log = logging.getLogger("dacc.hosts")
_POLL_SECONDS = 0.1
_LINGER_SECONDS = 0.25
"""How long a process may take to end by itself when nothing more is expected of it."""
_KILL_SECONDS = 5.0
"""How long a process that was killed is waited for: one in a device's hands does not end."""
_CHUNK = 65536
_MOST_IN_A_PIPE = 2 * 1024 * 1024
"""More than a pipe holds."""


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a process ended. ``returncode`` is negative for a signal; ``overdue``: we killed it after its time."""

    returncode: int
    stdout: bytes
    stderr: bytes
    overdue: bool = False


@dataclass(slots=True)
class _Head:
    """Keeps the beginning of a stream: a parser sees a prefix, never a text with a hole."""

    data: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        self.data += chunk[: MAX_OUTPUT - len(self.data)]


@dataclass(slots=True)
class _Tail:
    """Keeps the end of a stream: of error messages the last one has the reason."""

    data: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > MAX_OUTPUT:
            del self.data[:-MAX_OUTPUT]


class Streams:
    """What a command is given, and what is kept of its output; whoever carries the bytes feeds it.

    ``stdin`` is written and then closed; ``None``: not yet. After ``until`` (monotonic) the command is given up; ``finished``: nothing
    more is expected of it, although it may hold its streams open.
    """

    def __init__(self, stdin: bytes | None, seconds: float, on_output: Callable[[bytes], None] | None = None) -> None:
        self.stdin = stdin
        self.until = time.monotonic() + seconds
        self.finished = False
        self._head, self._tail = _Head(), _Tail()
        self._on_output = on_output

    @property
    def stdout(self) -> bytes:
        """The beginning of standard output."""
        return bytes(self._head.data)

    @property
    def stderr(self) -> bytes:
        """The end of standard error."""
        return bytes(self._tail.data)

    def receive(self, chunk: bytes) -> None:
        """A piece of standard output."""
        self._head.add(chunk)
        try:
            if chunk and self._on_output is not None:
                self._on_output(chunk)
        except BaseException:  # a listener's defect is not the engine's, which serves all hosts
            log.exception("a listener to a command's output failed")
            self._on_output = None

    def receive_error(self, chunk: bytes) -> None:
        """A piece of standard error."""
        self._tail.add(chunk)

    def forget_errors(self) -> None:
        """Standard error begins anew."""
        self._tail = _Tail()


class _Child:
    """A child process and its streams, in the engine's loop. ``news`` is set when something has changed that a wait depends on."""

    def __init__(self, process: subprocess.Popen[bytes], streams: Streams) -> None:
        self.process = process
        self.news = asyncio.Event()
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._rest: memoryview | None = None
        self._defect: Exception | None = None
        self._outputs: dict[IO[bytes], Callable[[bytes], None]] = {}
        for stream, take in ((process.stdout, streams.receive), (process.stderr, streams.receive_error)):
            if stream is not None:
                self._outputs[stream] = take
                os.set_blocking(stream.fileno(), False)
                self._loop.add_reader(stream.fileno(), self._read, stream)
        self._pidfd = self._watch()
        self._begin_stdin()

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.returncode is not None

    async def carry(self) -> bool:
        """Move bytes until the process has ended or nothing more is expected; False when it did not end in time."""
        while not self.ended and not self._streams.finished:
            try:
                async with asyncio.timeout_at(loop_time(self._streams.until)):
                    await self.news.wait()
            except TimeoutError:
                return self.ended
            self.news.clear()
            if self._defect is not None:
                raise self._defect
        # A daemon that the command left behind may hold the streams open: what counts is the process itself.
        self._drain()
        return await self.wait(min(self._streams.until, time.monotonic() + _LINGER_SECONDS))

    async def wait(self, until: float) -> bool:
        """Wait for the process's end; whether it has come."""
        while not self.ended:
            try:
                async with asyncio.timeout_at(loop_time(until)):
                    await self.news.wait()
            except TimeoutError:
                return self.ended
            self.news.clear()
        return True

    def close(self) -> None:
        """Let go of its streams. The process is waited for until it ends, whoever has given it up."""
        for stream in list(self._outputs):
            self._close_output(stream)
        self._close_stdin()

    # --- its end ---

    def _watch(self) -> int | None:
        try:
            descriptor = os.pidfd_open(self.process.pid)
        except OSError:  # a kernel before 5.3, or no descriptor is left
            self._loop.call_later(_POLL_SECONDS, self._see_end)
            return None
        self._loop.add_reader(descriptor, self._see_end)
        return descriptor

    def _see_end(self) -> None:
        if self.process.poll() is not None:
            if self._pidfd is not None:
                self._loop.remove_reader(self._pidfd)
                os.close(self._pidfd)
            self.news.set()
        elif self._pidfd is None:
            self._loop.call_later(_POLL_SECONDS, self._see_end)

    # --- its streams ---

    def _read(self, stream: IO[bytes]) -> bool:
        """Take a piece of output; whether there was any."""
        try:
            chunk = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._close_output(stream)
            return False
        try:
            self._outputs[stream](chunk)
            self._begin_stdin()
        except Exception as error:  # for whoever waits; the loop would only log it
            self._defect = error
        if self._streams.finished or self._defect:
            self.news.set()
        return True

    def _drain(self) -> None:
        """Take what was written before the end. A daemon that writes on does not keep us here: a pipe holds no more than this."""
        for stream in list(self._outputs):
            for _ in range(_MOST_IN_A_PIPE // _CHUNK):
                if self._streams.finished or not self._read(stream):
                    break

    def _close_output(self, stream: IO[bytes]) -> None:
        del self._outputs[stream]
        self._loop.remove_reader(stream.fileno())
        stream.close()

    def _begin_stdin(self) -> None:
        if self._rest is None and self._streams.stdin is not None:
            self._rest = memoryview(self._streams.stdin)
            self.news.set()  # another time limit may hold now
            if self.process.stdin is not None:
                os.set_blocking(self.process.stdin.fileno(), False)
                self._loop.add_writer(self.process.stdin.fileno(), self._write)

    def _write(self) -> None:
        stream, rest = self.process.stdin, self._rest
        if stream is None or rest is None:
            return
        try:
            self._rest = rest[os.write(stream.fileno(), rest[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._close_stdin()
        if not self._rest:
            self._close_stdin()

    def _close_stdin(self) -> None:
        stream = self.process.stdin
        if stream is not None and not stream.closed:
            self._loop.remove_writer(stream.fileno())
            stream.close()


async def run_process(
    argv: Sequence[str], streams: Streams, *, environment: Mapping[str, str], cancel: CancelToken | None = None
) -> ProcessResult:
    """Run one command to its end, in a session of its own, without a shell.

    When ``cancel`` is set it gets a SIGTERM; after the time of ``streams`` a SIGKILL. Raises OSError when it cannot start.
    """
    process = subprocess.Popen(  # it takes a millisecond, and a thread would not shorten it: the interpreter is locked meanwhile
        argv,
        stdin=subprocess.DEVNULL if streams.stdin == b"" else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=dict(environment),
        cwd="/",
        umask=0o022,
        start_new_session=True,
    )
    child = _Child(process, streams)
    cancel = cancel or CancelToken()
    cancel.on_cancel(process.terminate)
    try:
        in_time = await child.carry()
        if not in_time:
            process.kill()
            await child.wait(time.monotonic() + _KILL_SECONDS)
    except asyncio.CancelledError:  # our caller was interrupted
        process.terminate()
        raise
    finally:
        cancel.forget(process.terminate)
        child.close()
    return ProcessResult(-signal.SIGKILL if process.returncode is None else process.returncode, streams.stdout, streams.stderr, not in_time)
