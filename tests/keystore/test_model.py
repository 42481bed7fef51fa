"""Random histories, compared step by step with a model of the contract that is too plain to be wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from dacc_core.errors import Compacted, NotFound
from dacc_core.keystore.base import Change, Compare, DeleteKey, Item, Keystore, Op, PutKey, Watch

KEYS = ("a/1", "a/2", "b", "b/1")
PREFIXES = ("", "a/", "b", "c")


class Model:
    """Items, the whole history, and leases as (ttl, end)."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.history: list[Change] = []
        self.leases: dict[int, tuple[float, float]] = {}
        self.revision = 0
        self.compacted = 0
        self.now = 0.0

    def expire(self) -> None:
        self.end([lease for lease, (_, end) in self.leases.items() if end <= self.now])

    def end(self, leases: list[int]) -> None:
        for lease in leases:
            self.leases.pop(lease, None)
        self.write([DeleteKey(key) for key, item in self.items.items() if item.lease in leases])

    def mod_revision(self, key: str) -> int:
        return self.items[key].mod_revision if key in self.items else 0

    def write(self, ops: list[Op] | list[DeleteKey]) -> None:
        effective = [op for op in ops if isinstance(op, PutKey) or op.key in self.items]
        self.revision += bool(effective)
        for op in effective:
            item = Item(op.key, op.value, self.revision, op.lease) if isinstance(op, PutKey) else None
            self.history.append(Change(op.key, item, self.revision))
            if item is None:
                del self.items[op.key]
            else:
                self.items[op.key] = item


class StoreHandle(Protocol):
    keystore: Keystore
    pass_time: Callable[[float], None]
    compact: Callable[[int], None]


def in_order(changes: tuple[Change, ...] | list[Change]) -> list[Change]:
    """Within one revision the contract leaves the order open."""
    return sorted(changes, key=lambda change: (change.revision, change.key))


class Comparison(RuleBasedStateMachine):
    make_backend: Callable[[Path], StoreHandle]

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="dacc-model-"))
        self.backend = type(self).make_backend(self.directory)
        self.store = self.backend.keystore
        self.model = Model()
        self.numbers: list[int] = []
        self.watches: list[tuple[str, Watch, int]] = []

    @initialize()
    def watch_everything(self) -> None:
        self.watches.append(("", self.store.watch("", 0), 0))

    @rule(
        picks=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3)), unique_by=lambda pick: pick[0], max_size=3),
        compared=st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from((0, 0, 0, 1))), max_size=2),
        value=st.binary(max_size=3),
    )
    def transact(self, picks: list[tuple[str, int]], compared: list[tuple[str, int]], value: bytes) -> None:
        self.model.expire()
        ops: list[Op] = [self._op(key, pick, value) for key, pick in picks]
        compares = [Compare(key, self.model.mod_revision(key) + wrong) for key, wrong in compared]
        holds = all(compare.mod_revision == self.model.mod_revision(compare.key) for compare in compares)
        if holds and any(isinstance(op, PutKey) and op.lease and op.lease not in self.model.leases for op in ops):
            with pytest.raises(NotFound):
                self.store.txn(compares, ops)
            return
        if holds:
            self.model.write(ops)
        result = self.store.txn(compares, ops)
        assert (result.ok, result.revision) == (holds, self.model.revision)
        if not holds:
            assert result.current == {compare.key: self.model.items.get(compare.key) for compare in compares}

    def _op(self, key: str, pick: int, value: bytes) -> Op:
        if pick == 0:
            return DeleteKey(key)
        leased = pick == 3 and self.numbers
        return PutKey(key, value, self.numbers[len(value) % len(self.numbers)] if leased else 0)

    @rule(ttl=st.sampled_from((5.0, 10.0)))
    def grant(self, ttl: float) -> None:
        self.model.expire()
        lease = self.store.grant(ttl)
        assert lease not in self.numbers
        self.numbers.append(lease)
        self.model.leases[lease] = (ttl, self.model.now + ttl)

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self.model.expire()
        lease = data.draw(st.sampled_from(self.numbers))
        lives = lease in self.model.leases
        assert self.store.renew(lease) == lives
        if lives:
            ttl, _ = self.model.leases[lease]
            self.model.leases[lease] = (ttl, self.model.now + ttl)

    @precondition(lambda self: self.numbers)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        self.model.expire()
        lease = data.draw(st.sampled_from(self.numbers))
        self.model.end([lease])
        self.store.revoke(lease)

    @rule(seconds=st.sampled_from((2.0, 5.0, 11.0)))
    def pass_time(self, seconds: float) -> None:
        self.model.now += seconds
        self.backend.pass_time(seconds)

    @rule(back=st.integers(0, 4))
    def compact(self, back: int) -> None:
        self.model.expire()
        revision = max(0, self.model.revision - back)
        self.model.compacted = max(self.model.compacted, revision)
        self.backend.compact(revision)

    @rule(prefix=st.sampled_from(PREFIXES), back=st.integers(0, 5))
    def watch(self, prefix: str, back: int) -> None:
        position = max(0, self.model.revision - back)
        self.watches.append((prefix, self.store.watch(prefix, position), position))

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        self.model.expire()
        index = data.draw(st.integers(0, len(self.watches) - 1))
        prefix, watch, position = self.watches[index]
        if position < self.model.compacted:
            with pytest.raises(Compacted):
                watch.next(0)
            return
        batch = watch.next(0)
        expected = [change for change in self.model.history if change.revision > position and change.key.startswith(prefix)]
        assert batch is not None
        assert (in_order(batch.changes), batch.revision) == (in_order(expected), self.model.revision)
        self.watches[index] = (prefix, watch, batch.revision)

    @rule(keys=st.lists(st.sampled_from(KEYS)))
    def read(self, keys: list[str]) -> None:
        self.model.expire()
        snapshot = self.store.read(*keys)
        expected = tuple(self.model.items[key] for key in sorted(set(keys)) if key in self.model.items)
        assert (snapshot.items, snapshot.revision) == (expected, self.model.revision)

    @invariant()
    def holds_the_same(self) -> None:
        self.model.expire()
        for prefix in PREFIXES:
            snapshot = self.store.range(prefix)
            expected = tuple(item for key, item in sorted(self.model.items.items()) if key.startswith(prefix))
            assert (snapshot.items, snapshot.revision) == (expected, self.model.revision)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)


def test_random_histories_agree_with_the_model(make_backend: Callable[[Path], StoreHandle]) -> None:
    machine = type("Comparison", (Comparison,), {"make_backend": staticmethod(make_backend)})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )
