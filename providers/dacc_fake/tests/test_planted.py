"""Backing image: root on one node puts things into the volume, users into directories that they may write; root elsewhere follows none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dacc_core.sdk import AlreadyExists, DaccError, InvalidRequest

if TYPE_CHECKING:
    from conftest import Site

PLANTS = {
    "a symbolic link": 'ln -s "$2" "$1"',
    "a symbolic link to nothing": 'ln -s "$2/nothing" "$1"',
    "a FIFO": 'mkfifo "$1"',
    "a file": 'echo text > "$1"',
    "another user's directory": 'mkdir -m 755 "$1" && chown 4321 "$1"',
    "a directory that all may write": 'mkdir -m 777 "$1" && touch "$1/x"',
    "a full directory of root's": 'mkdir -m 775 "$1" && touch "$1/x"',
    "a device": 'mknod "$1" b 7 0',
}
"""What a node puts at a place ($1), if it can so that it leads outside ($2)."""

FIELDS: dict[str, Any] = {"private": True, "owner": 1234, "group": 1234}


class Outside:
    """A directory of the host's that no job may get."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in (path, path / "c2"):
            name.mkdir(mode=0o711)
        (path / "secret").write_text("root's")
        self.before = self.facts()

    def facts(self) -> list[tuple[str, int, int, int, str]]:
        found = [(path, path.lstat()) for path in [self.path, *sorted(self.path.rglob("*"))]]
        return [(str(path), it.st_uid, it.st_gid, it.st_mode, path.read_text() if path.is_file() else "") for path, it in found]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """It is as it was after each test."""
    made = Outside(tmp_path / "outside")
    yield made
    assert made.facts() == made.before


@pytest.fixture
def made(image: Site, outside: Outside) -> Iterator[Site]:
    """A volume that node c1 has mounted, where root plants what he likes."""
    image.create()
    image.mount("c1")
    yield image
    image.swap("swap_off", "c1", "c2")
    image.unmount("c1", "c2", link=image.link)
    image.delete()


def plant(site: Site, place: str, what: str, outside: Outside) -> None:
    """Put something into the volume as root of c1."""
    said = site.on("c1", "sh", "-ec", PLANTS[what], "sh", f"{site.path}/{place}", str(outside.path))
    assert said == ""


def refused(error: DaccError | None, *words: str) -> None:
    assert isinstance(error, AlreadyExists), error
    assert [word for word in ("c2", *words) if word not in str(error)] == [], error


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_node_puts_in_place_of_private_is_refused_by_another(made: Site, outside: Outside, what: str) -> None:
    plant(made, "private", what, outside)

    refused(made.mount("c2", link=made.link, **FIELDS).hosts["c2"], f"{made.path}/private ")


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_node_puts_in_place_of_anothers_directory_is_refused_there(made: Site, outside: Outside, what: str) -> None:
    made.mount("c1", **FIELDS)
    plant(made, "private/c2", what, outside)

    refused(made.mount("c2", link=made.link, **FIELDS).hosts["c2"], f"{made.path}/private/c2 ")


def test_a_link_is_called_a_link(made: Site, outside: Outside) -> None:
    plant(made, "private", "a symbolic link", outside)

    refused(made.mount("c2", **FIELDS).hosts["c2"], f"{made.path}/private is a symbolic link: ")


def test_what_a_node_puts_in_place_of_a_directory_that_was_made_is_refused(made: Site, outside: Outside) -> None:
    made.mount("c2", **FIELDS)
    made.on("c1", "mv", f"{made.path}/private", f"{made.path}/moved")
    plant(made, "private", "a symbolic link", outside)

    refused(made.mount("c2", **FIELDS).hosts["c2"], "is a symbolic link")


def test_another_filesystem_in_place_of_private_is_refused(made: Site, outside: Outside) -> None:
    made.mount("c2")
    made.on("c2", "mkdir", f"{made.path}/private")
    made.on("c2", "mount", "--bind", str(outside.path), f"{made.path}/private")

    error = made.mount("c2", **FIELDS).hosts["c2"]

    made.on("c2", "umount", f"{made.path}/private")
    refused(error, "is a mount of another filesystem")


