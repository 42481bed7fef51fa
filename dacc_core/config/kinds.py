"""The kinds of values that a setting can have beyond plain text and numbers.

A kind is named in a ``msgspec.Meta(extra={"kind": …})``; its check returns the value as dacc uses it, or
raises ``ValueError`` saying what is wrong and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from .. import names
from ..errors import BadName, BadSize
from ..sizes import parse_size

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9%:][A-Za-z0-9%:_.-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
_LETTER = re.compile(r"%(.?)")
_ENDPOINT = re.compile(r"(https?://)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})/?")

Size = Annotated[int, Meta(extra={"kind": "size", "unit": "bytes"})]
Path = Annotated[str, Meta(extra={"kind": "path"})]
Name = Annotated[str, Meta(extra={"kind": "name"})]
PoolName = Annotated[str, Meta(extra={"kind": "pool"})]
Host = Annotated[str, Meta(extra={"kind": "host"})]
Nodes = Annotated[str, Meta(extra={"kind": "hosts"})]
Address = Annotated[str, Meta(extra={"kind": "address"})]
User = Annotated[str, Meta(extra={"kind": "user"})]
Port = Annotated[int, Meta(ge=1, le=65535)]
Listen = Annotated[str, Meta(extra={"kind": "address and port"})]
Endpoint = Annotated[str, Meta(extra={"kind": "endpoint"})]
Seconds = Annotated[float, Meta(gt=0, extra={"unit": "seconds"})]
Count = Annotated[int, Meta(ge=1)]


def doc(text: str, *, default: str = "", unit: str = "", example: str = "") -> Meta:
    """What the reference page says of a setting. ``default``: how the page puts a default that depends on other things."""
    extra = {name: value for name, value in (("default", default), ("unit", unit)) if value}
    return Meta(description=text, extra=extra, examples=[example] if example else None)


def _size(value: Any) -> int:
    size: int = value if isinstance(value, int) else parse_size(value)
    if size <= 0:
        raise ValueError(f"must be above 0 bytes, not {value}")
    return size


def _path(value: str) -> str:
    if not value.startswith("/") or "\0" in value:
        raise ValueError(f"must be an absolute path, not {value!r}")
    return value if value == "/" else value.rstrip("/")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name: use a letter, then letters, digits, '_', '.' and '-'")
    return value


def _hosts(value: str) -> str:
    if not names.expand(value):
        raise ValueError("names no host")
    return value


def _address(value: str) -> str:
    for letter in _LETTER.findall(value):
        if letter not in ("h", "%"):
            raise ValueError(f"%{letter} means nothing: %h is the host's name, %% is a %")
    if not _ADDRESS.fullmatch(value):
        raise ValueError(f"{value!r} is no address: write a name or an IP address, with %h for the host's name")
    return value


def _user(value: str) -> str:
    if not _USER.fullmatch(value):
        raise ValueError(f"{value!r} is no user's name")
    return value


def split_listen(value: str) -> tuple[str, int]:
    """The address and the port of ``127.0.0.1:9753``, ``[::1]:9753`` or ``name:9753``. Raises ``ValueError``."""
    host, _, port = value.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if not bare or (":" in bare) != (bare != host) or not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ValueError(f"{value!r}: write an address and a port, such as 127.0.0.1:9753 or [::1]:9753")
    return bare, int(port)


def _listen(value: str) -> str:
    split_listen(value)
    return value


def _endpoint(value: str) -> str:
    match = _ENDPOINT.fullmatch(value)
    if not match or not 0 < int(match[3]) < 1 << 16:
        raise ValueError(f"{value!r} is no endpoint: write HOST:PORT, http://HOST:PORT or https://HOST:PORT")
    return value.rstrip("/")


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "size": _size,
    "path": _path,
    "name": _name,
    "pool": names.check_pool,
    "host": names.check_host,
    "hosts": _hosts,
    "address": _address,
    "user": _user,
    "address and port": _listen,
    "endpoint": _endpoint,
}


def check(kind: str, value: Any) -> Any:
    """``value`` as dacc uses it. Raises ``ValueError``; an empty kind allows everything."""
    try:
        return _CHECKS[kind](value) if kind else value
    except BadName as error:
        raise ValueError(f"{error.fields['name']!r}: {error.fields['why']}") from None
    except BadSize as error:
        raise ValueError(str(error)) from None
