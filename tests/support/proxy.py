"""A TCP proxy on the loopback that can hold what passes, lose it, or refuse connections: the faults of a network, on command."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Iterator

Pair = tuple[socket.socket, socket.socket]
FRAME_HEADER, DATA, HEADERS, PREFACE = 9, 0, 1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Proxy:
    """Forwards connections to ``127.0.0.1:<to>`` from a port of its own, while no fault is set. ``connections`` counts them.

    ``connect`` makes the connection to what is elsewhere.
    """

    def __init__(self, to: int, connect: Callable[[int], socket.socket] | None = None) -> None:
        self._connect = functools.partial(connect or _connect, to)
        self._changed = threading.Condition()
        self._pairs: set[Pair] = set()
        self._holding = False
        self._losses: dict[bool, Callable[[], object]] = {}
        self.connections = 0
        self._listener = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Forward nothing; at the end, what was held is dropped with its connections."""
        self._hold(True)
        try:
            yield
        finally:
            self.cut()
            self._hold(False)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Refuse connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # its thread closes it
        self.cut()
        try:
            yield
        finally:
            self._listener = self._listen(self.port)

    def lose_request(self, then: Callable[[], object] = bool) -> None:
        """Drop the next call that a client sends, call ``then``, and break the connection."""
        self._losses[False] = then

    def lose_answer(self, then: Callable[[], object] = bool) -> None:
        """Drop the next answer that the server sends, call ``then``, and break the connection."""
        self._losses[True] = then

    def cut(self) -> None:
        """Break every connection."""
        with self._changed:
            for pair in self._pairs:
                _break(pair)
            self._pairs.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Break every connection and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()

    def _hold(self, holding: bool) -> None:
        with self._changed:
            self._holding = holding
            self._changed.notify_all()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), name="proxy", daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with listener, contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), name="proxy", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), self._connect() as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = (client, server)
            with self._changed:
                self._pairs.add(pair)
            back = threading.Thread(target=self._pump, args=(pair, server, client, True), name="proxy", daemon=True)
            back.start()
            self._pump(pair, client, server, False)
            back.join()

    def _pump(self, pair: Pair, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(1 << 16)) and self._may_pass(pair, data, answers):
                sink.sendall(data)
        _break(pair)
        with self._changed:
            self._pairs.discard(pair)

    def _may_pass(self, pair: Pair, data: bytes, answers: bool) -> bool:
        then = self._losses.pop(answers, None) if _is_of_a_call(data) else None
        if then is not None:
            then()
            return False
        with self._changed:
            self._changed.wait_for(lambda: not self._holding or pair not in self._pairs)
            return pair in self._pairs


def _is_of_a_call(data: bytes) -> bool:
    """Whether there is more in it than what keeps an HTTP/2 connection going: the frames HEADERS and DATA (RFC 9113, section 6)."""
    data = data.removeprefix(PREFACE)
    while len(data) >= FRAME_HEADER:
        if data[3] in (DATA, HEADERS):
            return True
        data = data[FRAME_HEADER + int.from_bytes(data[:3], "big") :]
    return False


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def _break(pair: Pair) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
