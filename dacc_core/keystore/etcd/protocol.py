"""gRPC, imported here and nowhere else, and types for what we use of etcd's messages.

Of the package etcd3 only the descriptions of messages serve, which are those of etcd 3.3: see :mod:`.etcd_types`. Its client is left alone:
it drops revisions, knows one endpoint, and spins while a server is down.

etcd's messages and methods, from the descriptions of them that the package etcd3 carries.

protoc wrote them, in a form that protobuf still takes, into modules that only its Python implementation still runs, which is much slower
than the one in C and would be chosen for the whole process. So the modules are not run: the descriptions are constants there.

The contract's terms as etcd's messages, and back. Keys are UTF-8 there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import CodeType, TracebackType
from typing import Any, Protocol, Self

from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]

from ..base import Change, Compare, Item, Op, PutKey

FILES = ("kv", "auth", "rpc")  # each needs those before it
PACKAGE = "etcdserverpb"


class Messages:
    """The classes of messages, by name."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        try:
            made = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        except KeyError:
            raise AttributeError(name) from None
        setattr(self, name, made)  # is found without us from now on
        return made


def methods(channel: Any, services: tuple[str, ...]) -> dict[str, Any]:
    """What can be called on a channel of gRPC, by name."""
    return {method.name: _callable(channel, method) for name in services for method in _services[name].methods}


def _callable(channel: Any, method: Any) -> Any:
    make = channel.stream_stream if method.client_streaming else channel.unary_unary
    request, reply = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    path = f"/{method.containing_service.full_name}/{method.name}"
    return make(path, request_serializer=request.SerializeToString, response_deserializer=reply.FromString)


def _load() -> tuple[Messages, Any]:
    pool = descriptor_pool.DescriptorPool()  # not the process's own, where other packages have an rpc.proto, too
    for name in FILES:
        pool.AddSerializedFile(_description(name))
    return Messages(pool), pool.FindFileByName("rpc.proto").services_by_name


def _description(name: str) -> bytes:
    """Of one file. Raises ImportError when etcd3 is not installed, or is another one than we know."""
    start = f"\n{chr(len(name) + 6)}{name}.proto".encode()
    for constant in _code(f"{name}_pb2").co_consts:
        written = constant.encode("latin-1", "ignore") if isinstance(constant, str) else constant
        if isinstance(written, bytes) and written.startswith(start):
            return written
    raise ImportError(f"the package etcd3 does not describe {name}.proto")


def _code(module: str) -> CodeType:
    """One of its modules, compiled."""
    package = find_spec("etcd3")
    places = (package.submodule_search_locations if package else None) or ()
    spec = PathFinder.find_spec(module, [f"{place}/etcdrpc" for place in places]) if places else None
    code = spec.loader.get_code(module) if spec and spec.loader else None  # type: ignore[attr-defined]
    if code is None:
        raise ImportError("No module named 'etcd3'")
    return code  # type: ignore[no-any-return]


messages, _services = _load()


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


HOME = "/dacc/"
"""Whoever may use the store at all may read here: what is asked for when only the answer's revision matters."""

DELETED = 1


def encoded(key: str) -> bytes:
    """A key as etcd has it. What is no UTF-8 (another program's) survives both ways."""
    return key.encode("utf-8", "surrogateescape")


def item_of(stored: KeyValue) -> Item:
    """A key as the contract has it."""
    return Item(stored.key.decode("utf-8", "surrogateescape"), stored.value, stored.mod_revision, stored.lease)


def items_of(reply: RangeReply) -> tuple[Item, ...]:
    """All items of an answer."""
    return tuple(map(item_of, reply.kvs))


# --- reading ---


