"""Root on one node puts things into the volume, users into directories that they may write; root elsewhere follows none of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dacc_core.sdk import AlreadyExists, DaccError, InvalidRequest, Volume

from .conftest import GID, JOB, UID, Site

LINK = f"{JOB}_private"
PLANTS = {
    "a symbolic link": 'ln -s "$2" "$1"',
    "a FIFO": 'mkfifo "$1"',
    "a file": 'echo text > "$1"',
    "another user's directory": 'mkdir -m 755 "$1" && chown 4321 "$1"',
    "a full directory that all may write": 'mkdir -m 777 "$1" && touch "$1/x"',
}
"""What is put at a place ($1), if it can so that it leads outside ($2)."""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that no job may get, and that is as it was after each test."""
    made = tmp_path / "outside"
    for name in (made, made / "c2"):
        name.mkdir(mode=0o711)
    before = facts(made)
    yield made
    assert facts(made) == before


def facts(top: Path) -> list[tuple[str, int, int]]:
    return [(str(path), path.stat().st_uid, path.stat().st_mode) for path in [top, *sorted(top.rglob("*"))]]


@pytest.fixture
def volume(site: Site) -> Volume:
    """One that c1 has mounted, where root plants what he likes."""
    made = site.volume("dac1", bricks=1)
    site.create(made)
    site.mount(made, ["c1"])
    return made


def plant(site: Site, host: str, place: str, what: str, outside: Path) -> None:
    site.on(host, "sh", "-ec", PLANTS[what], "sh", place, str(outside))


def refused(error: DaccError | None, *words: str) -> None:
    assert isinstance(error, AlreadyExists), error
    assert [word for word in words if word not in str(error)] == [], error


def test_what_a_node_puts_in_place_of_private_is_refused_by_another(site: Site, volume: Volume, outside: Path) -> None:
    for what in PLANTS:
        plant(site, "c1", f"{JOB}/private", what, outside)
        refused(site.mount(volume, ["c2"], private=True, link=LINK).hosts["c2"], f"host c2: {JOB}/private ")
        site.on("c1", "rm", "-r", f"{JOB}/private")


def test_what_a_node_puts_in_place_of_anothers_directory_is_refused_there(site: Site, volume: Volume, outside: Path) -> None:
    site.on("c1", "mkdir", f"{JOB}/private")
    for what in PLANTS:
        plant(site, "c1", f"{JOB}/private/c2", what, outside)
        refused(site.mount(volume, ["c2"], private=True, link=LINK).hosts["c2"], f"host c2: {JOB}/private/c2 ")
        site.on("c1", "rm", "-r", f"{JOB}/private/c2")


def test_what_a_node_puts_in_place_of_global_is_refused_by_the_storage_host(site: Site, volume: Volume, outside: Path) -> None:
    for what in PLANTS:
        site.on("c1", "rm", "-r", f"{JOB}/global")
        plant(site, "c1", f"{JOB}/global", what, outside)
        with pytest.raises(AlreadyExists, match=r"host dac1: .*/client/global "):
            site.create(volume)


def test_another_filesystem_in_place_of_private_is_refused(site: Site, volume: Volume, outside: Path) -> None:
    site.on("c1", "mkdir", f"{JOB}/private")
    site.on("c1", "mount", "--bind", str(outside), f"{JOB}/private")

    error = site.mount(volume, ["c1"], private=True, link=LINK).hosts["c1"]

    site.on("c1", "umount", f"{JOB}/private")
    refused(error, f"{JOB}/private is a mount of another filesystem")


def test_a_directory_that_was_begun_is_finished_and_the_owners_mode_is_kept_after_that(site: Site, volume: Volume) -> None:
    site.on("c1", "mkdir", "-p", f"{JOB}/private/c2")
    assert site.mount(volume, ["c2"], private=True, link=LINK).hosts == {"c2": None}
    site.on("c2", "chmod", "711", f"{LINK}/")

    assert site.mount(volume, ["c2"], private=True, link=LINK).hosts == {"c2": None}

    assert site.on("c2", "stat", "-c", "%u %g %a", f"{LINK}/").split() == [str(UID), str(GID), "711"]
    site.unmount(volume, ["c2"], link=LINK)


def test_what_is_in_place_of_the_link_is_refused_and_left_alone(site: Site, volume: Volume, outside: Path) -> None:
    for what in PLANTS:
        plant(site, "c2", LINK, what, outside)
        refused(site.mount(volume, ["c2"], private=True, link=LINK).hosts["c2"], f"host c2: {LINK} is in the way")
        assert site.unmount(volume, ["c2"], link=LINK).hosts == {"c2": None}
        site.on("c2", "rm", "-r", LINK)


def test_what_a_user_puts_in_place_of_the_mount_point_is_refused(site: Site, volume: Volume, outside: Path) -> None:
    for what in PLANTS:
        plant(site, "c2", JOB, what, outside)
        site.on("c2", "chown", "-h", "4321", JOB)
        refused(site.mount(volume, ["c2"]).hosts["c2"], f"host c2: {JOB} ")
        site.on("c2", "rm", "-r", JOB)


def test_a_mount_root_that_users_can_change_is_refused(site: Site, volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    error = site.mount(volume, ["c2"], path=f"{tmp_path}/open/x").hosts["c2"]

    assert isinstance(error, InvalidRequest)
    assert f"{tmp_path}/open can be changed by others than root (uid 0, mode 0777)" in str(error)


def test_a_movers_parent_that_others_may_enter_is_refused(site: Site, volume: Volume, tmp_path: Path) -> None:
    subprocess.run(["install", "-d", "-m", "755", str(tmp_path / "movers")], check=True)

    error = site.mount(volume, ["c2"], path=f"{tmp_path}/movers/x", role="mover").hosts["c2"]

    assert isinstance(error, InvalidRequest)
    assert "mode 0700" in str(error)
