"""A transaction whose answer is lost: what became of it is found out, or said to be unknown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from dacc_core.errors import KeystoreUnavailable
from dacc_core.keystore.base import Compare, DeleteKey, Item, PutKey, TxnResult
from tests.support.etcd import EtcdCluster
from tests.support.proxy import Proxy
from tests.support.waiting import until

from .conftest import MakeProxy, Open

if TYPE_CHECKING:
    from dacc_core.keystore.etcd.store import EtcdKeystore

Do = Callable[[], object]


@pytest.fixture
def faulty(single: EtcdCluster, proxy: MakeProxy) -> Proxy:
    return proxy(single)


@pytest.fixture
def ours(faulty: Proxy, open_store: Open) -> EtcdKeystore:
    """The store whose answers get lost. Its connection is made, and it has seen the store's revision."""
    store = open_store(faulty.endpoint)
    store.read()
    return store


@pytest.fixture
def other(store: EtcdKeystore) -> EtcdKeystore:
    """Somebody else's, on a good connection."""
    return store


def put(store: EtcdKeystore, key: str, value: bytes = b"") -> int:
    return store.txn([], [PutKey(key, value)]).revision


def value(store: EtcdKeystore, key: str) -> bytes:
    return b"".join(item.value for item in store.read(key).items)


def once_done(other: EtcdKeystore, key: str, then: Do = bool) -> Do:
    """What happens while the answer is under way: ours is done, then something else is."""

    def work() -> None:
        until(lambda: value(other, key) == b"ours", "the transaction is done")
        then()

    return work


def unknown(call: Callable[[], object]) -> str:
    with pytest.raises(KeystoreUnavailable, match="not known whether") as caught:
        call()
    assert caught.value.fields["unknown"]
    return str(caught.value)


