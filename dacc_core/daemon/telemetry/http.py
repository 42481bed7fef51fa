"""Serves the metrics over HTTP. A client has some seconds for each part of its request, and few are served at once."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ...config.kinds import split_listen
from ...errors import BadConfig, Busy

log = logging.getLogger("dacc.metrics")
SECONDS = 10.0
SCRAPES = 8
"""Scrapes at once; more are turned away."""


class _ScrapeHandler(BaseHTTPRequestHandler):
    """One scrape."""

    timeout = SECONDS
    server: MetricsServer

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            self.send_error(404, "the metrics are at /metrics")
            return
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        try:
            body = encode(self.server.registry)
        except Exception:
            log.exception("a scrape failed")
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("scrape", extra={"line": format % args})


class MetricsServer(socketserver.ThreadingTCPServer):
    """Listens from its making on; raises Busy when the port is in use, BadConfig when the address is impossible."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * SCRAPES

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._slots = threading.BoundedSemaphore(SCRAPES)
        self._thread = threading.Thread(target=self.serve_forever, name="metrics", daemon=True)
        try:
            address = socket.getaddrinfo(*split_listen(listen), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self.address_family = address[0]
            super().__init__((str(address[4][0]), split_listen(listen)[1]), _ScrapeHandler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Busy(why=f"metrics.listen {listen}: somebody listens there already: give this dacd another port") from error
            raise BadConfig(problems=f"metrics.listen {listen}: cannot listen there: {error.strerror or error}") from error

    def start(self) -> None:
        """Answer scrapes."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each scrape, while there are free slots."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system's limit of threads
            self._slots.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One scrape, which gives its slot back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""
        log.debug("a scrape ended early", exc_info=True)
