"""gRPC, imported here and nowhere else, and types for what we use of etcd's messages.

Of the package etcd3 only the descriptions of messages serve, which are those of etcd 3.3: see :mod:`.etcd_types`. Its client is left alone:
it drops revisions, knows one endpoint, and spins while a server is down.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from .types import methods

# Whatever gRPC's C core logs goes to stderr, which Slurm takes for a program's output.
_WHILE_IMPORTING = {"GRPC_VERBOSITY": "NONE"}
SERVICES = ("KV", "Lease", "Auth", "Watch")

KEEPALIVE_SECONDS = 10.0  # etcd drops clients that ask more often than every 5 s
KEEPALIVE_PATIENCE = 2.0


class Header(Protocol):
    """What every answer begins with."""

    cluster_id: int
    revision: int


class KeyValue(Protocol):
    """A key as etcd stores it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int


class RangeReply(Protocol):
    """Keys in order; ``more`` when the limit cut them off."""

    header: Header
    kvs: Sequence[KeyValue]
    more: bool


class OpReply(Protocol):
    """The answer to one operation of a transaction."""

    response_range: RangeReply


class TxnReply(Protocol):
    """Which branch of a transaction was done, and its answers."""

    header: Header
    succeeded: bool
    responses: Sequence[OpReply]


class Event(Protocol):
    """A change; ``type`` 1 is a deletion."""

    type: int
    kv: KeyValue


class WatchReply(Protocol):
    """News from a watch. ``compact_revision`` is not 0 when it was cancelled since its history has gone."""

    header: Header
    watch_id: int
    created: bool
    canceled: bool
    compact_revision: int
    cancel_reason: str
    events: Sequence[Event]


class RpcFailure(Exception):
    """A call without a good answer: gRPC's code by name, and what it or etcd says."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts; an empty one is left to gRPC (the CA) or not sent (our own certificate)."""

    cacert: bytes = b""
    cert: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: value for name, value in settings.items() if before[name] is None})
    try:
        yield
    finally:
        for name in settings:
            if before[name] is None:
                del os.environ[name]


def _import() -> Any:
    with _environment(_WHILE_IMPORTING):
        import grpc  # type: ignore[import-untyped]
    return grpc


_grpc = _import()

_OPTIONS = {
    "grpc.max_receive_message_length": -1,  # a page of records is larger than the 4 MB that are usual
    "grpc.max_send_message_length": -1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,  # what is sent twice, and when, is decided by us
    "grpc.use_local_subchannel_pool": 1,  # a new channel is a new connection
    "grpc.keepalive_time_ms": int(KEEPALIVE_SECONDS * 1000),
    "grpc.keepalive_timeout_ms": int(KEEPALIVE_PATIENCE * 1000),
}
Metadata = tuple[tuple[str, str], ...]


class Stream:
    """A call with many answers; iterate over them. Raises RpcFailure when it breaks."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        with _OurErrors():
            yield from self._call

    def cancel(self) -> None:
        """End it; never waits."""
        self._call.cancel()


class Channel:
    """Connections to one endpoint (``HOST:PORT``), made when the first call needs one."""

    def __init__(self, target: str, tls: Tls | None) -> None:
        options = list(_OPTIONS.items())
        self._channel = _grpc.secure_channel(target, _credentials(tls), options) if tls else _grpc.insecure_channel(target, options)
        self._methods = methods(self._channel, SERVICES)

    def call(self, method: str, request: Any, timeout: float, metadata: Metadata) -> Any:
        """One request, one answer. Raises RpcFailure."""
        with _OurErrors():
            if method == "LeaseKeepAlive":  # a stream by its nature
                return self._first(method, request, timeout, metadata)
            return self._methods[method](request, timeout=timeout, metadata=metadata)

    def stream(self, method: str, requests: Iterable[Any], metadata: Metadata) -> Stream:
        """Begin a call with many requests and many answers. Raises RpcFailure."""
        with _OurErrors():
            return Stream(self._methods[method](iter(requests), metadata=metadata))

    def close(self) -> None:
        """End every call; never waits."""
        self._channel.close()

    def _first(self, method: str, request: Any, timeout: float, metadata: Metadata) -> Any:
        call = self._methods[method](iter((request,)), timeout=timeout, metadata=metadata)
        try:
            return next(call)
        except StopIteration:
            raise RpcFailure("UNAVAILABLE", "closed without an answer") from None
        finally:
            call.cancel()


def _credentials(tls: Tls) -> Any:
    return _grpc.ssl_channel_credentials(tls.cacert or None, tls.key or None, tls.cert or None)


class _OurErrors:
    """gRPC's errors become ours. A class: as a generator it would show in the time of each call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, _grpc.RpcError):
            code, details = error.code(), error.details()
            raise RpcFailure(code.name, details or "") from None
        if isinstance(error, ValueError) and "closed channel" in str(error):
            raise RpcFailure("CANCELLED", "the channel is closed") from None
