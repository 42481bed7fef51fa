"""Small stores, and verbs that are run over them as the fallback of a client runs them."""

from __future__ import annotations

from typing import Any

from dacc_core.config import Config
from dacc_core.keystore.base import Keystore, PutKey
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.registry import keys
from dacc_core.registry.records import Alive, Allocations, BrickHost, Cluster, Pool, Request, Session, Status
from dacc_core.registry.view import View
from dacc_core.values import Brick, BrickRef, Record, Volume
from dacc_core.verbs.frontend import PeerCredentials
from dacc_core.verbs.standalone import StandaloneRunner

GIB = 1 << 30
OPERATOR = PeerCredentials(uid=0, trusted=True)
STRANGER = PeerCredentials(uid=4242)
CONFIG = Config(mount_root="/mnt/dac")


def put(store: Keystore, record: Record, kind: str, *name: str) -> None:
    assert store.txn((), (PutKey(keys.key(kind, *name), keys.encode(record)),)).ok


def store_of(*hosts: str, bricks: int = 2, dead: tuple[str, ...] = ()) -> MemoryKeystore:
    """A store with hosts that have bricks ``/b0``, ``/b1`` … in the pool ``p``."""
    store = MemoryKeystore()
    put(store, Cluster(id="test"), "cluster")
    put(store, Pool(name="p", granularity=GIB, provider="fake"), "pools", "p")
    offered = tuple(Brick(device=f"/b{number}", capacity=GIB, pool="p") for number in range(bricks))
    for number, host in enumerate(hosts, 1):
        put(store, BrickHost(name=host, number=number, bricks=offered, providers={"fake": "1.0"}), "hosts", host)
        put(store, Allocations(serial=7), "allocations", host)
        if host not in dead:
            put(store, Alive(host=host, incarnation=f"{host}.1"), "alive", host)
    return store


def add_session(store: Keystore, token: str, *places: str, status: Status | None = None, **more: Any) -> Session:
    """A session on bricks such as ``s1:/b0``, with its allocations."""
    bricks = tuple(BrickRef(host=place.partition(":")[0], device=place.partition(":")[2]) for place in places)
    volume = Volume(name=f"a{token:0>7}"[:8], pool="p", provider="fake", capacity=len(bricks) * GIB, bricks=bricks) if bricks else None
    fields = {"id": 1, "kind": "job", "created_at": 1.0, "request": Request(owner=1000, group=1000), "volume": volume, **more}
    session = Session(token=token, **fields)
    put(store, session, "sessions", token)
    put(store, status or Status(filesystem="ready", observed_revision=1), "status", token)
    for host in dict.fromkeys(brick.host for brick in bricks):
        held = view_of(store).allocations[host].record
        taken = held.taken | {brick.device: session.key for brick in bricks if brick.host == host}
        put(store, Allocations(taken=taken, quarantined=held.quarantined, serial=held.serial), "allocations", host)
    return session


def view_of(store: Keystore) -> View:
    view = View()
    view.load(store.range(keys.PREFIX))
    return view


def driver(store: Keystore) -> StandaloneRunner:
    return StandaloneRunner(store, CONFIG, 3.0)


def run(store: Keystore, verb: Any, *args: Any, **options: Any) -> Any:
    """The result of a verb of the registry."""
    program = driver(store)
    result: Any = program.run(verb(program.context.verb_context, *args, **options))
    return result
