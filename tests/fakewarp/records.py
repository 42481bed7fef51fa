"""Records as tests of what is shown need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacc_core.registry.records import Alive, Allocations, BrickHost, Pool, Request, Session
from dacc_core.values import Brick, BrickRef, Record, Volume

Records = Mapping[tuple[str, str], Record]

VOLUME = Volume(name="a0010000", pool="default", provider="p", capacity=300, bricks=(BrickRef(host="s1", device="/b1"),))


def session(number: int = 7, **more: Any) -> Session:
    """A job's session with a volume, unless told otherwise."""
    values = {"id": number, "token": str(number), "kind": "job", "created_at": 1_700_000_000.5, "volume": VOLUME}
    return Session(**{**values, "request": Request(owner=1001, group=1), **more})


def sessions(*found: Session) -> Records:
    """Sessions by their keys."""
    return {("sessions", one.token): one for one in found}


def pool(name: str, granularity: int = 100) -> Records:
    """A pool."""
    return {("pools", name): Pool(name=name, granularity=granularity, provider="p")}


def host(name: str, *pools: str, alive: bool = True, **held: Any) -> Records:
    """A host with one brick of 100 bytes in each of these pools."""
    bricks = tuple(Brick(device=f"/b{number}", capacity=100, pool=pool) for number, pool in enumerate(pools, 1))
    records: dict[tuple[str, str], Record] = {
        ("hosts", name): BrickHost(name=name, number=1, bricks=bricks),
        ("allocations", name): Allocations(**held),
    }
    return {**records, ("alive", name): Alive(host=name, incarnation="i")} if alive else records
