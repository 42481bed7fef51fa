"""etcd's API over gRPC: its messages and methods, channels to its members, and the contract's terms in its words.

gRPC and protobuf are imported here and nowhere else.

**What is used of the package etcd3.** The API of etcd as it ships it, compiled: ``etcd3/etcdrpc/{kv,auth,rpc}_pb2.py``, generated from the
``.proto`` files of etcd 3.3. Every message and every method below is made from them. Its client is not used: it drops revisions, knows one
endpoint, and spins while a server is down.

**Why its modules are read and not imported.** A protoc older than 3.19 generated them. Protobuf 4 and later run such modules in the
pure-Python implementation only, which is many times slower and is chosen once for the whole process, providers included. All that they
contain is built from one argument in their source, ``serialized_pb``: the compiled ``.proto`` file. So this literal is read, and protobuf
makes the classes from it in whichever implementation it runs. ``tests/etcd/test_protocol.py`` names the versions this was tried with. If
etcd3 ever releases modules that current protobuf imports, ``rpc_pb2.DESCRIPTOR.serialized_pb`` replaces :func:`_compiled_proto`.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]

from ..base import Change, Compare, Item, Op, PutKey

# --- messages and methods, from the package etcd3 ---

PROTO_FILES = ("kv", "auth", "rpc")  # each imports those before it
SERVICES = ("KV", "Lease", "Auth", "Watch")

_SERIALIZED_PB = re.compile(r"^  serialized_pb=_b\(('.*')\)$", re.MULTILINE)


def _compiled_proto(name: str) -> bytes:
    """One of etcd's .proto files, compiled. Raises ImportError if etcd3 is missing or does not contain it."""
    package = find_spec("etcd3")
    if package is None or package.origin is None:
        raise ImportError("No module named 'etcd3'")
    module = Path(package.origin).with_name("etcdrpc") / f"{name}_pb2.py"
    literal = _SERIALIZED_PB.search(module.read_text("utf-8")) if module.is_file() else None
    if literal is None:
        raise ImportError(f"the package etcd3 does not describe {name}.proto")
    compiled: str = ast.literal_eval(literal[1])
    return compiled.encode("latin-1")


def _load_api() -> Any:
    pool = descriptor_pool.DescriptorPool()  # not the process's own, where other packages have an rpc.proto, too
    for name in PROTO_FILES:
        pool.AddSerializedFile(_compiled_proto(name))
    return pool.FindFileByName("rpc.proto")


class MessageClasses:
    """etcd's message classes by name: ``messages.RangeRequest``."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def __getattr__(self, name: str) -> Any:
        try:
            message = message_factory.GetMessageClass(self._api.message_types_by_name[name])
        except KeyError:
            raise AttributeError(name) from None
        setattr(self, name, message)  # the next access does not come here
        return message


_api = _load_api()
messages = MessageClasses(_api)


def _methods(channel: Any) -> dict[str, Any]:
    """The methods of all services on a gRPC channel, by name."""
    return {method.name: _method(channel, method) for name in SERVICES for method in _api.services_by_name[name].methods}


def _method(channel: Any, method: Any) -> Any:
    make = channel.stream_stream if method.client_streaming else channel.unary_unary
    request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    path = f"/{method.containing_service.full_name}/{method.name}"
    return make(path, request_serializer=request.SerializeToString, response_deserializer=response.FromString)


# --- what is used of the responses ---


class ResponseHeader(Protocol):
    """The first field of every response."""

    cluster_id: int
    revision: int


class KeyValue(Protocol):
    """A key as etcd stores it."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int


class RangeResponse(Protocol):
    """Keys in order; ``more`` if the limit cut them off."""

    header: ResponseHeader
    kvs: Sequence[KeyValue]
    more: bool


class ResponseOp(Protocol):
    """The response to one operation of a transaction."""

    response_range: RangeResponse


class TxnResponse(Protocol):
    """Whether every compare held, and the responses to the operations of that branch."""

    header: ResponseHeader
    succeeded: bool
    responses: Sequence[ResponseOp]


class WatchEvent(Protocol):
    """A change of one key; ``type`` is PUT or DELETE."""

    type: int
    kv: KeyValue


class WatchResponse(Protocol):
    """Events of a watch. ``compact_revision`` is not 0 if it was cancelled because its history was compacted."""

    header: ResponseHeader
    watch_id: int
    created: bool
    canceled: bool
    compact_revision: int
    cancel_reason: str
    events: Sequence[WatchEvent]


