"""Directories and links where others may have planted something: nothing is followed, and what is not ours is an error."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dacc_core.sdk.node import owned
from dacc_core.sdk.node.kit import NodeError
from tests.support.requirements import require_root

UID, GID = 1234, 1235
OWNER: dict[str, Any] = {"owner": UID, "group": GID, "mode": 0o700, "host": "c2"}
PLANTS = {
    "a symbolic link": 'ln -s "$2" "$1"',
    "a symbolic link to nothing": 'ln -s "$2/nothing" "$1"',
    "a FIFO": 'mkfifo "$1"',
    "a file": 'echo text > "$1"',
    "another user's directory": 'mkdir -m 755 "$1" && chown 4321 "$1"',
    "a directory that all may write": 'mkdir -m 777 "$1" && touch "$1/x"',
    "a full directory of root's": 'mkdir -m 775 "$1" && touch "$1/x"',
}
"""What is put at a place ($1), if it can so that it leads outside ($2)."""


@pytest.fixture(autouse=True)
def as_root() -> None:
    require_root("giving directories away")
    assert os.umask(0o022) == 0o022


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that is as it was after each test."""
    made = tmp_path / "outside"
    for path in (made, made / "c2", made / "private"):
        path.mkdir(mode=0o711)
    before = facts(made)
    yield made
    assert facts(made) == before


def facts(top: Path) -> list[tuple[str, int, int, int]]:
    return [(str(path), path.lstat().st_uid, path.lstat().st_gid, path.lstat().st_mode) for path in [top, *sorted(top.rglob("*"))]]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    made.mkdir(mode=0o755)
    return made


def plant(place: Path, what: str, outside: Path) -> None:
    subprocess.run(["sh", "-ec", PLANTS[what], "sh", str(place), str(outside)], check=True)


def refused(kind: str, words: str, call: Callable[..., Any], *arguments: Any) -> None:
    with pytest.raises(NodeError) as caught:
        call(*arguments)
    assert (caught.value.kind, words in str(caught.value)) == (kind, True), str(caught.value)


def make_global(volume: Path) -> None:
    with owned.volume_root(str(volume)) as root:
        owned.make_owned(root, "global", OWNER)


def make_private(volume: Path) -> None:
    owned.make_private(str(volume), "", OWNER)


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize(
    ("place", "call"),
    [("global", make_global), ("private", make_private), ("private/c2", make_private)],
    ids=["global", "private", "private of the host"],
)
def test_what_is_planted_in_a_volume_is_refused(volume: Path, outside: Path, place: str, call: Any, what: str) -> None:
    (volume / place).parent.mkdir(mode=0o755, exist_ok=True)
    plant(volume / place, what, outside)

    refused("AlreadyExists", f"{volume / place} ", call, volume)


def test_a_directory_that_is_right_already_is_not_touched(volume: Path) -> None:
    make_private(volume)
    mine = volume / "private" / "c2"
    assert (mine.stat().st_uid, mine.stat().st_gid, mine.stat().st_mode & 0o777) == (UID, GID, 0o700)
    os.chown(mine, UID, 99)
    mine.chmod(0o751)
    before = mine.stat()

    make_private(volume)

    assert mine.stat() == before


def test_a_directory_that_was_begun_is_finished(volume: Path) -> None:
    (volume / "private" / "c2").mkdir(mode=0o755, parents=True)

    make_private(volume)

    assert (volume / "private" / "c2").stat().st_uid == UID


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"])
def test_a_name_that_is_a_path_is_refused(volume: Path, name: str) -> None:
    refused("InvalidRequest", "cannot be a name", owned.make_private, str(volume), "", {**OWNER, "host": name})


def test_a_volume_that_a_node_gave_away_is_refused(volume: Path) -> None:
    os.chown(volume, 4321, 4321)

    refused("AlreadyExists", f"{volume} belongs to uid 4321", make_private, volume)


def test_another_mount_than_the_one_that_was_seen_is_refused(volume: Path) -> None:
    refused("Unavailable", "is not what was mounted there", owned.make_private, str(volume), "0:1", OWNER)


# Above mounts and links.


def point(path: Path | str, role: str = "job") -> str:
    return owned.mount_point({"path": str(path), "role": role})


