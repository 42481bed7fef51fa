"""Where an SQLite keystore may lie, with which rights, and what is said when it cannot be used."""

from __future__ import annotations

import grp
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dacc_core.errors import AlreadyExists, KeystoreMissing, KeystoreUnavailable, NotFound
from dacc_core.keystore.base import PutKey
from dacc_core.keystore.sqlite import files
from dacc_core.keystore.sqlite.store import SqliteKeystore

NOBODY = 65534
GROUP = 54321


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_opening_never_creates(path: Path) -> None:
    path.parent.mkdir()
    with pytest.raises(KeystoreMissing, match=str(path)):
        SqliteKeystore.open(path)
    assert list(path.parent.iterdir()) == []


def test_opening_in_a_missing_directory_does_not_make_it(path: Path) -> None:
    with pytest.raises(KeystoreMissing):
        SqliteKeystore.open(path)
    assert not path.parent.exists()


def test_a_store_is_not_made_over_another(store: SqliteKeystore) -> None:
    store.txn([], [PutKey("a", b"")])
    with pytest.raises(AlreadyExists, match="already exists"):
        SqliteKeystore.create(store.where)
    assert store.read("a").items


def test_of_two_makers_one_wins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = files._write_schema

    def overtaken(draft: Path) -> None:
        monkeypatch.setattr(files, "_write_schema", fill)
        SqliteKeystore.create(path).close()
        fill(draft)

    monkeypatch.setattr(files, "_write_schema", overtaken)
    with pytest.raises(AlreadyExists):
        SqliteKeystore.create(path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["keystore.db", "wake"]


def test_a_failure_while_making_leaves_nothing_to_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(draft: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(files, "_write_schema", full)
    with pytest.raises(KeystoreUnavailable, match="disk is full"):
        SqliteKeystore.create(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["wake"]


def test_a_store_without_group_is_private(store: SqliteKeystore, path: Path) -> None:
    store.txn([], [PutKey("a", b"")])
    assert [mode(place) for place in (path.parent, path, Path(f"{path}-wal"))] == [0o700, 0o600, 0o600]


@pytest.mark.parametrize("group", [os.getgid(), grp.getgrgid(os.getgid()).gr_name], ids=["number", "name"])
def test_a_store_of_a_group_is_shared_by_it(path: Path, group: int | str) -> None:
    store = SqliteKeystore.create(path, group=group)
    store.txn([], [PutKey("a", b"")])
    assert [mode(place) for place in (path.parent, path.parent / "wake", path, Path(f"{path}-wal"))] == [0o2770, 0o2770, 0o660, 0o660]
    store.close()


def test_an_unknown_group_is_named(path: Path) -> None:
    with pytest.raises(NotFound, match="no-such-group"):
        SqliteKeystore.create(path, group="no-such-group")


def test_a_directory_with_other_things_keeps_its_mode(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    (path.parent / "other").touch()
    SqliteKeystore.create(path, group=os.getgid()).close()
    assert mode(path.parent) == 0o755


def test_a_path_longer_than_a_sockets_works(tmp_path: Path) -> None:
    store = SqliteKeystore.create(tmp_path / ("d" * 120) / "keystore.db")
    assert store.watch("", 0).next(0) is not None
    store.close()


def test_a_path_may_have_characters_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    store = SqliteKeystore.create(tmp_path / "a?b#c%20 d" / "key store.db")
    assert store.txn([], [PutKey("a", b"")]).ok
    store.close()


def test_a_relative_path_outlives_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteKeystore.create("state/keystore.db")
    monkeypatch.chdir("/")
    assert store.txn([], [PutKey("a", b"")]).ok
    assert store.where == str(tmp_path / "state" / "keystore.db")
    store.close()


def unusable(path: Path) -> str:
    with pytest.raises(KeystoreUnavailable) as caught:
        SqliteKeystore.open(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keystore.db"
    path.write_text("not a database\n" * 100)
    assert "file is not a database" in unusable(path)
    assert path.read_text().startswith("not a database")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keystore.db"
    path.touch()
    assert "not a keystore" in unusable(path)
    assert path.stat().st_size == 0


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keystore.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (a)")
    assert "another program's database, not a keystore" in unusable(path)


def test_a_store_of_another_version_is_refused(store: SqliteKeystore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
    assert "schema version 9, this program knows version 1" in unusable(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "not a regular file" in unusable(tmp_path)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in unusable(tmp_path / "file" / "keystore.db")


def test_a_damaged_store_is_an_error_of_ours(store: SqliteKeystore, path: Path) -> None:
    store.txn([], [PutKey(f"key{number}", b"x" * 1000) for number in range(100)])
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    assert "malformed" in unusable(path)


@pytest.mark.parametrize("deed", ["removed", "replaced"])
def test_a_file_that_loses_its_name_while_in_use_is_noticed(store: SqliteKeystore, path: Path, deed: str) -> None:
    store.txn([], [PutKey("a", b"")])
    path.rename(path.with_suffix(".old"))
    if deed == "replaced":
        path.write_bytes(path.with_suffix(".old").read_bytes())
    with pytest.raises(KeystoreUnavailable, match="removed or replaced while it was in use"):
        store.txn([], [PutKey("a", b"")])
    with pytest.raises(KeystoreUnavailable):
        store.watch("", 0).next(0)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "lustre", "ceph", "gpfs", "beegfs", "9p", "fuse.sshfs", "fuse.glusterfs", "fuse"])
def test_a_network_filesystem_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    SqliteKeystore.create(path).close()
    monkeypatch.setattr(files, "filesystem_type", lambda directory: kind)
    assert f"network filesystem ({kind})" in unusable(path)
    with pytest.raises(KeystoreUnavailable, match="choose a local directory"):
        SqliteKeystore.create(path.with_name("other.db"))
    assert not path.with_name("other.db").exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse.fuse-overlayfs", "fuseblk", "unknown"])
def test_a_local_filesystem_is_accepted(kind: str) -> None:
    assert not files.is_network(kind)


def test_the_type_of_a_filesystem_is_the_kernels_word() -> None:
    assert files.filesystem_type(Path("/proc")) == "proc"


@pytest.mark.root
def test_the_error_for_a_user_who_may_only_read_names_the_reason(public_path: Path, ask_child: Callable[..., Any]) -> None:
    SqliteKeystore.create(public_path).close()
    public_path.chmod(0o644)
    public_path.parent.chmod(0o755)
    kind, text = ask_child("try_as", public_path, NOBODY, NOBODY)
    assert kind == "KeystoreUnavailable"
    assert f"{public_path.parent} cannot be written by uid {NOBODY}" in text
    assert "WAL" in text


@pytest.mark.root
def test_a_file_that_may_not_be_written_is_named(public_path: Path, ask_child: Callable[..., Any]) -> None:
    SqliteKeystore.create(public_path).close()
    public_path.chmod(0o644)
    public_path.parent.chmod(0o777)
    kind, text = ask_child("try_as", public_path, NOBODY, NOBODY)
    assert (kind, f"{public_path} cannot be written by uid {NOBODY}" in text) == ("KeystoreUnavailable", True)


@pytest.mark.root
def test_a_directory_that_may_not_be_entered_is_named(public_path: Path, ask_child: Callable[..., Any]) -> None:
    SqliteKeystore.create(public_path).close()
    kind, text = ask_child("try_as", public_path, NOBODY, NOBODY)
    assert (kind, "Permission denied" in text) == ("KeystoreUnavailable", True)


@pytest.mark.root
def test_members_of_the_group_may_use_the_store_and_wake_others(public_path: Path, ask_child: Callable[..., Any]) -> None:
    store = SqliteKeystore.create(public_path, group=GROUP)
    watch = store.watch("", 0)
    assert ask_child("try_as", public_path, NOBODY, GROUP) == ["ok", "1"]
    batch = watch.next(5)
    assert batch is not None
    assert [change.key for change in batch.changes] == ["by"]
    store.close()
