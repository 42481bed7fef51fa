"""etcd's messages and methods, from the descriptions of them that the package etcd3 carries.

protoc wrote them, in a form that protobuf still takes, into modules that only its Python implementation still runs, which is much slower
than the one in C and would be chosen for the whole process. So the modules are not run: the descriptions are constants there.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import CodeType
from typing import Any

from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]

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