def interval(prefix: str) -> tuple[bytes, bytes]:
    """The first key and the first beyond of all that start with a prefix; a zero byte as second stands for no end."""
    first = encoded(prefix)
    stem = first.rstrip(b"\xff")
    return first or b"\0", stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def page(first: bytes, beyond: bytes, limit: int, revision: int) -> Any:
    """Part of a prefix as it was at a revision (0: as it is)."""
    return messages.RangeRequest(key=first, range_end=beyond, limit=limit, revision=revision)


def one(key: str, revision: int = 0) -> Any:
    """One key."""
    return messages.RangeRequest(key=encoded(key), revision=revision)


def several(keys: Iterable[str], revision: int = 0) -> Any:
    """Several keys at one revision. A transaction of ranges, as etcd would answer one without any from memory that may be old."""
    return messages.TxnRequest(success=[messages.RequestOp(request_range=one(key, revision)) for key in keys])


def found(reply: TxnReply) -> tuple[Item, ...]:
    """The items that a transaction of ranges found."""
    return tuple(item for answer in reply.responses for item in items_of(answer.response_range))


# --- writing ---


def transaction(compares: Sequence[Compare], ops: Sequence[Op], unwritten: Compare | None = None) -> Any:
    """A transaction that returns the compared keys when a compare fails. ``unwritten``: only if this key was not written since then."""
    return messages.TxnRequest(
        compare=[*map(_compare, compares), *([_not_after(unwritten)] if unwritten else [])],
        # Without an operation, ask for something: etcd would answer an empty transaction from memory that may be old.
        success=[*map(_operation, ops)] or [messages.RequestOp(request_range=one(compares[0].key if compares else HOME))],
        failure=[messages.RequestOp(request_range=one(compare.key)) for compare in compares],
    )


def current(reply: TxnReply, compares: Sequence[Compare]) -> dict[str, Item | None]:
    """The compared keys as a failed transaction found them."""
    found = {item.key: item for answer in reply.responses for item in items_of(answer.response_range)}
    return {compare.key: found.get(compare.key) for compare in compares}


def _compare(compare: Compare) -> Any:
    return _by_revision(compare.key, messages.Compare.EQUAL, compare.mod_revision)


def _not_after(compare: Compare) -> Any:
    return _by_revision(compare.key, messages.Compare.LESS, compare.mod_revision + 1)


def _by_revision(key: str, result: int, revision: int) -> Any:
    return messages.Compare(key=encoded(key), target=messages.Compare.MOD, result=result, mod_revision=revision)


def _operation(op: Op) -> Any:
    if isinstance(op, PutKey):
        return messages.RequestOp(request_put=messages.PutRequest(key=encoded(op.key), value=op.value, lease=op.lease))
    return messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=encoded(op.key)))


# --- leases ---


def grant(lease: int, seconds: int) -> Any:
    """A lease with a number of our choice."""
    return messages.LeaseGrantRequest(ID=lease, TTL=seconds)


def renewal(lease: int) -> Any:
    """One sign of life."""
    return messages.LeaseKeepAliveRequest(ID=lease)


def revocation(lease: int) -> Any:
    """The end of a lease."""
    return messages.LeaseRevokeRequest(ID=lease)


# --- watching ---


def watch(prefix: str, after_revision: int) -> Any:
    """All changes under a prefix since a revision. Not in fragments, so that each answer holds whole revisions."""
    first, beyond = interval(prefix)
    request = messages.WatchCreateRequest(key=first, range_end=beyond, start_revision=after_revision + 1)
    return messages.WatchRequest(create_request=request)


def progress() -> Any:
    """Asks how far a watch is. etcd 3.4 knows it as an empty field 3 of the request; the messages of 3.3 carry it as an unknown one."""
    return messages.WatchRequest.FromString(b"\x1a\x00")


def changes_of(reply: WatchReply) -> tuple[Change, ...]:
    """What happened, in etcd's order."""
    return tuple(map(_change, reply.events))


def _change(event: Event) -> Change:
    item = item_of(event.kv)
    return Change(item.key, None if event.type == DELETED else item, item.mod_revision)
