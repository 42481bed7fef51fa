"""One local child process: feed it, read it with bounds, stop it."""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from ..sdk.context import CancelToken

MAX_OUTPUT = 1024 * 1024
"""Bytes kept of each stream; the rest is read and dropped, so that the command never blocks on us."""

log = logging.getLogger("dacc.hosts")
_POLL_SECONDS = 0.1
_LINGER_SECONDS = 0.25
"""How long a process may take to end by itself when nothing more is expected of it."""
_CHUNK = 65536


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
    """Keeps the end of a stream: of error messages the last one tells why."""

    data: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > MAX_OUTPUT:
            del self.data[:-MAX_OUTPUT]


class Streams:
    """What a command is given, and what is kept of what it says; whoever carries the bytes feeds it.

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

    def hear(self, chunk: bytes) -> None:
        """A piece of standard output."""
        self._head.add(chunk)
        try:
            if chunk and self._on_output is not None:
                self._on_output(chunk)
        except Exception:  # a listener's defect is not the connection's, which others may share
            log.exception("a listener to a command's output failed")
            self._on_output = None

    def hear_error(self, chunk: bytes) -> None:
        """A piece of standard error."""
        self._tail.add(chunk)

    def forget_errors(self) -> None:
        """Standard error begins anew."""
        self._tail = _Tail()


class _Pump:
    """Moves bytes between streams and one process without ever blocking on it."""

    def __init__(self, process: subprocess.Popen[bytes], streams: Streams) -> None:
        self.process = process
        self._streams = streams
        self._rest: memoryview | None = None
        self._selector = selectors.DefaultSelector()
        for stream in (process.stdout, process.stderr):
            self._register(stream, selectors.EVENT_READ)

    def _register(self, stream: IO[bytes] | None, event: int) -> None:
        if stream is not None:
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, event)

    def run(self) -> bool:
        """Pump until the process has ended or nothing more is expected; False when it did not end in time."""
        with self._selector:
            while self._selector.get_map() and not self._streams.finished:
                self._begin_stdin()
                # A daemon that the command left behind may hold the streams open: what counts is the process itself.
                ended = self.process.poll() is not None
                ready = self._selector.select(0 if ended else _POLL_SECONDS)
                for key, _ in ready:
                    self._move(key.fileobj)  # type: ignore[arg-type]
                if ended and not ready:
                    break
                if not ended and time.monotonic() > self._streams.until:
                    return False
        return self._wait(self._streams.until)

    def _begin_stdin(self) -> None:
        if self._rest is None and self._streams.stdin is not None:
            self._rest = memoryview(self._streams.stdin)
            self._register(self.process.stdin, selectors.EVENT_WRITE)

    def _wait(self, deadline: float) -> bool:
        left = max(0.0, deadline - time.monotonic())
        try:
            self.process.wait(min(left, _LINGER_SECONDS) if self._streams.finished else left)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _move(self, stream: IO[bytes]) -> None:
        try:
            done = self._write(stream) if stream is self.process.stdin else self._read(stream)
        except BlockingIOError:
            return
        except BrokenPipeError:
            done = True
        if done:
            self._selector.unregister(stream)
            if stream is self.process.stdin:
                stream.close()

    def _write(self, stream: IO[bytes]) -> bool:
        rest = self._rest or memoryview(b"")
        self._rest = rest[os.write(stream.fileno(), rest[:_CHUNK]) :]
        return not self._rest

    def _read(self, stream: IO[bytes]) -> bool:
        chunk = os.read(stream.fileno(), _CHUNK)
        if stream is self.process.stderr:
            self._streams.hear_error(chunk)
        else:
            self._streams.hear(chunk)
        return not chunk


def run_process(
    argv: Sequence[str], streams: Streams, *, environment: Mapping[str, str], cancel: CancelToken | None = None
) -> ProcessResult:
    """Run one command to its end, in a session of its own, without a shell.

    When ``cancel`` is set it gets a SIGTERM; after the time of ``streams`` a SIGKILL. Raises OSError when it cannot start.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if streams.stdin == b"" else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=dict(environment),
        cwd="/",
        umask=0o022,
        start_new_session=True,
    ) as process:
        pump = _Pump(process, streams)
        in_time = False
        try:
            if cancel is not None:
                cancel.on_cancel(process.terminate)
            in_time = pump.run()
        finally:
            if cancel is not None:
                cancel.forget(process.terminate)
            if not in_time:
                process.kill()
        return ProcessResult(process.wait(), streams.stdout, streams.stderr, not in_time)
