"""Root on one node puts things into the filesystem, users into directories that they may write; root elsewhere follows none of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dacc_core.sdk import AlreadyExists, DaccError, InvalidRequest, Swap
from lustre_site import FSNAME, Site

pytestmark = pytest.mark.usefixtures("as_root")

PLANTS = {
    "a symbolic link": 'ln -s "$2" "$1"',
    "a symbolic link to nothing": 'ln -s "$2/nothing" "$1"',
    "a FIFO": 'mkfifo "$1"',
    "a file": 'echo text > "$1"',
    "another user's directory": 'mkdir -m 755 "$1" && chown 4321 "$1"',
    "a full directory that all may write": 'mkdir -m 777 "$1" && touch "$1/x"',
    "a mount": 'mkdir -m 755 "$1" && mount -t tmpfs -o mode=755 tmpfs "$1"',
}
"""What is put at a place ($1), if it can so that it leads outside ($2)."""

FIELDS: dict[str, Any] = {"private": True, "owner": 1001, "group": 1002}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that no job may get, and that is as it was after each test."""
    made = tmp_path / "outside"
    for name in (made, made / "c0"):
        name.mkdir(mode=0o711)
    (made / "secret").write_text("root's")
    before = facts(made)
    yield made
    assert facts(made) == before


def facts(top: Path) -> list[tuple[str, int, int, str]]:
    found = [(path, path.lstat()) for path in [top, *sorted(top.rglob("*"))]]
    return [(str(path), it.st_uid, it.st_mode, path.read_text() if path.is_file() else "") for path, it in found]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site")
    site.create()
    yield site
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(str(tmp_path)):
            subprocess.run(["umount", line.split()[1]], check=True)


@pytest.fixture
def path(made: Site) -> Path:
    """Where c0 has it mounted: of the filesystem, which in memory is the directory beneath."""
    made.mount("c0")
    return made.root / "mnt" / "7_job"


def plant(place: Path, what: str, outside: Path) -> None:
    subprocess.run(["sh", "-ec", PLANTS[what], "sh", str(place), str(outside)], check=True)


def refused(error: DaccError | None, *words: str) -> None:
    assert isinstance(error, AlreadyExists), error
    assert [word for word in words if word not in str(error)] == [], error


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("place", ["private", "private/c0"])
def test_what_another_node_puts_in_place_of_a_directory_is_refused(made: Site, path: Path, outside: Path, place: str, what: str) -> None:
    (path / place).parent.mkdir(mode=0o755, exist_ok=True)
    plant(path / place, what, outside)

    refused(made.mount("c0", **FIELDS).hosts["c0"], f"host c0: {path / place} ")


@pytest.mark.parametrize("what", [what for what in PLANTS if "full" not in what])
@pytest.mark.parametrize("place", ["global", "private"])
def test_what_a_node_puts_in_place_of_global_or_private_is_refused_by_the_storage_host(
    made: Site, outside: Path, place: str, what: str
) -> None:
    client = made.root / "b0" / "run" / FSNAME / "client"
    (client / place).rmdir()
    plant(client / place, what, outside)

    with pytest.raises(AlreadyExists, match=f"host b0: {client / place} "):
        made.create()


@pytest.mark.parametrize("what", PLANTS)
@pytest.mark.parametrize("place", ["private", "private/c1"])
def test_with_root_squash_the_storage_host_follows_nothing_either(tmp_path: Path, outside: Path, place: str, what: str) -> None:
    site = Site(tmp_path / "squashed", {"root_squash": "65534:65534"})
    site.create()
    client = site.root / "b0" / "run" / FSNAME / "client"
    if place == "private":
        (client / place).rmdir()
    plant(client / place, what, outside)

    try:
        with pytest.raises(AlreadyExists, match=f"host b0: {client / place} "):
            site.mount("c0", "c1", **FIELDS)
    finally:
        subprocess.run(["umount", "-q", str(client / place)], check=False)


def test_with_root_squash_a_storage_host_that_died_in_between_finishes_what_it_began(tmp_path: Path) -> None:
    site = Site(tmp_path / "squashed", {"root_squash": "65534:65534"})
    site.create()
    folder = site.root / "b0" / "run" / FSNAME / "client" / "private"
    (folder / "c1").mkdir(mode=0o755)

    site.mount("c0", "c1", **FIELDS)

    assert [(path.name, path.stat().st_uid, path.stat().st_mode & 0o777) for path in sorted(folder.iterdir())] == [
        ("c0", 1001, 0o700),
        ("c1", 1001, 0o700),
    ]


def test_a_directory_that_was_begun_is_finished_and_the_owners_mode_is_kept_after_that(made: Site, path: Path) -> None:
    (path / "private" / "c0").mkdir(mode=0o755, parents=True)
    assert made.mount("c0", **FIELDS).hosts == {"c0": None}
    (path / "private" / "c0").chmod(0o711)

    assert made.mount("c0", **FIELDS).hosts == {"c0": None}
    found = (path / "private" / "c0").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1001, 1002, 0o711)


def test_a_filesystem_that_a_node_gave_to_a_user_is_refused(made: Site, path: Path) -> None:
    os.chown(path, 4321, 4321)

    refused(made.mount("c0", **FIELDS).hosts["c0"], f"{path} belongs to uid 4321")


# Swap, as far as it goes without a loop device.


def swap(site: Site, path: Path, call: str) -> DaccError | None:
    request = Swap(context=site.context(), volume=site.volume, state=site.state, hosts=("c0",), path=str(path), size=1 << 20)
    return getattr(site.provider, call)(request).hosts["c0"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("what", PLANTS)
def test_what_another_node_puts_in_place_of_swap_is_refused(made: Site, path: Path, outside: Path, what: str) -> None:
    plant(path / "swap", what, outside)

    refused(swap(made, path, "swap_on"), f"host c0: {path}/swap ")


@pytest.mark.parametrize("what", PLANTS)
def test_ending_swap_removes_nothing_through_what_another_node_has_planted(made: Site, path: Path, outside: Path, what: str) -> None:
    plant(path / "swap", what, outside)

    swap(made, path, "swap_off")

    assert (outside / "c0").exists()


def test_a_link_in_place_of_a_swap_file_is_not_followed(made: Site, path: Path, outside: Path) -> None:
    (path / "swap").mkdir(mode=0o700)
    (path / "swap" / "c0").symlink_to(outside / "new")

    swap(made, path, "swap_on")

    assert not (outside / "new").exists()


# Where users may write.


@pytest.mark.parametrize("field", ["path", "link"])
def test_a_mount_root_that_users_can_change_is_refused(made: Site, tmp_path: Path, field: str) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    error = made.mount("c0", **{**FIELDS, field: f"{tmp_path}/open/x"}).hosts["c0"]

    assert isinstance(error, InvalidRequest)
    assert f"{tmp_path}/open can be changed by others than root (uid 0, mode 0777)" in str(error)


@pytest.mark.parametrize("field", ["path", "link"])
def test_a_users_link_above_a_mount_is_not_followed(made: Site, tmp_path: Path, outside: Path, field: str) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open" / "dac").symlink_to(outside)
    os.lchown(tmp_path / "open" / "dac", 4321, 4321)

    refused(made.mount("c0", **{**FIELDS, field: f"{tmp_path}/open/dac/x"}).hosts["c0"], f"{tmp_path}/open/dac is a symbolic link")


@pytest.mark.parametrize("what", [what for what in PLANTS if what != "a mount"])
def test_what_is_in_place_of_the_link_is_refused_and_left_alone(made: Site, outside: Path, what: str) -> None:
    link = made.root / "mnt" / "7_job_private"
    link.parent.mkdir()
    plant(link, what, outside)

    refused(made.mount("c0", link=str(link), **FIELDS).hosts["c0"], f"{link} is in the way")
    made.unmount("c0", link=str(link))
    assert os.path.lexists(link)