# --- the contract's terms as etcd's messages, and back ---

READABLE_KEY = "/dacc/"
"""Every user of the store may read this key: it is requested where only the response's header matters."""

DELETE = 1


def encode_key(key: str) -> bytes:
    """A key as etcd has it. What is not UTF-8 (another program's) survives both ways."""
    return key.encode("utf-8", "surrogateescape")


def decode_item(stored: KeyValue) -> Item:
    """A key as the contract has it."""
    return Item(stored.key.decode("utf-8", "surrogateescape"), stored.value, stored.mod_revision, stored.lease)


def decode_items(response: RangeResponse) -> tuple[Item, ...]:
    """All items of a response."""
    return tuple(map(decode_item, response.kvs))


def decode_txn_items(response: TxnResponse) -> tuple[Item, ...]:
    """The items of all ranges in a transaction's response."""
    return tuple(item for operation in response.responses for item in decode_items(operation.response_range))


def decode_changes(response: WatchResponse) -> tuple[Change, ...]:
    """The changes of a watch response, in etcd's order."""
    return tuple(map(_decode_change, response.events))


def _decode_change(event: WatchEvent) -> Change:
    item = decode_item(event.kv)
    return Change(item.key, None if event.type == DELETE else item, item.mod_revision)


def key_interval(prefix: str) -> tuple[bytes, bytes]:
    """The ``key`` and ``range_end`` of a prefix; a zero byte as ``range_end`` means that there is no end."""
    first = encode_key(prefix)
    stem = first.rstrip(b"\xff")
    return first or b"\0", stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def range_request(first: bytes, range_end: bytes, limit: int, revision: int) -> Any:
    """One page of a prefix at a revision (0: the current one)."""
    return messages.RangeRequest(key=first, range_end=range_end, limit=limit, revision=revision)


def key_request(key: str, revision: int = 0) -> Any:
    """One key."""
    return messages.RangeRequest(key=encode_key(key), revision=revision)


def keys_request(keys: Iterable[str], revision: int = 0) -> Any:
    """Several keys at one revision, as a transaction of ranges. Not without any: etcd answers that from memory that may be old."""
    return messages.TxnRequest(success=[messages.RequestOp(request_range=key_request(key, revision)) for key in keys])


def txn_request(compares: Sequence[Compare], ops: Sequence[Op], unwritten: Compare | None = None) -> Any:
    """A transaction that returns the compared keys when a compare fails. ``unwritten``: only if this key was not written since then."""
    return messages.TxnRequest(
        compare=[*map(_equal, compares), *([_not_after(unwritten)] if unwritten else [])],
        # Without an operation, read something: etcd answers an empty transaction from memory that may be old.
        success=[*map(_operation, ops)] or [messages.RequestOp(request_range=key_request(compares[0].key if compares else READABLE_KEY))],
        failure=[messages.RequestOp(request_range=key_request(compare.key)) for compare in compares],
    )


def _equal(compare: Compare) -> Any:
    return _compare_revision(compare.key, messages.Compare.EQUAL, compare.mod_revision)


def _not_after(compare: Compare) -> Any:
    return _compare_revision(compare.key, messages.Compare.LESS, compare.mod_revision + 1)


def _compare_revision(key: str, result: int, revision: int) -> Any:
    return messages.Compare(key=encode_key(key), target=messages.Compare.MOD, result=result, mod_revision=revision)


def _operation(op: Op) -> Any:
    if isinstance(op, PutKey):
        return messages.RequestOp(request_put=messages.PutRequest(key=encode_key(op.key), value=op.value, lease=op.lease))
    return messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=encode_key(op.key)))


def lease_grant_request(lease: int, seconds: int) -> Any:
    """A lease with an ID of our choice."""
    return messages.LeaseGrantRequest(ID=lease, TTL=seconds)


def lease_keep_alive_request(lease: int) -> Any:
    """One renewal of a lease."""
    return messages.LeaseKeepAliveRequest(ID=lease)


def lease_revoke_request(lease: int) -> Any:
    """The end of a lease."""
    return messages.LeaseRevokeRequest(ID=lease)


def authenticate_request(user: str, password: str) -> Any:
    """A login, answered by a token."""
    return messages.AuthenticateRequest(name=user, password=password)


