"""Logging in: tokens that expire, users who may little, and what is said of wrong ones."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from dacc_core.errors import KeystoreUnavailable
from dacc_core.keystore.base import Compare, PutKey
from tests.support.etcd import PASSWORD, EtcdCluster
from tests.support.waiting import until

from .conftest import Open

OURS = (b"/dacc/", b"/dacc0")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """An etcd that asks for a login, whose tokens die when they were not used for a second; ``dacc`` may use ``/dacc/``."""
    with EtcdCluster(tmp_path_factory.mktemp("users"), flags=("--auth-token-ttl=1",)) as cluster:
        cluster.enable_users(*OURS)
        yield cluster


def token_is_dead(cluster: EtcdCluster, token: str) -> bool:
    from dacc_core.keystore.etcd.protocol import RpcFailure

    kept, cluster.token = cluster.token, token
    try:
        cluster.admin("Range", lambda m: m.RangeRequest(key=b"/dacc/x"))
    except RpcFailure as error:
        return error.code == "UNAUTHENTICATED"
    finally:
        cluster.token = kept
    return False


def test_an_expired_token_is_replaced(guarded: EtcdCluster, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, user="dacc", password=PASSWORD)
    store.txn([], [PutKey("/dacc/a", b"")])
    threading.Event().wait(2.5)  # asking whether it is dead would keep it alive
    assert token_is_dead(guarded, store._client.login._token or "")
    assert store.txn([Compare("/dacc/b", 0)], [PutKey("/dacc/b", b"")]).ok


def test_a_watch_outlives_its_token(guarded: EtcdCluster, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, user="dacc", password=PASSWORD)
    watch = store.watch("/dacc/", store.range("/dacc/").revision)
    for number in range(2):
        store._client.login._token = "none of etcd's"
        revision = store.txn([], [PutKey(f"/dacc/{number}", b"")]).revision
        until(lambda revision=revision: (batch := watch.next(1)) and batch.revision >= revision)


def test_a_restarted_etcd_which_knows_no_token_is_used_on(guarded: EtcdCluster, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, user="dacc", password=PASSWORD)
    watch = store.watch("/dacc/", store.range("/dacc/").revision)
    until(lambda: watch.next(1))
    guarded.members[0].kill()
    guarded.start()
    guarded.log_in()
    revision = store.txn([], [PutKey("/dacc/a", b"")]).revision
    until(lambda: (batch := watch.next(1)) and batch.revision >= revision)


def test_threads_log_in_once(guarded: EtcdCluster, open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from dacc_core.keystore.etcd.protocol import EtcdChannel

    methods: list[str] = []
    call = EtcdChannel.call
    monkeypatch.setattr(EtcdChannel, "call", lambda self, method, *rest: methods.append(method) or call(self, method, *rest))
    store = open_store(*guarded.endpoints, user="dacc", password=PASSWORD)
    threads = [threading.Thread(target=store.read, args=("/dacc/a",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert methods.count("Authenticate") == 1


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ({}, "it wants a user: set keystore.user and keystore.password_file"),
        ({"user": "dacc", "password": "wrong"}, "wrong user or password: correct keystore.user"),
        ({"user": "nobody", "password": PASSWORD}, "wrong user or password: correct keystore.user"),
    ],
    ids=["none", "wrong password", "unknown"],
)
def test_a_wrong_login_is_refused_with_advice(guarded: EtcdCluster, open_store: Open, access: dict[str, str], words: str) -> None:
    with pytest.raises(KeystoreUnavailable, match=words):
        open_store(*guarded.endpoints, **access).read("/dacc/a")


def test_a_denied_permission_is_refused_with_advice(guarded: EtcdCluster, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, user="dacc", password=PASSWORD)
    with pytest.raises(KeystoreUnavailable, match="permission denied: grant the user's role read and write on the prefix /dacc/"):
        store.txn([], [PutKey("elsewhere", b"")])


def test_what_asks_for_no_key_needs_no_more_than_the_prefix(guarded: EtcdCluster, open_store: Open) -> None:
    store = open_store(*guarded.endpoints, user="dacc", password=PASSWORD)
    assert store.read().revision == store.txn([], []).revision > 0


def test_a_watch_whose_prefix_may_not_be_read_fails(guarded: EtcdCluster, open_store: Open) -> None:
    watch = open_store(*guarded.endpoints, user="dacc", password=PASSWORD).watch("elsewhere", 1)
    with pytest.raises(KeystoreUnavailable, match="permission denied"):
        until(lambda: watch.next(1) and False)


def test_a_user_is_ignored_where_authentication_is_off(single: EtcdCluster, open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        open_store(*single.endpoints, user="dacc", password=PASSWORD).read("a")
    assert "asks for no login" in caplog.text


def test_logging_in_may_be_switched_on_later(tmp_path_factory: pytest.TempPathFactory, open_store: Open) -> None:
    with EtcdCluster(tmp_path_factory.mktemp("later")) as cluster:
        store = open_store(*cluster.endpoints, user="dacc", password=PASSWORD)
        store.read("/dacc/a")
        cluster.enable_users(*OURS)
        assert store.txn([Compare("/dacc/a", 0)], [PutKey("/dacc/a", b"")]).ok
