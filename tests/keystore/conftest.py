"""Backends for the conformance suite (``test_conformance_*.py``, ``test_model.py``): add one here and it is held to all of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dacc_core.keystore.base import Change, Keystore, Watch
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.keystore.sqlite import watch as sqlite_watch
from dacc_core.keystore.sqlite.store import SqliteKeystore
from dacc_core.keystore.sqlite.tables import BootClock
from tests.support import etcd
from tests.support.requirements import require, require_root

from .etcd_backend import KINDS, Clusters, ShiftedKeystore

CHILD = Path(__file__).with_name("child.py")
ROOT = Path(__file__).parents[2]

Collect = Callable[[Watch, int], list[Change]]


class HandClock(BootClock):
    """A boot clock that moves when a test says so."""

    def __init__(self, boot: str = "this boot") -> None:
        self.boot = boot
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Backend:
    """One backend under test, with what the contract leaves to each: time, compaction, and how to make it hang."""

    keystore: Keystore
    pass_time: Callable[[float], None]
    compact: Callable[[int], None]
    stalled: Callable[[], AbstractContextManager[None]]


def memory_backend(directory: Path) -> Backend:
    clock = HandClock()
    store = MemoryKeystore(clock.now)

    @contextmanager
    def stalled() -> Iterator[None]:
        with store._changed:
            yield

    return Backend(store, clock.advance, store.compact, stalled)


def sqlite_backend(directory: Path) -> Backend:
    clock = HandClock()
    store = SqliteKeystore.create(directory / "keystore.db", clock=clock)

    @contextmanager
    def stalled() -> Iterator[None]:
        with closing(sqlite3.connect(store.where, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    return Backend(store, clock.advance, store.compact, stalled)


def etcd_backend(clusters: Clusters, kind: str) -> Backend:
    cluster = clusters[kind]
    store = ShiftedKeystore(cluster.open(), cluster.etcd.empty())

    def compact(revision: int) -> None:
        from dacc_core.keystore.etcd.protocol import RpcFailure

        store.compacted = max(store.compacted, revision)
        with suppress(RpcFailure):  # it has been, by a test before
            cluster.etcd.compact(revision + store.base)

    return Backend(store, store.pass_time, compact, cluster.proxy.holding)


BACKENDS = {"memory": memory_backend, "sqlite": sqlite_backend}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make_backend" in metafunc.fixturenames:
        # What makes a backend for itself (the model, again and again) is about what is behind a connection.
        kinds = KINDS if "backend" in metafunc.fixturenames else KINDS[:1]
        metafunc.parametrize("make_backend", [*sorted(BACKENDS), *kinds], indirect=True)


@pytest.fixture
def make_backend(request: pytest.FixtureRequest) -> Callable[[Path], Backend]:
    kind = request.param
    if kind in BACKENDS:
        return BACKENDS[kind]
    require(not etcd.lacking(), etcd.lacking())
    clusters = request.getfixturevalue("etcd_clusters")
    return lambda _: etcd_backend(clusters, kind)


@pytest.fixture(scope="session")
def etcd_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Real etcds, one of each kind, shared by all tests of this process."""
    clusters = Clusters(tmp_path_factory.mktemp("etcd"))
    yield clusters
    clusters.close()


@pytest.fixture
def backend(make_backend: Callable[[Path], Backend], tmp_path: Path) -> Iterator[Backend]:
    made = make_backend(tmp_path)
    yield made
    made.keystore.close()


@pytest.fixture
def keystore(backend: Backend) -> Keystore:
    return backend.keystore


@pytest.fixture
def pass_time(backend: Backend) -> Callable[[float], None]:
    """Let leases age by so many seconds."""
    return backend.pass_time


@pytest.fixture
def compact(backend: Backend) -> Callable[[int], None]:
    """Forget the history up to and including a revision."""
    return backend.compact


@pytest.fixture
def stalled(backend: Backend) -> Callable[[], AbstractContextManager[None]]:
    """While it lasts, no write can be done."""
    return backend.stalled


@pytest.fixture
def collect() -> Collect:
    """The changes that a watch tells of until it has seen a revision."""

    def collecting(watch: Watch, revision: int) -> list[Change]:
        changes: list[Change] = []
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            batch = watch.next(1)
            if batch is not None:
                changes += batch.changes
                if batch.revision >= revision:
                    return changes
        raise AssertionError(f"revision {revision} was not seen, only {changes}")

    return collecting


@pytest.fixture
def hand_clock() -> Callable[..., HandClock]:
    return HandClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test may create an SQLite store."""
    return tmp_path / "state" / "keystore.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteKeystore]:
    """A new SQLite store by the machine's clock."""
    made = SqliteKeystore.create(path)
    yield made
    made.close()


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Watch], list[str]]:
    """The changed keys that a watch is woken for. Polling is put off: a test would else pass on the strength of the safety net."""
    for pause in ("POLL_FIRST", "POLL_LAST", "HEARTBEAT"):
        monkeypatch.setattr(sqlite_watch, pause, 60.0)

    def wait(watch: Watch) -> list[str]:
        started = time.monotonic()
        batch = watch.next(20)
        assert batch is not None
        assert time.monotonic() - started < 15, "seen by the last look before the deadline, not by being woken"
        return sorted(change.key for change in batch.changes)

    return wait


@pytest.fixture
def start_child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``child.py`` with arguments, ``failpoint=…`` armed; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: object, failpoint: str = "") -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DACC_FAILPOINT": failpoint}
        command = [sys.executable, str(CHILD), *map(str, arguments)]
        child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(child)
        return child

    yield start
    for child in running:
        child.kill()
        child.communicate()


@pytest.fixture
def ask_child(start_child: Callable[..., subprocess.Popen[str]]) -> Callable[..., Any]:
    """Run ``child.py`` to its end and return the JSON that it printed."""

    def ask(*arguments: object) -> Any:
        child = start_child(*arguments)
        output, _ = child.communicate(timeout=30)
        assert child.returncode == 0, output
        return json.loads(output)

    return ask


@pytest.fixture
def public_path() -> Iterator[Path]:
    """Where a test run by root may create a store that other users can reach."""
    require_root("becoming another user")
    top = Path(tempfile.mkdtemp(prefix="dacc-keystore-"))
    top.chmod(0o755)
    yield top / "state" / "keystore.db"
    shutil.rmtree(top)
