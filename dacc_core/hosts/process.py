"""One local child process: feed it, read it with bounds, stop it."""

from __future__ import annotations

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

_POLL_SECONDS = 0.1
_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Outcome:
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


class _Pump:
    """Moves bytes between us and one process without ever blocking on it."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, on_output: Callable[[bytes], None] | None) -> None:
        self.process = process
        self.stdout = _Head()
        self.stderr = _Tail()
        self._on_output = on_output
        self._rest = memoryview(stdin)
        self._selector = selectors.DefaultSelector()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream, selectors.EVENT_WRITE if stream is process.stdin else selectors.EVENT_READ)

    def until(self, deadline: float) -> bool:
        """Pump until the process has ended; False when the deadline came first."""
        with self._selector:
            while self._selector.get_map():
                # A daemon that the command left behind may hold the streams open: what counts is the process itself.
                ended = self.process.poll() is not None
                ready = self._selector.select(0 if ended else _POLL_SECONDS)
                for key, _ in ready:
                    self._move(key.fileobj)  # type: ignore[arg-type]
                if ended and not ready:
                    break
                if not ended and time.monotonic() > deadline:
                    return False
        return self._wait(deadline)

    def _wait(self, deadline: float) -> bool:
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
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
        self._rest = self._rest[os.write(stream.fileno(), self._rest[:_CHUNK]) :]
        return not self._rest

    def _read(self, stream: IO[bytes]) -> bool:
        chunk = os.read(stream.fileno(), _CHUNK)
        if stream is self.process.stderr:
            self.stderr.add(chunk)
            return not chunk
        self.stdout.add(chunk)
        if chunk and self._on_output is not None:
            self._on_output(chunk)
        return not chunk


def run_process(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    seconds: float,
    stdin: bytes = b"",
    cancel: CancelToken | None = None,
    on_output: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Run one command to its end, in a session of its own, without a shell.

    When ``cancel`` is set it gets a SIGTERM; after ``seconds`` a SIGKILL. Raises OSError when it cannot start.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=dict(environment),
        cwd="/",
        umask=0o022,
        start_new_session=True,
    ) as process:
        pump = _Pump(process, stdin, on_output)
        in_time = False
        try:
            if cancel is not None:
                cancel.on_cancel(process.terminate)
            in_time = pump.until(time.monotonic() + seconds)
        finally:
            if cancel is not None:
                cancel.forget(process.terminate)
            if not in_time:
                process.kill()
        return Outcome(process.wait(), bytes(pump.stdout.data), bytes(pump.stderr.data), not in_time)