class TestWithAGuard:
    """It compares a key that it changes."""

    @pytest.fixture
    def before(self, other: EtcdKeystore) -> int:
        return put(other, "a", b"old")

    @pytest.fixture
    def change(self, ours: EtcdKeystore, before: int) -> Callable[[], TxnResult]:
        return lambda: ours.txn([Compare("a", before)], [PutKey("a", b"ours"), PutKey("b", b"ours")])

    def test_done(self, faulty: Proxy, other: EtcdKeystore, before: int, change: Callable[[], TxnResult]) -> None:
        faulty.lose_answer(once_done(other, "a"))
        assert change() == TxnResult(True, before + 1)
        assert other.range("").revision == before + 1

    def test_not_done(self, faulty: Proxy, other: EtcdKeystore, before: int, change: Callable[[], TxnResult]) -> None:
        faulty.lose_request()
        assert change() == TxnResult(True, before + 1)
        assert value(other, "a") == b"ours"

    def test_not_done_and_somebody_elses_is(self, faulty: Proxy, other: EtcdKeystore, before: int, change: Callable[[], TxnResult]) -> None:
        faulty.lose_request(lambda: put(other, "a", b"theirs"))
        assert change() == TxnResult(False, before + 1, {"a": Item("a", b"theirs", before + 1)})
        assert value(other, "b") == b""

    def test_done_and_written_again_by_somebody_else(
        self, faulty: Proxy, other: EtcdKeystore, before: int, change: Callable[[], TxnResult]
    ) -> None:
        faulty.lose_answer(once_done(other, "a", lambda: [put(other, key, b"theirs") for key in "aba"]))
        assert change() == TxnResult(True, before + 1)
        assert value(other, "a") == b"theirs"

    def test_not_done_and_written_often_by_somebody_else(
        self, faulty: Proxy, other: EtcdKeystore, before: int, change: Callable[[], TxnResult]
    ) -> None:
        faulty.lose_request(lambda: [put(other, "a", b"theirs") for _ in range(3)])
        assert not change().ok

    def test_done_but_the_history_is_gone(
        self, single: EtcdCluster, faulty: Proxy, other: EtcdKeystore, change: Callable[[], TxnResult]
    ) -> None:
        faulty.lose_answer(once_done(other, "a", lambda: [single.compact(put(other, key, b"theirs")) for key in "ab"]))
        unknown(change)

    def test_a_new_key(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        before = put(other, "x")
        ours.read()
        faulty.lose_answer(once_done(other, "new"))
        assert ours.txn([Compare("new", 0)], [PutKey("new", b"ours")]) == TxnResult(True, before + 1)

    def test_a_new_key_that_somebody_else_made(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        faulty.lose_request(lambda: put(other, "new", b"theirs"))
        # It may have been ours before: made, deleted, and made again.
        unknown(lambda: ours.txn([Compare("new", 0)], [PutKey("new", b"ours")]))

    def test_a_deletion(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore, before: int) -> None:
        faulty.lose_answer(lambda: until(lambda: not other.read("a").items))
        unknown(lambda: ours.txn([Compare("a", before)], [DeleteKey("a")]))

    def test_a_deletion_that_was_not_done(self, faulty: Proxy, ours: EtcdKeystore, before: int) -> None:
        faulty.lose_request()
        assert ours.txn([Compare("a", before)], [DeleteKey("a")]) == TxnResult(True, before + 1)

    def test_no_increment_is_lost_or_made_twice(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        put(other, "counter", b"0")
        for number in range(12):
            (faulty.lose_answer if number % 2 else faulty.lose_request)()
            (item,) = other.read("counter").items
            assert ours.txn([Compare("counter", item.mod_revision)], [PutKey("counter", b"%d" % (int(item.value) + 1))]).ok
        assert value(other, "counter") == b"12"


class TestWithoutAGuard:
    """It compares nothing that it changes."""

    def test_done(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        before = other.range("").revision
        faulty.lose_answer(once_done(other, "a"))
        assert ours.txn([], [PutKey("a", b"ours"), PutKey("b", b"ours")]) == TxnResult(True, before + 1)
        assert other.range("").revision == before + 1

    def test_not_done(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        faulty.lose_request()
        assert put(ours, "a", b"ours") == other.range("").revision

    def test_done_and_written_again_by_somebody_else(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        faulty.lose_answer(once_done(other, "a", lambda: put(other, "a", b"theirs")))
        unknown(lambda: put(ours, "a", b"ours"))
        assert value(other, "a") == b"theirs"

    def test_done_and_written_in_part_by_somebody_else(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        before = other.range("").revision
        faulty.lose_answer(once_done(other, "a", lambda: put(other, "a", b"theirs")))
        assert ours.txn([], [PutKey("a", b"ours"), PutKey("b", b"ours")]) == TxnResult(True, before + 1)

    def test_deletions_are_just_repeated(self, faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
        put(other, "a")
        ours.read()
        faulty.lose_answer(lambda: until(lambda: not other.read("a").items))
        assert ours.txn([], [DeleteKey("a")]).ok

    def test_the_very_first_call_has_nothing_to_go_by(self, faulty: Proxy, open_store: Open, other: EtcdKeystore) -> None:
        put(other, "a", b"ours")  # as it looked before
        store = open_store(faulty.endpoint)
        store.read()
        store._client.revision = 0
        faulty.lose_request()
        unknown(lambda: put(store, "a", b"ours"))


def test_a_transaction_that_changes_nothing_is_just_repeated(faulty: Proxy, ours: EtcdKeystore, other: EtcdKeystore) -> None:
    before = put(other, "a")
    faulty.lose_answer()
    assert ours.txn([Compare("a", before)], []) == TxnResult(True, before)


def test_an_answer_that_does_not_come_in_time_is_unknown_by_the_deadline(faulty: Proxy, ours: EtcdKeystore) -> None:
    with faulty.holding():
        started = time.monotonic()
        text = unknown(lambda: ours.txn([], [PutKey("a", b"")], timeout=0.5))
        assert time.monotonic() - started < 2
    assert f"{faulty.endpoint}: no answer within 0.5 s" in text


def test_what_was_never_sent_is_known_not_to_be_done(faulty: Proxy, open_store: Open) -> None:
    with faulty.away(), pytest.raises(KeystoreUnavailable, match="connection refused") as caught:
        open_store(faulty.endpoint).txn([], [PutKey("a", b"")], timeout=0.3)
    assert "unknown" not in caught.value.fields
