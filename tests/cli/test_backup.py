"""``dacc backup`` and ``dacc restore`` on files and an SQLite store."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dacc_core.cli.main import main
from dacc_core.keystore.base import PutKey
from dacc_core.keystore.sqlite.store import SqliteKeystore
from dacc_core.registry import keys
from tests.support.stores import store_of


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a store of its own, which is not there yet."""
    (tmp_path / "empty.yaml").write_text("{}")
    monkeypatch.setenv("DACC_CONFIG", str(tmp_path / "empty.yaml"))
    monkeypatch.setenv("DACC_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "store.db"


def fill(path: Path) -> None:
    store = SqliteKeystore.create(path)
    items = store_of("s1", dead=("s1",)).range(keys.PREFIX).items
    store.txn((), [PutKey(item.key, item.value) for item in items])
    store.close()


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_backup_is_one_file_for_its_owner_only(state: Path, tmp_path: Path) -> None:
    fill(state)
    result = run("backup", tmp_path / "file")
    assert result.output == f"4 records of cluster test at revision 1: {tmp_path}/file\n"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.yaml", "file", "state"]


def test_a_former_backup_is_replaced_at_once(state: Path, tmp_path: Path) -> None:
    fill(state)
    (tmp_path / "file").write_text("former")
    (tmp_path / "file").chmod(0o644)
    former = (tmp_path / "file").stat().st_ino
    assert run("backup", tmp_path / "file").exit_code == 0
    found = (tmp_path / "file").stat()
    assert (found.st_ino != former, stat.S_IMODE(found.st_mode)) == (True, 0o600)


def test_a_backup_that_cannot_be_written_leaves_nothing(state: Path, tmp_path: Path) -> None:
    fill(state)
    (tmp_path / "file").mkdir()
    result = run("backup", tmp_path / "file")
    assert result.exit_code == 10
    assert "cannot be written: Is a directory" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.yaml", "file", "state"]


def test_without_a_store_there_is_no_backup(state: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "file").exit_code == 62
    assert not state.exists()


def test_a_backup_is_restored_into_a_store_that_it_makes(state: Path, tmp_path: Path) -> None:
    fill(state)
    run("backup", tmp_path / "file")
    for path in state.parent.glob("store.db*"):
        path.unlink()
    result = run("restore", tmp_path / "file")
    assert result.output.startswith("4 records of cluster test, as of 20")
    assert result.output.endswith("s1: 2 free bricks are in quarantine: see that nothing uses them, then dacc release s1\n")
    assert run("backup", tmp_path / "again").exit_code == 0


def test_a_store_in_use_is_not_replaced_without_force(state: Path, tmp_path: Path) -> None:
    fill(state)
    run("backup", tmp_path / "file")
    assert run("restore", tmp_path / "file").exit_code == 30
    assert run("restore", tmp_path / "file", "--force", "--trust-free").exit_code == 0


def test_a_damaged_backup_makes_no_store(state: Path, tmp_path: Path) -> None:
    fill(state)
    run("backup", tmp_path / "file")
    data = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(data[:-20])
    for path in state.parent.glob("store.db*"):
        path.unlink()
    result = run("restore", tmp_path / "file")
    assert (result.exit_code, "its checksum is wrong" in result.output) == (10, True)
    assert not state.exists()


def test_a_backup_that_is_not_there_is_said(state: Path, tmp_path: Path) -> None:
    result = run("restore", tmp_path / "none")
    assert result.output == f"dacc: backup {tmp_path}/none cannot be read: No such file or directory\n"
    assert not state.parent.exists()
