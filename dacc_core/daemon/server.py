"""The daemon's socket: every connection is one call, in a thread of its own.

A thread that waits costs some kilobytes, and no call stands behind another: a read is answered while hundreds wait. A client that
goes away cancels nothing; what its verb recorded is pursued, and the answer is dropped.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from ..errors import DaccError, Unavailable
from ..failpoints import failpoint
from ..verbs.frontend import Answer, PeerCredentials, SessionNotice
from .listener import SocketListener
from .protocol import ALIVE, MAX_LINE, MAX_STRANGER_LINE, SocketRequest, caller_of, final_line, notice_line, parse, read_line, refusal

__all__ = ["Handler", "Reply", "Server", "SocketRequest"]

log = logging.getLogger("dacc.daemon")

Reply = Callable[[Answer | SessionNotice], None]
Handler = Callable[[SocketRequest, Reply], None]

SEND_SECONDS = 10.0
"""How long a client may take to accept what it is sent."""
CLOSE_SECONDS = 5.0
"""How long closing waits for answers that are being sent."""
STRANGERS = 4
"""Callers who are not trusted get one of so many connections, so that they cannot take Slurm's."""

BUSY = Answer(rc=75, stdout="dacd: busy: too many calls at once: call again\n")
STOPPING = refusal(Unavailable(why="the daemon stops, what was asked goes on when it runs again: call again"))
BROKEN = Answer(rc=1, stdout="dacd: internal error: see the log of dacd\n")


class Server:
    """Calls come in at ``path`` and go to ``handle(request, reply)``, which runs in the connection's thread and must not block.

    ``reply`` may be called at once or later, from any thread; only the first answer counts, and notices before it are passed on at once.
    ``trusted``: whether a uid may do everything. ``keepalive``: seconds between the signs of life that a waiting client gets;
    ``request_seconds``: how long it may take to send its request.
    """

    def __init__(
        self,
        path: str,
        handle: Handler,
        *,
        trusted: Callable[[int], bool],
        group: str | int | None = None,
        mode: int = 0o666,
        max_connections: int = 1024,
        keepalive: float = 5.0,
        request_seconds: float = 10.0,
    ) -> None:
        self.path, self.handle, self.trusted = path, handle, trusted
        self.keepalive, self.request_seconds = keepalive, request_seconds
        self._group, self._mode, self._max_connections = group, mode, max_connections
        self._lock = threading.Lock()
        self._connections: set[_CallConnection] = set()
        self._strangers = 0
        self._closing = threading.Event()
        self._listener: SocketListener | None = None
        self._accepting = threading.Thread(target=self._accept, name="dacd-accept", daemon=True)

    def start(self) -> None:
        """Listen. Raises Busy if someone else does, BadConfig if the place is impossible."""
        self._listener = SocketListener(self.path, group=self._group, mode=self._mode)
        self._accepting.start()

    def close(self, *, drain: bool) -> None:
        """Stop listening and end every connection; calls being answered are answered.

        With ``drain`` another daemon is about to run here: waiting clients lose their connection, on which they repeat the call.
        Without, they get the answer that the daemon stops.
        """
        with self._lock:
            first = not self._closing.is_set()
            self._closing.set()
            connections = list(self._connections)
        if self._listener is None or not first:
            return
        self._listener.close()
        for connection in connections:
            connection.end(None if drain else STOPPING)
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in [self._accepting, *(connection.thread for connection in connections)]:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def closing(self) -> bool:
        """Whether new calls are for the next daemon."""
        return self._closing.is_set()

    def admit(self, caller: PeerCredentials) -> bool:
        """Count a caller who is not trusted; False if there are too many of them."""
        with self._lock:
            if caller.trusted:
                return True
            self._strangers += 1
            return self._strangers <= max(1, self._max_connections // STRANGERS)

    def forget(self, connection: _CallConnection, caller: PeerCredentials | None) -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(connection)
            if caller is not None and not caller.trusted:
                self._strangers -= 1

    def _accept(self) -> None:
        assert self._listener is not None
        troubled = False
        while not self._closing.is_set():
            try:
                peer, _ = self._listener.socket.accept()
            except OSError as error:  # no descriptors left, for example: those who wait must not be lost for it
                if not (troubled or self._closing.is_set()):
                    log.error("calls cannot be accepted", extra={"why": str(error)})
                troubled = True
                self._closing.wait(0.1)
                continue
            troubled = False
            self._welcome(peer)

    def _welcome(self, peer: socket.socket) -> None:
        connection = _CallConnection(self, peer)
        with self._lock:
            if self._closing.is_set():
                peer.close()
                return
            full = len(self._connections) >= self._max_connections
            if not full:
                self._connections.add(connection)
                full = not _start(connection.thread)
                if full:
                    self._connections.discard(connection)
        if full:
            _turn_away(peer)


def _start(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # the system's limit of threads
        return False
    return True


def _turn_away(peer: socket.socket) -> None:
    with peer:
        peer.setblocking(False)
        try:
            peer.send(final_line(BUSY))
        except OSError:
            log.debug("a client that was turned away did not listen")


class _CallConnection:
    """One client, from its request to its answer."""

    def __init__(self, server: Server, peer: socket.socket) -> None:
        self._server, self._peer = server, peer
        self._caller: PeerCredentials | None = None
        self._answers: SimpleQueue[Answer | SessionNotice | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="dacd-call", daemon=True)

    def end(self, answer: Answer | None) -> None:
        """The server closes: stop reading, and stop waiting with this answer or none."""
        self._answers.put(answer)
        try:
            self._peer.shutdown(socket.SHUT_RD)
        except OSError:
            log.debug("a connection ended by itself")

    def _run(self) -> None:
        try:
            answer = self._answer()
            if answer is not None:
                self._send(_encoded(answer))
        except OSError:
            log.debug("a client went away before its answer")
        except Exception:
            log.exception("a call failed")
        finally:
            self._server.forget(self, self._caller)  # first: a client that sees the end finds its place free
            self._peer.close()

    def _answer(self) -> Answer | None:
        """The answer to give, or none if the client shall ask again."""
        self._caller = caller_of(self._peer, self._server.trusted)
        if not self._server.admit(self._caller):
            return BUSY
        try:
            request = self._request(self._caller)
        except DaccError as error:
            if not self._server.closing():
                return refusal(error)
            request = None  # cut off by us
        if self._server.closing():
            return self._wait()
        return None if request is None else self._handle(request)

    def _request(self, caller: PeerCredentials) -> SocketRequest | None:
        line = read_line(self._peer, MAX_LINE if caller.trusted else MAX_STRANGER_LINE, self._server.request_seconds)
        return None if line is None else parse(line, caller)

    def _handle(self, request: SocketRequest) -> Answer | None:
        try:
            failpoint("server.received")
            self._server.handle(request, self._answers.put)
        except DaccError as error:
            return refusal(error)
        except Exception:
            log.exception("a call failed")
            return BROKEN
        return self._wait()

    def _wait(self) -> Answer | None:
        while True:
            try:
                answer = self._answers.get(timeout=self._server.keepalive)
            except Empty:
                self._send(ALIVE)
                continue
            if not isinstance(answer, SessionNotice):
                return answer
            self._send(notice_line(answer))
            failpoint("server.told")

    def _send(self, line: bytes) -> None:
        self._peer.settimeout(SEND_SECONDS)
        self._peer.sendall(line)


def _encoded(answer: Answer) -> bytes:
    failpoint("server.answers")
    try:
        return final_line(answer)
    except (TypeError, ValueError):
        log.exception("an answer cannot be sent")
        return final_line(BROKEN)
