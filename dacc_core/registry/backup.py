"""The whole state as one file, and back.

A backup is lines of JSON: a header, a record per line, and a checksum of all lines before it. A restored record is as it was, but for what
must never be used again (names of volumes, ids, generations): that goes far ahead of anything given out since the backup was taken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import AlreadyExists, Busy, InvalidRequest, KeystoreMissing, KeystoreUnavailable, WrongCluster
from ..keystore.base import Compare, DeleteKey, Keystore, Op, PutKey, Snapshot
from ..values import Record
from . import keys
from .records import Allocations, BrickHost, Cluster, Counters, Status
from .transaction import MOST_CHANGES

FORMAT = 1
SCHEMA = Cluster(id="").schema
NEVER = ("alive", "usage")
"""Kinds that are neither backed up nor restored: bound to leases, or measured anew."""

MOST_BYTES = 512 * 1024
"""What one transaction of a restore holds at most, or little more: etcd refuses more than 1.5 MiB."""
SECONDS = 60.0

SERIALS_AHEAD, HOSTS_AHEAD, IDS_AHEAD, GENERATIONS_AHEAD = 10_000, 100, 100_000, 1_000_000


class BackupHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. ``taken`` is when, ``revision`` of which state; ``records`` is how many lines follow before the checksum."""

    dacc: str
    format: int
    cluster: str
    schema: int
    revision: int
    taken: float
    records: int


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record. ``base64`` holds a value that is no line of JSON."""

    key: str
    value: msgspec.Raw = msgspec.Raw()
    base64: str = ""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was read and found whole. ``values`` maps keys, without their prefix, to what they hold."""

    header: BackupHeader
    values: Mapping[str, bytes]

    @property
    def day(self) -> str:
        """The day on which it was taken."""
        return _day(self.header.taken)


# --- the file ---


def dump(snapshot: Snapshot, at: float, where: str) -> tuple[bytes, BackupHeader]:
    """The state as the bytes of a file. Raises KeystoreMissing when there is none, Busy when it is being restored."""
    values = {item.key.removeprefix(keys.PREFIX): item.value for item in snapshot.items if keys.split(item.key)[0] not in NEVER}
    cluster = _cluster(snapshot)
    if cluster is None:
        raise KeystoreMissing(where=where, hint="the store there was never used by a dacd")
    if cluster.restoring:
        raise Busy(why=f"keystore {where} holds a restore that has not ended: repeat dacc restore")
    header = BackupHeader(
        dacc="backup",
        format=FORMAT,
        cluster=cluster.id,
        schema=cluster.schema,
        revision=snapshot.revision,
        taken=at,
        records=len(values),
    )
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in (header, *_lines(values)))
    return body + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n", header


def _lines(values: Mapping[str, bytes]) -> Iterator[_Line]:
    for key, value in values.items():
        if _is_line_of_json(value):
            yield _Line(key=key, value=msgspec.Raw(value))
        else:
            yield _Line(key=key, base64=base64.b64encode(value).decode())


def _is_line_of_json(value: bytes) -> bool:
    try:
        msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return len(value.splitlines()) == 1 and value == value.strip()


def parse(data: bytes, name: str) -> Backup:
    """The backup in a file's bytes, every check passed. Raises InvalidRequest, saying what is wrong with it."""
    lines = data.splitlines(keepends=True)
    header = _header(lines[0] if lines else b"", name)
    body, checksum = b"".join(lines[:-1]), _decoded(lines[-1]).get("sha256")
    if checksum != hashlib.sha256(body).hexdigest():
        raise InvalidRequest(why=f"backup {name} is cut off or was changed: its checksum is wrong")
    if header.format != FORMAT or header.schema != SCHEMA:
        written = f"format {header.format}, schema {header.schema}"
        raise InvalidRequest(why=f"backup {name} is of {written}; this version of dacc reads format {FORMAT}, schema {SCHEMA}")
    values = dict(_value(line) for line in lines[1:-1])
    if len(values) != header.records or "cluster" not in values:
        raise InvalidRequest(why=f"backup {name} has {len(values)} records instead of {header.records}, or no cluster")
    return Backup(header, values)


def _header(line: bytes, name: str) -> BackupHeader:
    try:
        header = msgspec.json.decode(line, type=BackupHeader)
    except msgspec.MsgspecError:
        raise InvalidRequest(why=f"{name} is no backup of dacc") from None
    if header.dacc != "backup":
        raise InvalidRequest(why=f"{name} is no backup of dacc")
    return header


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _value(line: bytes) -> tuple[str, bytes]:
    record = msgspec.json.decode(line, type=_Line)
    return record.key, base64.b64decode(record.base64) if record.base64 else bytes(record.value)


