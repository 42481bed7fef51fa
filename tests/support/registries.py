"""Registries of any size, written straight into a store: for benchmarks, and for tests that count requests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from dacc_core.keystore.base import Keystore, PutKey
from dacc_core.names import fold
from dacc_core.registry import keys
from dacc_core.registry.records import Alive, Allocations, BrickHost, Cluster, Counters, Pool, Request, Session, Status
from dacc_core.values import Brick, BrickRef, Record, Volume

BRICKS = 12
FIRST_TOKEN = 1_000_000
PAGE = 100
"""Fewer operations than etcd takes at once."""
LEASE_SECONDS = 86400.0
"""One lease proves all of the hosts alive, in place of one each that its daemon renews."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Hosts that only look alive, and sessions that they coordinate. ``draining``: they take no new ones."""

    hosts: int
    sessions: int = 0
    draining: bool = False
    granularity: int = 1 << 30
    provider: str = "fake"

    @property
    def name(self) -> str:
        """As the table names it."""
        return f"{self.hosts}/{self.sessions}"

    def records(self) -> Iterator[tuple[str, str, Record]]:
        """Everything but what proves the hosts alive."""
        yield "cluster", "", Cluster(id="bench")
        yield "counters", "", Counters(host=self.hosts + 1)
        yield "pools", "default", Pool(name="default", granularity=self.granularity, provider=self.provider)
        for number in range(1, self.hosts + 1):
            yield "hosts", _host(number), BrickHost(name=_host(number), number=number, bricks=self._bricks())
            yield "allocations", _host(number), self._allocations(number)
        for place in range(self.sessions):
            yield "sessions", _token(place), self._session(place)
            yield "status", _token(place), self._status(place)

    def lives(self) -> Iterator[tuple[str, Record]]:
        """What proves the hosts alive."""
        for number in range(1, self.hosts + 1):
            yield _host(number), Alive(host=_host(number), incarnation="bench", boot="bench")

    def _bricks(self) -> tuple[Brick, ...]:
        return tuple(Brick(device=f"/dev/nvme{number}n1", capacity=self.granularity, pool="default") for number in range(BRICKS))

    def _brick(self, place: int) -> BrickRef:
        number, brick = place % self.hosts + 1, place // self.hosts
        return BrickRef(host=_host(number), device=f"/dev/nvme{brick}n1")

    def _allocations(self, number: int) -> Allocations:
        used = range(number - 1, self.sessions, self.hosts)
        taken = {self._brick(place).device: _volume(place) for place in used}
        return Allocations(taken=taken, draining=self.draining, serial=len(used))

    def _session(self, place: int) -> Session:
        brick = self._brick(place)
        volume = Volume(name=_volume(place), pool="default", provider=self.provider, capacity=self.granularity, bricks=(brick,))
        request = Request(owner=1000, group=1000, pool="default", capacity=self.granularity, striped=True, digest="bench")
        token = _token(place)
        return Session(token=token, id=int(token), kind="job", created_at=1_700_000_000.0, request=request, volume=volume)

    def _status(self, place: int) -> Status:
        nodes = fold(f"c{place * 4 % 5000 + node}" for node in range(4))
        host = self._brick(place).host
        return Status(
            filesystem="ready",
            mounts=nodes,
            touched=nodes,
            used=True,
            observed_revision=1,
            coordinator=host,
            incarnation="bench",
            generation=1,
        )


def _host(number: int) -> str:
    return f"other{number:04d}"


def _token(place: int) -> str:
    return str(FIRST_TOKEN + place)


def _volume(place: int) -> str:
    return f"v{place:07d}"


def write(store: Keystore, registry: Registry) -> int:
    """Write a registry's records into an empty store; the lease of :func:`revive`."""
    _put(store, (PutKey(keys.key(kind, *filter(None, [name])), keys.encode(record)) for kind, name, record in registry.records()))
    return revive(store, registry)


def revive(store: Keystore, registry: Registry) -> int:
    """Make its hosts look alive; the lease that they all live by."""
    lease = store.grant(LEASE_SECONDS)
    _put(store, (PutKey(keys.key("alive", name), keys.encode(record), lease) for name, record in registry.lives()))
    return lease


def _put(store: Keystore, ops: Iterator[PutKey]) -> None:
    while page := list(itertools.islice(ops, PAGE)):
        store.txn((), page)