def test_a_volume_that_a_node_gave_to_a_user_is_refused(made: Site) -> None:
    made.on("c1", "chown", "4321", made.path)

    refused(made.mount("c2", **FIELDS).hosts["c2"], f"{made.path} belongs to uid 4321")


def test_a_directory_that_root_has_begun_is_finished(made: Site) -> None:
    made.on("c1", "mkdir", "-p", "-m", "755", f"{made.path}/private", f"{made.path}/private/c2")

    assert made.mount("c2", link=made.link, mode=0o750, **FIELDS).hosts == {"c2": None}
    assert made.on("c2", "stat", "-c", "%u %g %a", f"{made.link}/") == "1234 1234 750"


def test_the_owner_may_give_his_directory_to_another_group(made: Site) -> None:
    made.mount("c2", **FIELDS)
    made.on("c2", "chown", "1234:4321", f"{made.path}/private/c2")

    assert made.mount("c2", **FIELDS).hosts == {"c2": None}
    assert made.on("c2", "stat", "-c", "%u %g", f"{made.path}/private/c2") == "1234 4321"


def test_unmounting_follows_nothing_that_a_node_has_planted(made: Site, outside: Outside) -> None:
    made.mount("c2", link=made.link, **FIELDS)
    made.on("c1", "mv", f"{made.path}/private", f"{made.path}/moved")
    plant(made, "private", "a symbolic link", outside)

    assert made.unmount("c2", link=made.link).hosts == {"c2": None}
    assert made.on("c2", "ls", "-A", str(made.mounts)) == ""


# Swap.


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_node_puts_in_place_of_swap_is_refused_by_another(made: Site, outside: Outside, what: str) -> None:
    made.mount("c2")
    plant(made, "swap", what, outside)
    allowed = what == "a full directory of root's"
    if allowed:
        made.on("c1", "chmod", "755", f"{made.path}/swap")

    error = made.swap("swap_on", "c2").hosts["c2"]

    made.swap("swap_off", "c2")
    assert error is None if allowed else isinstance(error, AlreadyExists), error
    made.on("c1", "rm", "-rf", f"{made.path}/swap")


@pytest.mark.parametrize("what", [what for what in PLANTS if "directory" not in what])
def test_what_a_node_puts_in_place_of_a_swap_file_goes_and_nothing_else(made: Site, outside: Outside, what: str) -> None:
    made.mount("c2")
    made.on("c1", "mkdir", "-m", "700", f"{made.path}/swap")
    plant(made, "swap/c2", what, outside)

    assert made.swap("swap_on", "c2").hosts == {"c2": None}
    assert made.on("c2", "stat", "-c", "%u %a %F", f"{made.path}/swap/c2") == "0 600 regular file"


def test_a_directory_in_place_of_a_swap_file_is_refused(made: Site, outside: Outside) -> None:
    made.mount("c2")
    made.on("c1", "mkdir", "-m", "700", f"{made.path}/swap")
    plant(made, "swap/c2", "another user's directory", outside)

    refused(made.swap("swap_on", "c2").hosts["c2"], f"{made.path}/swap/c2 is a directory")
    made.on("c1", "rmdir", f"{made.path}/swap/c2")


def test_an_old_swap_file_that_has_another_name_is_not_written(made: Site) -> None:
    made.mount("c2")
    made.on("c1", "sh", "-ec", f"mkdir -m 700 {made.path}/swap; echo text > {made.path}/data; ln {made.path}/data {made.path}/swap/c2")

    assert made.swap("swap_on", "c2").hosts == {"c2": None}
    assert made.on("c1", "cat", f"{made.path}/data") == "text"


@pytest.mark.parametrize("what", [what for what in PLANTS if "director" not in what])
def test_ending_swap_touches_nothing_that_a_node_has_planted(made: Site, outside: Outside, what: str) -> None:
    made.mount("c2")
    plant(made, "swap", what, outside)

    made.swap("swap_off", "c2")

    assert outside.facts() == outside.before


# Where users may write.


@pytest.fixture
def open_to_all(made: Site) -> str:
    """A directory on c2 in which every user may make and rename things."""
    path = f"{made.mounts}/open"
    made.on("c2", "install", "-d", "-m", "777", path)
    return path


