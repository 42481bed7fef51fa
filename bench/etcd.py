"""The keystore's calls on a real etcd of one member, each in turn with the same on SQLite; and beside etcdctl, where that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from dacc_core.config import parse_text
from dacc_core.keystore.base import Compare, Keystore, PutKey, Watch
from dacc_core.keystore.open import open_store
from dacc_core.keystore.sqlite.store import SqliteKeystore
from tests.support.etcd import EtcdCluster

from .baselines import ETCD
from .rows import Row
from .stores import ETCD as ETCD_STORE
from .stores import stores
from .timing import milliseconds, ratio

PREFIX = "/dacc/1/"
VALUE = bytes(1200)
MANY = 1000
Call = Callable[[], object]


def measure(*, quick: bool) -> Iterator[Row]:
    """A row for each kind of call; none where etcd is not installed."""
    if ETCD_STORE not in stores():
        return
    with tempfile.TemporaryDirectory(prefix="dacc-bench-") as directory:
        place = Path(directory)
        with EtcdCluster(place) as cluster, closing(_open(cluster)) as etcd, closing(SqliteKeystore.create(place / "store.db")) as sqlite:
            yield from _calls(etcd, sqlite, 20 if quick else 300)
            yield from _beside_etcdctl(cluster, etcd, 2 if quick else 15)


def _open(cluster: EtcdCluster) -> Keystore:
    return open_store(parse_text(f"keystore: {{endpoints: [{cluster.endpoints[0]}]}}", "bench"))


def _calls(etcd: Keystore, sqlite: Keystore, turns: int) -> Iterator[Row]:
    for store in (etcd, sqlite):
        for start in range(0, MANY, 100):
            store.txn([], [PutKey(f"{PREFIX}many/{number:04}", VALUE) for number in range(start, start + 100)])
    for name, make in CALLS.items():
        calls = [make(store) for store in (etcd, sqlite)]
        times = [[_seconds(call) for call in calls] for _ in range(turns)]
        ours, other = ([pair[place] for pair in times] for place in (0, 1))
        yield Row(ETCD, name, milliseconds(ours), "ms", ratio(ours, other), "sqlite")


def _seconds(call: Call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _transaction(store: Keystore) -> Call:
    revision = store.txn([], [PutKey(f"{PREFIX}a", VALUE)]).revision

    def call() -> None:
        nonlocal revision
        revision = store.txn([Compare(f"{PREFIX}a", revision)], [PutKey(f"{PREFIX}a", VALUE), PutKey(f"{PREFIX}b", VALUE)]).revision

    return call


def _wake_up(store: Keystore) -> Call:
    watch = store.watch(PREFIX, store.range(PREFIX).revision)

    def call() -> None:
        _see(watch, store.txn([], [PutKey(f"{PREFIX}c", VALUE)]).revision)

    call()
    return call


def _see(watch: Watch, revision: int) -> None:
    while (batch := watch.next(1)) is None or batch.revision < revision:
        pass


CALLS: dict[str, Callable[[Keystore], Call]] = {
    "one key": lambda store: partial(store.read, f"{PREFIX}a"),
    f"a prefix of {MANY} keys": lambda store: partial(store.range, f"{PREFIX}many/"),
    "a transaction of two keys": _transaction,
    "a transaction until a watch returns it": _wake_up,
}


def _beside_etcdctl(cluster: EtcdCluster, store: Keystore, turns: int) -> Iterator[Row]:
    etcdctl = shutil.which("etcdctl")
    if etcdctl is None:
        return
    argv = [etcdctl, "--endpoints", cluster.endpoints[0], "get", f"{PREFIX}a"]
    times = [(_seconds(partial(store.read, f"{PREFIX}a")), _seconds(partial(_run, argv))) for _ in range(turns)]
    ours, other = ([pair[place] for pair in times] for place in (0, 1))
    yield Row(ETCD, "one key, beside a process", milliseconds(ours), "ms", ratio(ours, other), "etcdctl get")


def _run(argv: list[str]) -> None:
    subprocess.run(argv, env={"ETCDCTL_API": "3"}, stdout=subprocess.DEVNULL, check=True)