def test_what_is_missing_above_a_mount_is_made_and_the_path_is_the_kernels(tmp_path: Path) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/below/../below/.")

    assert point(tmp_path / "link" / "a" / "b" / "7_job") == str(tmp_path / "real" / "below" / "a" / "b" / "7_job")
    assert (tmp_path / "real" / "below" / "a" / "b").stat().st_mode & 0o777 == 0o755


def test_an_absolute_link_of_roots_is_followed_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "second").symlink_to("../" * 30 + str(tmp_path / "link").lstrip("/"))

    assert point(tmp_path / "second" / "7_job") == str(tmp_path / "real" / "7_job")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")

    refused("AlreadyExists", "is a symbolic link", point, tmp_path / "one" / "7_job")


def test_a_users_link_above_a_mount_is_not_followed(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open" / "dac").symlink_to(outside)
    os.lchown(tmp_path / "open" / "dac", 4321, 4321)

    refused("AlreadyExists", f"{tmp_path}/open/dac is a symbolic link", point, tmp_path / "open" / "dac" / "7_job")
    refused("AlreadyExists", f"{tmp_path}/open/dac is a symbolic link", owned.make_link, f"{tmp_path}/open/dac/7_job", "/x")


@pytest.mark.parametrize(("mode", "uid", "gid"), [(0o777, 0, 0), (0o775, 0, 4321), (0o755, 4321, 0)])
def test_a_directory_that_others_can_change_is_refused_above_a_mount(tmp_path: Path, mode: int, uid: int, gid: int) -> None:
    (tmp_path / "open").mkdir()
    os.chown(tmp_path / "open", uid, gid)
    (tmp_path / "open").chmod(mode)

    refused("InvalidRequest", f"{tmp_path}/open can be changed by others than root", point, tmp_path / "open" / "more" / "7_job")
    assert list((tmp_path / "open").iterdir()) == []


def test_nobody_else_may_look_above_a_movers_mount(tmp_path: Path) -> None:
    point(tmp_path / "movers" / "7", "mover")
    assert (tmp_path / "movers").stat().st_mode & 0o777 == 0o700

    (tmp_path / "movers").chmod(0o711)
    refused("InvalidRequest", "must be a directory of uid 0 with mode 0700", point, tmp_path / "movers" / "7", "mover")


@pytest.mark.parametrize("what", [what for what in PLANTS if "director" not in what])
def test_what_is_in_place_of_a_mount_point_is_refused(tmp_path: Path, outside: Path, what: str) -> None:
    plant(tmp_path / "7_job", what, outside)

    refused("AlreadyExists", f"{tmp_path}/7_job is ", owned.make_mount_point, str(tmp_path / "7_job"))


@pytest.mark.parametrize("what", PLANTS)
def test_what_is_in_place_of_a_link_is_refused_and_left_alone(tmp_path: Path, outside: Path, what: str) -> None:
    link = tmp_path / "7_job_private"
    plant(link, what, outside)

    refused("AlreadyExists", f"{link} is in the way", owned.make_link, str(link), "/target")
    owned.remove_link(str(link), "/target")
    assert os.path.lexists(link)


def test_a_users_link_is_refused_although_it_leads_to_the_right_place(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/target")
    os.lchown(link, 4321, 4321)

    refused("AlreadyExists", f"{link} is in the way", owned.make_link, str(link), "/target")


def test_a_link_is_made_once_and_taken_away_once(tmp_path: Path) -> None:
    link = tmp_path / "new" / "link"
    for _ in range(2):
        owned.make_link(str(link), "/target")
        assert str(link.readlink()) == "/target"
    for _ in range(2):
        owned.remove_link(str(link), "/target")
        assert not os.path.lexists(link)
    owned.remove_link(str(tmp_path / "none" / "link"), "/target")
    owned.make_link("", "/target")
    owned.remove_link("", "/target")


def test_no_descriptor_stays_open(tmp_path: Path, volume: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
    make_private(volume)
    point(tmp_path / "a" / "b" / "c")
    refused("AlreadyExists", "is a file", point, make_file(tmp_path / "file") / "x" / "7_job")

    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def make_file(path: Path) -> Path:
    path.write_text("")
    return path
