"""A process of its own for the tests of many processes: ``child.py DEED PATH [ARGUMENT …]``, one JSON line as its answer."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from dacc_core.errors import DaccError
from dacc_core.keystore.base import Compare, PutKey
from dacc_core.keystore.sqlite.store import SqliteKeystore


def answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def count(path: str, times: str) -> None:
    """Add one to a shared counter, so many times, by compare-and-swap."""
    store, lost = SqliteKeystore.open(path), 0
    for _ in range(int(times)):
        while not increment(store):
            lost += 1
    store.close()
    answer(lost)


def increment(store: SqliteKeystore) -> bool:
    (item,) = store.read("counter").items
    value = str(int(item.value) + 1).encode()
    return store.txn([Compare("counter", item.mod_revision)], [PutKey("counter", value)], timeout=20).ok


def put(path: str, *keys: str) -> None:
    """Put keys in one transaction, with the time as value."""
    store = SqliteKeystore.open(path)
    revision = store.txn([], [PutKey(key, repr(time.time()).encode()) for key in keys]).revision
    store.close()
    answer(revision)


def churn(path: str, history: str) -> None:
    """Transactions of two keys and now and then a short lease, for ever; each revision is printed once it is durable."""
    store = SqliteKeystore.open(path, history=int(history))
    number = 0
    while True:
        number += 1
        lease = store.grant(0.005) if number % 5 == 0 else 0
        value = str(number).encode()
        answer(store.txn([], [PutKey("left", value), PutKey("right", value), PutKey(f"leased{number % 3}", value, lease)]).revision)


def watch(path: str) -> None:
    """Say when watching, then every change's key as it comes, for ever."""
    store = SqliteKeystore.open(path)
    watching = store.watch("", store.read().revision)
    answer("watching")
    while True:
        batch = watching.next(5)
        for change in batch.changes if batch else ():
            answer(change.key)


def try_as(path: str, uid: str, gid: str) -> None:
    """As another user: open, put, and say how that went."""
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    try:
        store = SqliteKeystore.open(path)
        revision = store.txn([], [PutKey("by", uid.encode())]).revision
        store.close()
    except DaccError as error:
        answer([error.kind, str(error)])
    else:
        answer(["ok", str(revision)])


def fork(path: str) -> None:
    """Fork while the store is open: the child opens it anew, the parent goes on."""
    store = SqliteKeystore.open(path)
    store.txn([], [PutKey("before", b"")])
    pid = os.fork()
    if pid == 0:
        os._exit(in_forked_child(store, path))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    store.txn([], [PutKey("parent", b"")])
    keys = [item.key for item in store.range("").items]
    store.close()
    answer([status, keys])


def in_forked_child(inherited: SqliteKeystore, path: str) -> int:
    try:
        inherited.read("before")
    except DaccError as error:
        refused = "opened before a fork" in str(error)
    inherited.close()
    own = SqliteKeystore.open(path)
    own.txn([], [PutKey("child", b"")])
    own.close()
    return 0 if refused else 1


DEEDS: dict[str, Callable[..., None]] = {deed.__name__: deed for deed in (count, put, churn, watch, try_as, fork)}

if __name__ == "__main__":
    DEEDS[sys.argv[1]](*sys.argv[2:])
