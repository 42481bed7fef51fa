"""Watches on an SQLite keystore, and how a commit wakes them: in this process at once, in others by a datagram."""

from __future__ import annotations

import logging
import os
import secrets
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import KeystoreUnavailable
from ..base import Batch
from ..shared import HEARTBEAT, StoreDeadline

log = logging.getLogger(__name__)

# How long the listener sleeps before it reads the store's state, in case a datagram was lost.
POLL_FIRST = 0.05
POLL_LAST = 1.0


class ChangeSignal:
    """Wakes the watches of this process. ``count`` rises whenever something may have changed."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self.count = 0
        self.closed = False

    def announce(self) -> None:
        """Wake every watch."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Wake every watch for the last time."""
        self.closed = True
        self.announce()

    def wait(self, count: int, deadline: StoreDeadline) -> None:
        """Until the count is not this any more, or the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != count, deadline.remaining())


class WakeDirectory:
    """The sockets of all watching processes. Their addresses go through a descriptor, as a socket's path may have 107 bytes only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ensure_exists()
        self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def _ensure_exists(self) -> None:
        # The store was created with it; it may have been deleted since.
        if not self.path.exists():
            self.path.mkdir(mode=0o700, exist_ok=True)
            self.path.chmod(self.path.parent.stat().st_mode & 0o2770)

    def address(self, name: str) -> str:
        """A socket's short address."""
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def wake_all(self, own: str) -> None:
        """Send a byte to every watching process but this one. Losing any is harmless: they poll, too."""
        with suppress(OSError):
            for name in os.listdir(self.path):  # noqa: PTH208 - in each commit, and names are all it takes
                if name != own:
                    self._wake(name)

    def _wake(self, name: str) -> None:
        try:
            self._sender.sendto(b"!", self.address(name))
        except ConnectionRefusedError:  # its process died without removing it
            (self.path / name).unlink(missing_ok=True)
        except OSError:
            pass  # a full queue means that wake-ups are waiting there already

    def close(self) -> None:
        """Release the descriptors."""
        self._sender.close()
        os.close(self._descriptor)


class WakeListener:
    """The one thread of a store object that notices other processes' commits and wakes the watches.

    ``read_state`` returns the store's revision and in how many seconds the next lease ends.
    """

    def __init__(self, directory: WakeDirectory, signal: ChangeSignal, read_state: Callable[[], tuple[int, float]]) -> None:
        self._directory = directory
        self._signal = signal
        self._read_state = read_state
        self._pid = os.getpid()
        self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.name = f"{self._pid}-{secrets.token_hex(6)}"
        self._socket = self._bind()
        self._thread = threading.Thread(target=self._run, name="keystore-listener", daemon=True)
        self._thread.start()

    def _bind(self) -> socket.socket:
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        try:
            ours.bind(self._directory.address(self.name))
            # Whoever may write into the directory may wake us; the directory's own mode keeps others out.
            (self._directory.path / self.name).chmod(0o660)
        except OSError as error:
            log.warning("no wake-ups in %s (%s): other processes' changes are seen up to %g s late", self._directory.path, error, POLL_LAST)
        return ours

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        pause, last_revision = POLL_FIRST, -1
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(pause * 1000)]
            if self._stop in ready:
                return
            if ready:  # another process has committed; the watches read the log themselves
                self._drain()
                self._signal.announce()
                pause = POLL_FIRST
                continue
            revision, next_expiry = self._try_to_read_state()
            changed = revision != last_revision
            if changed or next_expiry <= 0:
                self._signal.announce()
            pause = POLL_FIRST if changed else min(2 * pause, POLL_LAST)
            if next_expiry > 0:
                pause = min(pause, max(next_expiry, POLL_FIRST))
            last_revision = revision

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(16)

    def _try_to_read_state(self) -> tuple[int, float]:
        try:
            return self._read_state()
        except KeystoreUnavailable:
            return -1, POLL_LAST  # the watches get the same error, and raise it

    def close(self) -> None:
        """End the thread and remove the socket (unless this is a forked child: both are the parent's)."""
        if os.getpid() == self._pid:
            os.eventfd_write(self._stop, 1)
            self._thread.join()
            with suppress(OSError):
                (self._directory.path / self.name).unlink()
        self._socket.close()
        os.close(self._stop)


class SqliteWatch:
    """A subscription that reads the log from where it stopped, whenever it is woken."""

    def __init__(self, signal: ChangeSignal, poll: Callable[[int, StoreDeadline], Batch], after_revision: int) -> None:
        self._signal = signal
        self._poll = poll
        self._position = after_revision
        self._seen = -1
        self._closed = False

    def next(self, timeout: float) -> Batch | None:
        """The next batch; an empty one when nothing came within ``timeout`` (0: at once) or the heartbeat."""
        deadline = StoreDeadline(timeout)
        heartbeat = StoreDeadline(min(timeout, HEARTBEAT))
        while not self._ended():
            self._signal.wait(self._seen, heartbeat)  # not at all if it was announced since the log was read last
            count = self._signal.count
            try:
                batch = self._poll(self._position, deadline)
            except KeystoreUnavailable:
                if self._ended():  # closed in the meantime, which is no failure
                    break
                raise
            self._position, self._seen = batch.revision, count
            if not self._ended() and (batch.changes or not heartbeat.remaining()):
                return batch
        return None

    def _ended(self) -> bool:
        return self._closed or self._signal.closed

    def close(self) -> None:
        """End the subscription; a ``next`` that waits in another thread returns ``None`` at once."""
        self._closed = True
        self._signal.announce()
