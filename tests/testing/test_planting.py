"""Planting links and the canary: what was there comes back, and whoever touches the canary is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import BrickRef
from dacc_core.testing import Scratch
from tests.support.requirements import require_root


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    for name in ("brick", "mnt"):
        (tmp_path / name).mkdir()
    runner = LocalRunner(fence_dir=tmp_path / "fence")
    return Scratch(runner, (BrickRef(host="h", device=str(tmp_path / "brick")),), ("h",), mount_root=str(tmp_path / "mnt"))


def test_what_was_in_the_place_of_a_planted_link_comes_back(scratch: Scratch, tmp_path: Path) -> None:
    (tmp_path / "mnt" / "global").mkdir()
    (tmp_path / "mnt" / "global" / "file").write_text("data")

    assert scratch.plant("h", f"{tmp_path}/mnt/global", "/elsewhere")
    assert (tmp_path / "mnt" / "global").readlink() == Path("/elsewhere")

    scratch.uproot("h", f"{tmp_path}/mnt/global", "/elsewhere")
    assert (tmp_path / "mnt" / "global" / "file").read_text() == "data"
    assert [path.name for path in (tmp_path / "mnt").iterdir()] == ["global"]


def test_what_has_come_in_the_place_of_a_planted_link_stays(scratch: Scratch, tmp_path: Path) -> None:
    place = tmp_path / "mnt" / "private"
    place.mkdir()
    scratch.plant("h", str(place), "/elsewhere")
    place.unlink()
    (place / "h").mkdir(parents=True)

    scratch.uproot("h", str(place), "/elsewhere")

    assert [path.name for path in (tmp_path / "mnt").rglob("*")] == ["private", "h"]


def test_root_plants_where_nothing_has_been_yet(scratch: Scratch, tmp_path: Path) -> None:
    assert scratch.plant("h", f"{tmp_path}/mnt/private/h", "/elsewhere")
    assert (tmp_path / "mnt" / "private" / "h").is_symlink()


def test_a_user_plants_nothing_where_he_may_not_write(scratch: Scratch, tmp_path: Path) -> None:
    require_root("acting as another user")
    assert not scratch.plant("h", f"{tmp_path}/mnt/link", "/elsewhere", as_owner=True)
    assert not list((tmp_path / "mnt").iterdir())


def make_and_remove(path: Path) -> None:
    (path / "empty" / "new").touch()
    (path / "empty" / "new").unlink()


def replace(path: Path) -> None:
    (path / "empty").rename(path / "other")
    (path / "empty").mkdir(0o711)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file is made": lambda path: (path / "empty" / "new").touch(),
    "a file is made and removed": make_and_remove,
    "a directory is removed": lambda path: (path / "directory" / "h").rmdir(),
    "a mode is changed": lambda path: (path / "directory" / "h").chmod(0o755),
    "a mode is set to what it was": lambda path: (path / "directory" / "h").chmod(0o711),
    "an owner is set to what he was": lambda path: os.chown(path / "directory", os.geteuid(), os.getegid()),
    "a file is written": lambda path: (path / "files" / "h").write_text("for root ONLY\n"),
    "a directory is replaced": replace,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_canary_that_is_touched_looks_different(scratch: Scratch, change: str) -> None:
    scratch.lay_canary(["h"])
    before = scratch.look_at_canary()
    CHANGES[change](Path(scratch.outside))

    assert scratch.look_at_canary() != before


def test_a_canary_that_is_read_looks_the_same_and_leaves_nothing(scratch: Scratch, tmp_path: Path) -> None:
    scratch.lay_canary(["h"])
    before = scratch.look_at_canary()
    (Path(scratch.outside) / "secret").read_text()

    assert scratch.look_at_canary() == before
    scratch.remove_canary()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "fence") == ["brick", "mnt"]