def test_a_mount_root_that_users_can_change_is_refused(made: Site, open_to_all: str) -> None:
    error = made.mount("c2", path=f"{open_to_all}/7_job").hosts["c2"]

    made.on("c2", "rm", "-r", open_to_all)
    assert isinstance(error, InvalidRequest)
    assert f"{open_to_all} can be changed by others than root (uid 0, mode 0777)" in str(error)


def test_a_mount_root_of_a_users_is_refused(made: Site, open_to_all: str) -> None:
    made.on("c2", "chown", "4321", open_to_all)
    made.on("c2", "chmod", "755", open_to_all)

    error = made.mount("c2", path=f"{open_to_all}/more/7_job").hosts["c2"]

    made.on("c2", "rm", "-r", open_to_all)
    assert isinstance(error, InvalidRequest)
    assert f"{open_to_all} can be changed by others than root (uid 4321, mode 0755)" in str(error)


@pytest.mark.parametrize("field", ["path", "link"])
def test_a_users_link_above_a_mount_is_not_followed(made: Site, outside: Outside, open_to_all: str, field: str) -> None:
    made.on("c2", "chmod", "1777", open_to_all)
    made.on("c2", "ln", "-s", str(outside.path), f"{open_to_all}/dac")
    made.on("c2", "chown", "-h", "4321", f"{open_to_all}/dac")

    error = made.mount("c2", **{**FIELDS, field: f"{open_to_all}/dac/7_job"}).hosts["c2"]

    made.on("c2", "rm", "-r", open_to_all)
    refused(error, f"{open_to_all}/dac is a symbolic link")


def test_an_operators_link_above_a_mount_is_followed(made: Site, tmp_path: Path) -> None:
    made.on("c2", "ln", "-s", "../" * 20 + str(tmp_path), f"{made.mounts}/dac")

    error = made.mount("c2", path=f"{made.mounts}/dac/new/7_job").hosts["c2"]
    mounted = made.mounted("c2", f"{tmp_path}/new/7_job")

    made.unmount("c2", path=f"{made.mounts}/dac/new/7_job")
    made.on("c2", "rm", f"{made.mounts}/dac")
    assert error is None
    assert mounted


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_user_puts_in_place_of_a_mount_point_is_refused(made: Site, outside: Outside, open_to_all: str, what: str) -> None:
    made.on("c2", "chmod", "1777", open_to_all)
    path = f"{open_to_all}/7_job"
    made.on("c2", "sh", "-ec", PLANTS[what] + '; chown -h 4321 "$1"', "sh", path, str(outside.path))

    error = made.mount("c2", path=path).hosts["c2"]

    made.on("c2", "rm", "-r", open_to_all)
    refused(error, path)


@pytest.mark.parametrize("what", PLANTS)
def test_what_a_user_puts_in_place_of_the_link_is_refused_and_left_alone(made: Site, outside: Outside, what: str) -> None:
    made.on("c2", "sh", "-ec", PLANTS[what], "sh", made.link, str(outside.path))

    error = made.mount("c2", link=made.link, **FIELDS).hosts["c2"]
    made.unmount("c2", link=made.link)
    left = made.on("c2", "ls", str(made.mounts))

    made.on("c2", "rm", "-r", made.link)
    refused(error, f"{made.link} is in the way")
    assert left == Path(made.link).name


def test_a_link_of_a_users_is_refused_although_it_leads_to_the_right_place(made: Site) -> None:
    """He could make it lead to a directory of his once the job has begun."""
    made.on("c2", "ln", "-s", f"{made.path}/private/c2", made.link)
    made.on("c2", "chown", "-h", "4321", made.link)

    refused(made.mount("c2", link=made.link, **FIELDS).hosts["c2"], f"{made.link} is in the way")


# Backing directory.


@pytest.mark.parametrize("place", ["private", "private/c1"])
@pytest.mark.parametrize("what", PLANTS)
def test_with_plain_directories_nothing_planted_is_followed_either(plain: Site, outside: Outside, place: str, what: str) -> None:
    plain.create()
    planted = plain.place() / place
    planted.parent.mkdir(mode=0o755, exist_ok=True)
    subprocess.run(["sh", "-ec", PLANTS[what], "sh", str(planted), str(outside.path)], check=True)

    error = plain.mount("c1", **FIELDS).hosts["c1"]

    plain.unmount("c1")
    plain.delete()
    assert isinstance(error, AlreadyExists), error
    assert str(planted) in str(error)