# --- back into a store ---


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: how many records it wrote, and the bricks that it put into quarantine, by host."""

    records: int
    aside: Mapping[str, tuple[str, ...]]


def restore(store: Keystore, backup: Backup, *, cluster: str, force: bool, trust_free: bool, at: float) -> Restored:
    """Write a backup into an empty store, or with ``force`` over another state of the same cluster when no host is alive.

    The ``cluster`` record is marked first and becomes whole last: between, no program uses the store, and another restore begins anew.
    ``cluster``: the id that the configuration wants, or empty. Unless ``trust_free``, free bricks go into quarantine. Raises WrongCluster,
    AlreadyExists, Busy, KeystoreUnavailable.
    """
    if cluster and backup.header.cluster != cluster:
        raise WrongCluster(where="backup", found=backup.header.cluster, wanted=cluster)
    before = store.range(keys.PREFIX, timeout=SECONDS)
    _check(before, store.where, backup, force=force)
    values, aside = _ahead(backup, at, trust_free=trust_free)
    mark = _mark(store, before, backup)
    now = store.range(keys.PREFIX, timeout=SECONDS)
    _withdraw_if_alive(store, before, now, mark)
    ops: list[Op] = [DeleteKey(item.key) for item in now.items if item.key != keys.CLUSTER]
    ops = [op for op in ops if op.key.removeprefix(keys.PREFIX) not in values]
    ops += [PutKey(keys.PREFIX + key, value) for key, value in values.items()]
    for part in _parts(ops):
        _write(store, mark, part)
    _write(store, mark, [PutKey(keys.CLUSTER, backup.values["cluster"])])
    return Restored(len(backup.values), aside)


def _check(before: Snapshot, where: str, backup: Backup, *, force: bool) -> None:
    present = _cluster(before)
    if present is not None and present.id != backup.header.cluster:
        raise WrongCluster(where=where, found=present.id, wanted=backup.header.cluster)
    begun = present is not None and present.restoring
    if before.items and not force and not begun:
        why = f"keystore {where} is not empty ({len(before.items)} records): --force replaces them all, when no host is alive"
        raise AlreadyExists(why=why)
    _check_dead(before)


def _check_dead(snapshot: Snapshot) -> None:
    alive = [name for kind, name in map(keys.split, (item.key for item in snapshot.items)) if kind == "alive"]
    if alive:
        raise Busy(why=f"daemons use this keystore: stop dacd on {', '.join(alive)} first")


def _mark(store: Keystore, before: Snapshot, backup: Backup) -> int:
    """Make the store unusable for every program but this one; the revision of the mark, on which every later write depends."""
    revision = next((item.mod_revision for item in before.items if item.key == keys.CLUSTER), 0)
    marked = Cluster(id=backup.header.cluster, restoring=True)
    result = store.txn((Compare(keys.CLUSTER, revision),), (PutKey(keys.CLUSTER, keys.encode(marked)),), timeout=SECONDS)
    if not result.ok:
        raise Busy(why=f"keystore {store.where} was changed by somebody else at this moment: look, then call again")
    return result.revision


def _withdraw_if_alive(store: Keystore, before: Snapshot, now: Snapshot, mark: int) -> None:
    """A daemon that registered before the mark has a right to its store: give it back as it was."""
    try:
        _check_dead(now)
    except Busy:
        former = next((item.value for item in before.items if item.key == keys.CLUSTER), None)
        _write(store, mark, [PutKey(keys.CLUSTER, former) if former is not None else DeleteKey(keys.CLUSTER)])
        raise


def _write(store: Keystore, mark: int, ops: list[Op]) -> None:
    result = store.txn((Compare(keys.CLUSTER, mark),), ops, timeout=SECONDS)
    if not result.ok:
        raise KeystoreUnavailable(where=store.where, why="another restore began at the same time: repeat dacc restore")


def _parts(ops: Iterable[Op]) -> Iterator[list[Op]]:
    part: list[Op] = []
    size = 0
    for op in ops:
        more = len(op.value) if isinstance(op, PutKey) else 0
        if part and (len(part) == MOST_CHANGES or size + more > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(op)
        size += more
    if part:
        yield part


def _cluster(snapshot: Snapshot) -> Cluster | None:
    value = next((item.value for item in snapshot.items if item.key == keys.CLUSTER), None)
    record = keys.decode(keys.CLUSTER, value) if value is not None else None
    return record if isinstance(record, Cluster) else None


# --- what differs from the backup ---


def _ahead(backup: Backup, at: float, *, trust_free: bool) -> tuple[dict[str, bytes], dict[str, tuple[str, ...]]]:
    """What to write, without the cluster; and the bricks put into quarantine."""
    aside = {}
    values = {key: value for key, value in backup.values.items() if key.partition("/")[0] not in ("cluster", *NEVER)}
    for key, value in values.items():
        record = _moved(_record(key, value))
        kind, name = keys.split(keys.PREFIX + key)
        if isinstance(record, Allocations) and not trust_free:
            record, devices = _put_aside(record, _record(f"hosts/{name}", values.get(f"hosts/{name}")), backup, at)
            if devices:
                aside[name] = devices
        if record is not None and kind in ("counters", "allocations", "status"):
            values[key] = keys.encode(record)
    return values, aside


def _record(key: str, value: bytes | None) -> Record | None:
    if value is None or keys.split(keys.PREFIX + key)[0] not in keys.KINDS:
        return None
    try:
        return keys.decode(keys.PREFIX + key, value)
    except msgspec.MsgspecError:
        return None  # nobody could read it before either


def _moved(record: Record | None) -> Record | None:
    """The record, ahead of everything that may have been given out since: no name, id or generation is ever used twice."""
    match record:
        case Counters():
            return msgspec.structs.replace(record, host=record.host + HOSTS_AHEAD, persistent=record.persistent + IDS_AHEAD)
        case Allocations():
            return msgspec.structs.replace(record, serial=record.serial + SERIALS_AHEAD)
        case Status():
            return msgspec.structs.replace(record, generation=record.generation + GENERATIONS_AHEAD)
    return record


def _put_aside(held: Allocations, host: Record | None, backup: Backup, at: float) -> tuple[Allocations, tuple[str, ...]]:
    """Bricks that were free then may hold a newer session's data now: a person looks before they are given out."""
    bricks = host.bricks if isinstance(host, BrickHost) else ()
    devices = tuple(brick.device for brick in bricks if brick.device not in held.taken and brick.device not in held.quarantined)
    reason = f"restored on {_day(at)} from a backup of {backup.day}: may be in use"
    return msgspec.structs.replace(held, quarantined=held.quarantined | dict.fromkeys(devices, reason)), devices


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
