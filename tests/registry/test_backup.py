"""The whole state as one file, and back into a store."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest

from dacc_core.errors import AlreadyExists, Busy, InvalidRequest, KeystoreMissing, KeystoreUnavailable, Unavailable, WrongCluster
from dacc_core.keystore.base import DEFAULT_TIMEOUT, Compare, DeleteKey, Keystore, Op, PutKey, TxnResult
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.engine import Engine
from dacc_core.registry import keys
from dacc_core.registry.backup import Backup, dump, parse, restore
from dacc_core.registry.records import Alive, Allocations, Cluster, Counters, History, Status
from tests.support.stores import add_session, driver, put, store_of, view_of

NOW = 1_800_000_000.0


def filled() -> MemoryKeystore:
    """A store with sessions of every kind of record, whose daemons are dead."""
    store = store_of("s1", "s2", dead=("s1", "s2"))
    put(store, Counters(host=3, persistent=1 << 28), "counters")
    add_session(store, "42", "s1:/b0", "s2:/b0", status=Status(filesystem="ready", generation=5))
    put(store, History(token="41", outcome="released"), "history", "41")
    return store


def backed_up(store: Keystore) -> Backup:
    return parse(dump(store.range(keys.PREFIX), NOW, "memory")[0], "file")


def restored(backup: Backup, into: Keystore | None = None, **options: Any) -> Keystore:
    store = into or MemoryKeystore()
    restore(store, backup, **{"cluster": "", "force": False, "trust_free": True, "at": NOW + 86400, **options})
    return store


def plain(store: Keystore) -> dict[str, bytes]:
    return {item.key: item.value for item in store.range("/").items}


# --- the file ---


def test_every_record_is_in_the_file_with_the_revision_and_the_cluster() -> None:
    store = filled()
    backup = backed_up(store)
    assert backup.values == {key.removeprefix(keys.PREFIX): value for key, value in plain(store).items()}
    header = backup.header
    assert (header.cluster, header.schema, header.revision, header.taken) == ("test", 1, store.range("/").revision, NOW)


def test_what_is_bound_to_leases_is_not_backed_up() -> None:
    assert not any(key.startswith("alive") for key in backed_up(store_of("s1")).values)


@pytest.mark.parametrize("value", [b"no json", b"\xff\x00", b'{"a":\n1}', b'{"a":\r1}', b" {} ", b""])
def test_a_value_that_is_no_line_of_json_comes_back_as_it_was(value: bytes) -> None:
    store = filled()
    store.txn((), (PutKey(keys.PREFIX + "history/odd", value),))
    assert plain(restored(backed_up(store)))[keys.PREFIX + "history/odd"] == value


def test_a_store_that_nobody_used_cannot_be_backed_up() -> None:
    with pytest.raises(KeystoreMissing):
        backed_up(MemoryKeystore())


@pytest.mark.parametrize("damage", ["cut", "changed", "swapped", "longer"])
def test_a_file_that_is_not_as_it_was_written_is_refused(damage: str) -> None:
    data = dump(filled().range(keys.PREFIX), NOW, "memory")[0]
    lines = data.splitlines(keepends=True)
    damaged = {
        "cut": b"".join(lines[:-2]),
        "changed": data.replace(b'"generation":5', b'"generation":6'),
        "swapped": b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        "longer": data + lines[1],
    }[damage]
    with pytest.raises(InvalidRequest, match="checksum is wrong"):
        parse(damaged, "file")


@pytest.mark.parametrize("data", [b"", b"\n", b"hello\n", b'{"dacc":"other"}\n', b"[]\n"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="file is no backup of dacc"):
        parse(data, "file")


# --- into a store ---


def test_a_restored_store_holds_the_same_records() -> None:
    before = filled()
    after = view_of(restored(backed_up(before)))
    assert after.sessions["42"].record == view_of(before).sessions["42"].record
    assert after.histories["41"].record.outcome == "released"
    assert after.cluster is not None
    assert after.cluster.record == Cluster(id="test")


def test_what_must_never_be_used_again_is_far_ahead() -> None:
    """Since the backup volumes may have got names, commands generations; fences and bricks remember them."""
    view = view_of(restored(backed_up(filled())))
    assert view.allocations["s1"].record.serial >= 7 + 10_000
    assert view.status("42").generation >= 1_000_005
    assert view.counters is not None
    assert (view.counters.record.host, view.counters.record.persistent) == (103, (1 << 28) + 100_000)


def test_free_bricks_are_put_aside_unless_they_are_trusted() -> None:
    backup = backed_up(filled())
    held = view_of(restored(backup, trust_free=False)).allocations["s1"].record
    assert held.taken == {"/b0": "a0000042"}
    assert held.quarantined == {"/b1": "restored on 2027-01-16 from a backup of 2027-01-15: may be in use"}
    assert view_of(restored(backup)).allocations["s1"].record.quarantined == {}


def test_a_brick_that_was_in_quarantine_keeps_its_reason() -> None:
    store = filled()
    put(store, Allocations(quarantined={"/b1": "session 7"}), "allocations", "s2")
    assert view_of(restored(backed_up(store), trust_free=False)).allocations["s2"].record.quarantined["/b1"] == "session 7"


def test_a_store_that_is_not_empty_is_left_as_it_is() -> None:
    store = filled()
    before = plain(store)
    with pytest.raises(AlreadyExists, match=r"is not empty .* --force"):
        restored(backed_up(filled()), into=store)
    assert plain(store) == before


def test_force_replaces_everything() -> None:
    backup, store = backed_up(filled()), filled()
    put(store, History(token="later", outcome="kept"), "history", "later")
    restored(backup, into=store, force=True)
    assert set(view_of(store).histories) == {"41"}


def test_nothing_is_forced_while_a_host_is_alive() -> None:
    backup, store = backed_up(filled()), filled()
    put(store, Alive(host="s2", incarnation="1"), "alive", "s2")
    before = plain(store)
    with pytest.raises(Busy, match="stop dacd on s2 first"):
        restored(backup, into=store, force=True)
    assert plain(store) == before


def test_a_store_of_another_cluster_is_not_replaced() -> None:
    store = MemoryKeystore()
    put(store, Cluster(id="other"), "cluster")
    with pytest.raises(WrongCluster, match="belongs to cluster other, not test"):
        restored(backed_up(filled()), into=store, force=True)


def test_a_backup_of_another_cluster_than_the_configurations_is_refused() -> None:
    store = MemoryKeystore()
    with pytest.raises(WrongCluster, match="belongs to cluster test, not mine"):
        restored(backed_up(filled()), into=store, cluster="mine")
    assert plain(store) == {}


def test_many_records_are_written_in_transactions_that_etcd_takes() -> None:
    store = filled()
    for number in range(500):
        put(store, History(token=f"h{number}", status="x" * 20_000), "history", f"h{number}")
    backup = backed_up(store)
    written = Counting()
    restored(backup, into=written)
    assert set(view_of(written).histories) == set(view_of(store).histories)
    assert max(written.sizes) <= 127
    assert max(written.bytes) < 1 << 20


class Counting(MemoryKeystore):
    """Counts the operations of its transactions, and dies before the one that it is told."""

    def __init__(self, dies_at: int = -1) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.bytes: list[int] = []
        self.dies_at = dies_at

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        if len(self.sizes) == self.dies_at:
            self.dies_at = -1
            raise KeystoreUnavailable(where="here", why="it is cut off")
        self.sizes.append(len(compares) + len(ops))
        self.bytes.append(sum(len(op.value) for op in ops if isinstance(op, PutKey)))
        return super().txn(compares, ops, timeout=timeout)


# --- interrupted ---


def interrupted() -> tuple[Backup, list[Counting]]:
    """A backup of some 300 records, and stores in which its restore ended before each of its transactions."""
    store = filled()
    for number in range(300):
        put(store, History(token=f"h{number}"), "history", f"h{number}")
    backup, stores = backed_up(store), []
    for place in itertools.count():
        one = Counting(dies_at=place)
        try:
            restored(backup, into=one)
        except KeystoreUnavailable:
            stores.append(one)
        else:
            return backup, stores
    raise AssertionError


def test_a_restore_that_did_not_end_is_begun_again_by_repeating_it() -> None:
    backup, stores = interrupted()
    assert len(stores) > 4
    for store in stores:
        assert view_of(restored(backup, into=store)).cluster is not None
        assert plain(store) == plain(restored(backup))


def test_no_daemon_registers_in_a_store_whose_restore_did_not_end() -> None:
    for store in interrupted()[1][1:]:
        core = Engine("s9", "new")
        core.start(fx.Now(1.0, 1.0))
        (effect,) = core.handle(fx.Loaded(store.range(keys.PREFIX)), fx.Now(1.0, 1.0))
        assert isinstance(effect, fx.Exit)
        assert "repeat dacc restore" in str(effect.error)


def test_no_client_uses_a_store_whose_restore_did_not_end() -> None:
    with pytest.raises(Unavailable, match="repeat dacc restore"):
        driver(interrupted()[1][1])


def test_a_store_whose_restore_did_not_end_is_not_backed_up() -> None:
    with pytest.raises(Busy, match="repeat dacc restore"):
        backed_up(interrupted()[1][2])


class Meddled(MemoryKeystore):
    """Somebody else acts right before a transaction."""

    def __init__(self, at: int, ops: Sequence[Op]) -> None:
        super().__init__()
        self.at, self.ops = at, ops

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        if self.at == 0:
            self.at = -1
            super().txn((), self.ops)
        self.at -= 1
        return super().txn(compares, ops, timeout=timeout)


def test_a_daemon_that_founds_the_store_at_the_same_moment_keeps_it() -> None:
    founded = [PutKey(keys.CLUSTER, keys.encode(Cluster(id="new")))]
    store = Meddled(0, founded)
    with pytest.raises(Busy, match="was changed by somebody else"):
        restored(backed_up(filled()), into=store)
    assert plain(store) == {keys.CLUSTER: founded[0].value}


def test_a_daemon_that_registered_at_the_same_moment_gets_its_store_back() -> None:
    store = Meddled(-100, ())
    for key, value in plain(filled()).items():
        store.txn((), (PutKey(key, value),))
    before = plain(store)
    store.at, store.ops = 0, [PutKey(keys.key("alive", "s1"), keys.encode(Alive(host="s1", incarnation="1")))]
    with pytest.raises(Busy, match="stop dacd on s1 first"):
        restored(backed_up(filled()), into=store, force=True)
    assert plain(store).items() >= before.items()


def test_of_two_restores_one_ends_the_other() -> None:
    backup = backed_up(filled())
    other = Cluster(id="test", restoring=True)
    store = Meddled(1, [PutKey(keys.CLUSTER, keys.encode(other))])
    with pytest.raises(KeystoreUnavailable, match="another restore began"):
        restored(backup, into=store)


def test_deleting_what_is_not_in_the_backup_comes_before_the_cluster() -> None:
    store = Counting()
    put(store, Cluster(id="test"), "cluster")
    put(store, History(token="later"), "history", "later")
    written: list[Op] = []
    txn = store.txn

    def watched(compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = 1.0) -> TxnResult:
        written.extend(ops)
        return txn(compares, ops, timeout=timeout)

    store.txn = watched  # type: ignore[method-assign]
    restored(backed_up(filled()), into=store, force=True)
    assert DeleteKey(keys.key("history", "later")) in written
    assert written[-1].key == keys.CLUSTER


def test_days_are_told_in_one_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert backed_up(filled()).day == "2027-01-15"
    finally:
        monkeypatch.undo()
        time.tzset()