def watch_create_request(prefix: str, after_revision: int) -> Any:
    """All changes under a prefix since a revision. Not in fragments, so that each response holds whole revisions."""
    first, range_end = key_interval(prefix)
    request = messages.WatchCreateRequest(key=first, range_end=range_end, start_revision=after_revision + 1)
    return messages.WatchRequest(create_request=request)


def watch_progress_request() -> Any:
    """How far a watch is. The messages of etcd 3.3 do not have it: in 3.4 it is the empty message in field 3 of a WatchRequest."""
    return messages.WatchRequest.FromString(b"\x1a\x00")


# --- channels ---


class RpcFailure(Exception):
    """A call that failed: the name of gRPC's status code, and the details from gRPC or etcd."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


@dataclass(frozen=True, slots=True)
class TlsCertificates:
    """PEM texts; if one is empty, gRPC's own CAs are trusted, or no certificate is sent."""

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


def _import_grpc() -> Any:
    # Whatever gRPC's C core logs goes to stderr, which Slurm takes for a program's output.
    with _environment({"GRPC_VERBOSITY": "NONE"}):
        import grpc  # type: ignore[import-untyped]
    return grpc


_grpc = _import_grpc()

KEEPALIVE_SECONDS = 10.0  # etcd drops clients that ask more often than every 5 s
KEEPALIVE_TIMEOUT = 2.0
_OPTIONS = {
    "grpc.max_receive_message_length": -1,  # a page of records is larger than the default of 4 MB
    "grpc.max_send_message_length": -1,
    "grpc.enable_http_proxy": 0,
    "grpc.enable_retries": 0,  # the client decides what is sent twice, and when
    "grpc.use_local_subchannel_pool": 1,  # a new channel is a new connection
    "grpc.keepalive_time_ms": int(KEEPALIVE_SECONDS * 1000),
    "grpc.keepalive_timeout_ms": int(KEEPALIVE_TIMEOUT * 1000),
}
Metadata = tuple[tuple[str, str], ...]


class EtcdChannel:
    """Connections to one endpoint (``HOST:PORT``), made when the first call needs one."""

    def __init__(self, target: str, tls: TlsCertificates | None) -> None:
        options = list(_OPTIONS.items())
        self._channel = _grpc.secure_channel(target, _credentials(tls), options) if tls else _grpc.insecure_channel(target, options)
        self._methods = _methods(self._channel)

    def call(self, method: str, request: Any, timeout: float, metadata: Metadata) -> Any:
        """One request, one response. Raises RpcFailure."""
        with _RaisingRpcFailure():
            if method == "LeaseKeepAlive":  # a stream by its nature
                return self._first_response(method, request, timeout, metadata)
            return self._methods[method](request, timeout=timeout, metadata=metadata)

    def stream(self, method: str, requests: Iterable[Any], metadata: Metadata) -> StreamingCall:
        """Begin a call with many requests and many responses. Raises RpcFailure."""
        with _RaisingRpcFailure():
            return StreamingCall(self._methods[method](iter(requests), metadata=metadata))

    def close(self) -> None:
        """End every call; never waits."""
        self._channel.close()

    def _first_response(self, method: str, request: Any, timeout: float, metadata: Metadata) -> Any:
        call = self._methods[method](iter((request,)), timeout=timeout, metadata=metadata)
        try:
            return next(call)
        except StopIteration:
            raise RpcFailure("UNAVAILABLE", "closed without an answer") from None
        finally:
            call.cancel()


class StreamingCall:
    """A call with many responses; iterate over them. Raises RpcFailure when it breaks."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        with _RaisingRpcFailure():
            yield from self._call

    def cancel(self) -> None:
        """End it; never waits."""
        self._call.cancel()


def _credentials(tls: TlsCertificates) -> Any:
    return _grpc.ssl_channel_credentials(tls.cacert or None, tls.key or None, tls.cert or None)


class _RaisingRpcFailure:
    """Turns gRPC's errors into RpcFailure. A class: as a generator it would show in the time of each call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, _grpc.RpcError):
            code, details = error.code(), error.details()
            raise RpcFailure(code.name, details or "") from None
        if isinstance(error, ValueError) and "closed channel" in str(error):
            raise RpcFailure("CANCELLED", "the channel is closed") from None
