"""What every backend does: leases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core.errors import NotFound
from dacc_core.keystore.base import Change, Compare, DeleteKey, Item, Keystore, PutKey, Watch

Collect = Callable[[Watch, int], list[Change]]
PassTime = Callable[[float], None]

TTL = 4.0


def put(keystore: Keystore, key: str, lease: int = 0) -> int:
    return keystore.txn([], [PutKey(key, b"", lease)]).revision


def keys(keystore: Keystore) -> list[str]:
    return [item.key for item in keystore.range("").items]


def test_a_lease_has_a_number_of_its_own(keystore: Keystore) -> None:
    leases = {keystore.grant(TTL) for _ in range(3)}
    assert len(leases) == 3
    assert 0 not in leases


def test_the_number_of_an_ended_lease_does_not_come_back(keystore: Keystore) -> None:
    first = keystore.grant(TTL)
    keystore.revoke(first)
    assert keystore.grant(TTL) != first


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_lease_needs_a_time_to_live(keystore: Keystore, ttl: float) -> None:
    with pytest.raises(ValueError, match="positive ttl"):
        keystore.grant(ttl)


def test_granting_and_renewing_change_no_revision(keystore: Keystore) -> None:
    before = put(keystore, "a")
    keystore.renew(keystore.grant(TTL))
    assert keystore.range("").revision == before


def test_an_item_shows_its_lease(keystore: Keystore) -> None:
    lease = keystore.grant(TTL)
    revision = put(keystore, "a", lease)
    assert keystore.read("a").items == (Item("a", b"", revision, lease),)


def test_a_watcher_sees_the_lease_of_an_item(keystore: Keystore, collect: Collect) -> None:
    lease = keystore.grant(TTL)
    watch = keystore.watch("", keystore.range("").revision)
    revision = put(keystore, "a", lease)
    assert collect(watch, revision) == [Change("a", Item("a", b"", revision, lease), revision)]


def test_a_key_is_gone_when_its_lease_has_ended(keystore: Keystore, pass_time: PassTime) -> None:
    put(keystore, "leased", keystore.grant(TTL))
    put(keystore, "kept")
    pass_time(TTL + 1)
    assert keys(keystore) == ["kept"]
    assert keystore.read("leased").items == ()


def test_a_key_stays_until_its_lease_ends(keystore: Keystore, pass_time: PassTime) -> None:
    put(keystore, "leased", keystore.grant(TTL))
    pass_time(TTL / 4)
    assert keys(keystore) == ["leased"]


def test_a_key_whose_lease_has_ended_compares_as_absent(keystore: Keystore, pass_time: PassTime) -> None:
    put(keystore, "leased", keystore.grant(TTL))
    pass_time(TTL + 1)
    assert keystore.txn([Compare("leased", 0)], [PutKey("leased", b"")]).ok


def test_expiry_is_written_even_when_the_transaction_that_finds_it_is_not(keystore: Keystore, pass_time: PassTime) -> None:
    before = put(keystore, "leased", keystore.grant(TTL))
    pass_time(TTL + 1)
    result = keystore.txn([Compare("leased", before)], [PutKey("other", b"")])
    assert (result.ok, result.revision, result.current) == (False, before + 1, {"leased": None})
    assert keystore.range("").revision == before + 1


def test_watchers_see_expiry_as_a_deletion_of_its_own_revision(keystore: Keystore, pass_time: PassTime, collect: Collect) -> None:
    lease = keystore.grant(TTL)
    put(keystore, "a", lease)
    before = put(keystore, "b", lease)
    watch = keystore.watch("", before)
    pass_time(TTL + 1)
    changes = collect(watch, before + 1)
    assert sorted(changes, key=lambda change: change.key) == [Change("a", None, before + 1), Change("b", None, before + 1)]


def test_what_is_put_after_an_expiry_comes_after_it(keystore: Keystore, pass_time: PassTime, collect: Collect) -> None:
    before = put(keystore, "a", keystore.grant(TTL))
    watch = keystore.watch("", before)
    pass_time(TTL + 1)
    revision = put(keystore, "a")
    assert collect(watch, revision) == [Change("a", None, before + 1), Change("a", Item("a", b"", revision), revision)]


def test_a_lease_without_keys_ends_without_a_revision(keystore: Keystore, pass_time: PassTime) -> None:
    before = put(keystore, "a")
    lease = keystore.grant(TTL)
    pass_time(TTL + 1)
    assert keystore.range("").revision == before
    assert not keystore.renew(lease)


def test_renewing_starts_the_ttl_anew(keystore: Keystore, pass_time: PassTime) -> None:
    lease = keystore.grant(TTL)
    put(keystore, "leased", lease)
    for _ in range(3):
        pass_time(TTL * 0.6)
        assert keystore.renew(lease)
    assert keys(keystore) == ["leased"]
    pass_time(TTL + 1)
    assert keys(keystore) == []


def test_renewing_one_lease_does_not_keep_another(keystore: Keystore, pass_time: PassTime) -> None:
    first, second = keystore.grant(TTL), keystore.grant(TTL)
    put(keystore, "first", first)
    put(keystore, "second", second)
    pass_time(TTL * 0.6)
    keystore.renew(second)
    pass_time(TTL * 0.6)
    assert keys(keystore) == ["second"]


def test_an_ended_lease_cannot_be_renewed(keystore: Keystore, pass_time: PassTime) -> None:
    lease = keystore.grant(TTL)
    pass_time(TTL + 1)
    assert not keystore.renew(lease)


def test_an_unknown_lease_cannot_be_renewed(keystore: Keystore) -> None:
    assert not keystore.renew(987654321)


def test_revoking_deletes_the_keys_of_the_lease_at_once(keystore: Keystore, collect: Collect) -> None:
    lease = keystore.grant(TTL)
    put(keystore, "kept")
    before = put(keystore, "leased", lease)
    watch = keystore.watch("", before)
    keystore.revoke(lease)
    assert keys(keystore) == ["kept"]
    assert collect(watch, before + 1) == [Change("leased", None, before + 1)]


def test_revoking_twice_succeeds(keystore: Keystore) -> None:
    lease = keystore.grant(TTL)
    before = put(keystore, "leased", lease)
    keystore.revoke(lease)
    keystore.revoke(lease)
    assert keystore.range("").revision == before + 1


def test_nothing_can_be_put_under_an_ended_lease(keystore: Keystore, pass_time: PassTime) -> None:
    lease = keystore.grant(TTL)
    pass_time(TTL + 1)
    with pytest.raises(NotFound, match=f"lease {lease}"):
        keystore.txn([], [PutKey("other", b""), PutKey("leased", b"", lease)])
    assert keys(keystore) == []


def test_a_failed_compare_comes_before_an_ended_lease(keystore: Keystore) -> None:
    lease = keystore.grant(TTL)
    keystore.revoke(lease)
    put(keystore, "a")
    assert not keystore.txn([Compare("a", 0)], [PutKey("a", b"", lease)]).ok


def test_putting_a_key_without_lease_frees_it(keystore: Keystore, pass_time: PassTime) -> None:
    put(keystore, "a", keystore.grant(TTL))
    put(keystore, "a")
    pass_time(TTL + 1)
    assert keys(keystore) == ["a"]


def test_a_key_belongs_to_the_lease_it_was_last_put_under(keystore: Keystore) -> None:
    first, second = keystore.grant(TTL), keystore.grant(TTL)
    put(keystore, "a", first)
    put(keystore, "a", second)
    keystore.revoke(first)
    assert keys(keystore) == ["a"]
    keystore.revoke(second)
    assert keys(keystore) == []


def test_a_key_made_anew_is_not_bound_to_its_former_lease(keystore: Keystore) -> None:
    lease = keystore.grant(TTL)
    put(keystore, "a", lease)
    keystore.txn([], [DeleteKey("a")])
    put(keystore, "a")
    keystore.revoke(lease)
    assert keys(keystore) == ["a"]
