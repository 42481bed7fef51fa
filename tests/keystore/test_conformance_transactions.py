"""What every backend does: reading and writing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from dacc_core.errors import KeystoreUnavailable
from dacc_core.keystore.base import Compare, DeleteKey, Item, Keystore, PutKey

Stalled = Callable[[], AbstractContextManager[None]]


def put(keystore: Keystore, key: str, value: bytes = b"") -> int:
    return keystore.txn([], [PutKey(key, value)]).revision


def keys(keystore: Keystore, prefix: str) -> list[str]:
    return [item.key for item in keystore.range(prefix).items]


def test_a_new_store_is_empty(keystore: Keystore) -> None:
    assert keystore.range("").items == ()


def test_it_names_itself(keystore: Keystore) -> None:
    assert keystore.where


def test_each_changing_transaction_raises_the_revision_by_one(keystore: Keystore) -> None:
    start = keystore.range("").revision
    assert [put(keystore, "a"), put(keystore, "b"), put(keystore, "a")] == [start + 1, start + 2, start + 3]
    assert keystore.range("").revision == start + 3


def test_a_put_of_the_same_value_is_a_change(keystore: Keystore) -> None:
    assert put(keystore, "a", b"same") < put(keystore, "a", b"same")


def test_all_of_a_transaction_is_written_at_one_revision(keystore: Keystore) -> None:
    put(keystore, "gone")
    result = keystore.txn([], [PutKey("a", b"1"), PutKey("b", b"2"), DeleteKey("gone")])
    assert result.ok
    assert keystore.range("").items == (Item("a", b"1", result.revision), Item("b", b"2", result.revision))


def test_an_item_remembers_the_revision_that_last_wrote_it(keystore: Keystore) -> None:
    first, second = put(keystore, "a"), put(keystore, "b")
    assert [item.mod_revision for item in keystore.read("a", "b").items] == [first, second]


def test_deleting_what_is_absent_changes_nothing(keystore: Keystore) -> None:
    before = put(keystore, "a")
    result = keystore.txn([], [DeleteKey("absent")])
    assert (result.ok, result.revision) == (True, before)


def test_a_transaction_without_operations_changes_nothing(keystore: Keystore) -> None:
    before = put(keystore, "a")
    result = keystore.txn([Compare("a", before)], [])
    assert (result.ok, result.revision) == (True, before)


def test_deleting_takes_the_key_away(keystore: Keystore) -> None:
    before = put(keystore, "a")
    assert keystore.txn([], [DeleteKey("a")]).revision == before + 1
    assert keystore.read("a").items == ()


def test_absence_compares_as_revision_0(keystore: Keystore) -> None:
    assert keystore.txn([Compare("a", 0)], [PutKey("a", b"")]).ok
    assert not keystore.txn([Compare("a", 0)], [PutKey("a", b"")]).ok


def test_a_deleted_key_is_absent_again(keystore: Keystore) -> None:
    put(keystore, "a")
    keystore.txn([], [DeleteKey("a")])
    assert keystore.txn([Compare("a", 0)], [PutKey("a", b"")]).ok


def test_a_compare_holds_at_the_revision_that_last_wrote_the_key(keystore: Keystore) -> None:
    old = put(keystore, "a")
    new = put(keystore, "a")
    assert not keystore.txn([Compare("a", old)], [DeleteKey("a")]).ok
    assert keystore.txn([Compare("a", new)], [DeleteKey("a")]).ok


def test_a_compare_with_an_absent_key_fails_at_any_revision(keystore: Keystore) -> None:
    assert not keystore.txn([Compare("a", put(keystore, "b"))], []).ok


def test_one_failed_compare_of_several_stops_everything(keystore: Keystore) -> None:
    revision = put(keystore, "a", b"old")
    result = keystore.txn([Compare("a", revision), Compare("b", revision)], [PutKey("a", b"new"), PutKey("c", b"")])
    assert (result.ok, result.revision) == (False, revision)
    assert keystore.range("").items == (Item("a", b"old", revision),)


def test_a_failed_compare_returns_the_items_compared_as_they_are(keystore: Keystore) -> None:
    revision = put(keystore, "a", b"1")
    result = keystore.txn([Compare("a", revision), Compare("b", revision)], [PutKey("c", b"")])
    assert result.current == {"a": Item("a", b"1", revision), "b": None}


def test_a_key_in_two_operations_is_refused(keystore: Keystore) -> None:
    with pytest.raises(ValueError, match="more than one operation of a transaction: a"):
        keystore.txn([], [PutKey("a", b""), DeleteKey("a")])
    assert keystore.range("").items == ()


def test_reading_returns_what_exists_in_key_order(keystore: Keystore) -> None:
    put(keystore, "b")
    revision = put(keystore, "a")
    snapshot = keystore.read("b", "absent", "a", "b")
    assert ([item.key for item in snapshot.items], snapshot.revision) == (["a", "b"], revision)


def test_a_range_holds_the_keys_that_start_with_the_prefix(keystore: Keystore) -> None:
    for key in ("a/2", "a/1", "a", "a0", "b", "A/1"):
        put(keystore, key)
    assert keys(keystore, "a/") == ["a/1", "a/2"]
    assert keys(keystore, "a") == ["a", "a/1", "a/2", "a0"]
    assert keys(keystore, "") == ["A/1", "a", "a/1", "a/2", "a0", "b"]


@pytest.mark.parametrize("prefix", ["%", "_", "*", "[a]", "\\", "'", "é", "\ud7ff", "\U0010ffff", "a\U0010ffff"])
def test_a_prefix_is_taken_as_it_is(keystore: Keystore, prefix: str) -> None:
    for key in (prefix, f"{prefix}x", f"x{prefix}", "a", "\ue000", "~"):
        put(keystore, key)
    assert keys(keystore, prefix) == [prefix, f"{prefix}x"]


@pytest.mark.parametrize("value", [b"", b"\0\xff", bytes(range(256)) * 4096], ids=["empty", "not text", "1 MiB"])
def test_a_value_is_any_bytes(keystore: Keystore, value: bytes) -> None:
    put(keystore, "a", value)
    assert keystore.read("a").items[0].value == value


def test_a_range_is_of_one_revision_while_others_write(keystore: Keystore) -> None:
    ended = threading.Event()

    def write() -> None:
        for number in range(200):
            keystore.txn([], [PutKey(key, str(number).encode()) for key in ("a", "b")])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        snapshot = keystore.range("")
        assert len({(item.value, item.mod_revision) for item in snapshot.items}) <= 1
        assert all(item.mod_revision == snapshot.revision for item in snapshot.items)
    writer.join()


def test_no_increment_by_compare_and_swap_is_lost_among_threads(keystore: Keystore) -> None:
    put(keystore, "counter", b"0")

    def count() -> None:
        done = 0
        while done < 50:
            (item,) = keystore.read("counter").items
            done += keystore.txn([Compare("counter", item.mod_revision)], [PutKey("counter", b"%d" % (int(item.value) + 1))]).ok

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keystore.read("counter").items[0].value == b"200"


def test_of_concurrent_claims_one_wins(keystore: Keystore) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        if keystore.txn([Compare("brick", 0)], [PutKey("brick", b"%d" % number)]).ok:
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [b"%d" % number for number in won] == [keystore.read("brick").items[0].value]


WRITES: dict[str, Callable[[Keystore], object]] = {
    "txn": lambda keystore: keystore.txn([], [PutKey("a", b"")], timeout=0.2),
    "grant": lambda keystore: keystore.grant(10, timeout=0.2),
    "renew": lambda keystore: keystore.renew(1, timeout=0.2),
    "revoke": lambda keystore: keystore.revoke(1, timeout=0.2),
}


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_a_call_that_cannot_be_done_ends_at_its_deadline(keystore: Keystore, stalled: Stalled, call: Callable[[Keystore], object]) -> None:
    with stalled():
        started = time.monotonic()
        with pytest.raises(KeystoreUnavailable):
            call(keystore)
        assert 0.15 < time.monotonic() - started < 2
    assert keystore.range("").items == ()


def test_a_store_answers_again_after_a_stall(keystore: Keystore, stalled: Stalled) -> None:
    with stalled(), pytest.raises(KeystoreUnavailable):
        keystore.txn([], [PutKey("a", b"")], timeout=0)
    assert keystore.txn([], [PutKey("a", b"")]).ok


def test_threads_that_wait_for_each_other_have_deadlines_too(keystore: Keystore, stalled: Stalled) -> None:
    failed: list[str] = []

    def wait(name: str, timeout: float) -> None:
        with pytest.raises(KeystoreUnavailable):
            keystore.txn([], [PutKey("a", b"")], timeout=timeout)
        failed.append(name)

    with stalled():
        patient = threading.Thread(target=wait, args=("patient", 0.6))
        patient.start()
        wait("hasty", 0.2)
        patient.join()
    assert failed == ["hasty", "patient"]


CALLS: dict[str, Callable[[Keystore], object]] = {
    "read": lambda keystore: keystore.read("a"),
    "range": lambda keystore: keystore.range(""),
    "watch": lambda keystore: keystore.watch("", 0),
    **WRITES,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_store_refuses_calls(keystore: Keystore, call: Callable[[Keystore], object]) -> None:
    keystore.close()
    keystore.close()
    with pytest.raises(KeystoreUnavailable, match="it is closed"):
        call(keystore)
