"""The keys of shared state and the record that each holds."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ..values import Record
from .records import Alive, Allocations, Attachment, BrickHost, Cluster, Counters, History, Pool, Session, Status, VolumeUsage

PREFIX = "/dacc/1/"
"""Everything of schema version 1 lives under this prefix."""

CLUSTER = PREFIX + "cluster"
COUNTERS = PREFIX + "counters"

KINDS: dict[str, type[Record]] = {
    "cluster": Cluster,
    "counters": Counters,
    "pools": Pool,
    "hosts": BrickHost,
    "alive": Alive,
    "allocations": Allocations,
    "sessions": Session,
    "status": Status,
    "usage": VolumeUsage,
    "attachments": Attachment,
    "history": History,
}
"""The record type under each first part of a key."""

R = TypeVar("R", bound=Record)
_DECODERS = {kind: msgspec.json.Decoder(cls) for kind, cls in KINDS.items()}
_encoder = msgspec.json.Encoder()


def key(kind: str, *names: str) -> str:
    """The key of a record: ``key("sessions", "42")`` is ``/dacc/1/sessions/42``."""
    return PREFIX + "/".join((kind, *names))


def split(full: str) -> tuple[str, str]:
    """A key's kind and name: ``("sessions", "42")``."""
    kind, _, name = full.removeprefix(PREFIX).partition("/")
    return kind, name


def encode(record: Record) -> bytes:
    """A record as it is stored."""
    return _encoder.encode(record)


def decode(full: str, value: bytes) -> Record:
    """The record stored under a key; raises ``msgspec.MsgspecError`` for what is none."""
    return _DECODERS[split(full)[0]].decode(value)
