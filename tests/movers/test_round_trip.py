"""What is copied in and out again is what it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dacc_core.movers import CopyReport, walker_client

from . import trees
from .conftest import Site, require_root
from .trees import Node, age, picture, plant

BUFFER = "$DW_JOB_STRIPED"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees.trees)
def test_any_tree_survives_the_way_in_and_out(site: Site, tree: Node) -> None:
    number = len(list(site.home.iterdir()))
    source, back = site.home / f"source{number}", site.home / f"back{number}"
    plant(tree, source, site.someone.uid, site.someone.gid)
    before = picture(source)
    site.copy(source, f"{BUFFER}/copy{number}", "directory", digest=True)
    assert picture(site.buffer / f"copy{number}") == before
    site.copy(source, f"{BUFFER}/copy{number}", "directory", resumed=site.cleared)  # changes nothing
    assert picture(site.buffer / f"copy{number}") == before
    site.copy(f"{BUFFER}/copy{number}", back, "directory", out=True)
    assert picture(back) == before
    site.copy(source, f"{BUFFER}/copy{number}", "directory")  # anew, over what is there
    assert inside(picture(site.buffer / f"copy{number}")) == inside(before)


def inside(look: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """All but the top, which keeps what it was."""
    return {path: facts for path, facts in look.items() if path != b"."}


def test_a_tree_of_2000_files_is_the_same_on_both_sides(site: Site) -> None:
    for number in range(2000):
        path = site.home / "many" / f"d{number % 20}" / f"f{number}"
        site.file(path, f"{number}".encode() * (number % 7))
    age(site.home / "many")
    report = site.copy(site.home / "many", f"{BUFFER}/many", "directory")
    assert report.files == 2000
    assert picture(site.buffer / "many") == picture(site.home / "many")


def test_the_report_counts_files_and_bytes(site: Site) -> None:
    site.file(site.home / "d/a", bytes(100))
    site.file(site.home / "d/b", bytes(200))
    (site.home / "d/link").symlink_to("a")
    report = site.copy(site.home / "d", f"{BUFFER}/d", "directory")
    assert report == CopyReport(3, 300, report.seconds)


def test_a_files_copy_has_the_name_that_is_asked_for(site: Site) -> None:
    site.copy(site.file(site.home / "a"), f"{BUFFER}/deep/down/b")
    assert (site.buffer / "deep/down/b").read_bytes() == b"content"


@pytest.mark.parametrize("destination", [f"{BUFFER}/there", f"{BUFFER}/there/", f"{BUFFER}/new/"])
def test_a_file_lands_in_a_directory_under_its_own_name(site: Site, destination: str) -> None:
    (site.buffer / "there").mkdir()
    site.give(site.buffer / "there")
    site.copy(site.file(site.home / "a"), destination)
    assert (Path(destination.replace(BUFFER, str(site.buffer))) / "a").read_bytes() == b"content"


@pytest.mark.parametrize("root", [BUFFER, f"{BUFFER}/", "${DW_JOB_STRIPED}"])
def test_a_directory_may_become_the_buffer_itself(site: Site, root: str) -> None:
    site.file(site.home / "d/a")
    site.copy(site.home / "d", root, "directory")
    assert [path.name for path in site.buffer.iterdir()] == ["a"]


def test_a_directory_joins_what_is_there(site: Site) -> None:
    site.file(site.home / "d/a")
    site.file(site.buffer / "d/b")
    site.copy(site.home / "d", f"{BUFFER}/d", "directory")
    assert sorted(path.name for path in (site.buffer / "d").iterdir()) == ["a", "b"]


def test_a_new_directory_gets_the_mode_of_its_source(site: Site) -> None:
    site.file(site.home / "d/a")
    (site.home / "d").chmod(0o2751)
    site.copy(site.home / "d", f"{BUFFER}/d", "directory")
    assert (site.buffer / "d").stat().st_mode & 0o7777 == 0o2751


def test_the_buffer_stays_as_closed_as_it_was(site: Site) -> None:
    site.buffer.chmod(0o700)
    site.file(site.home / "d/a")
    (site.home / "d").chmod(0o755)
    site.copy(site.home / "d", BUFFER, "directory")
    assert site.buffer.stat().st_mode & 0o7777 == 0o700


@pytest.mark.root
def test_a_projects_directory_may_be_somebody_elses(site: Site) -> None:
    require_root()
    project = site.place / "project"
    project.mkdir()
    os.chown(project, 0, 60)
    project.chmod(0o3770)
    site.file(site.buffer / "results/deep/a")
    (site.buffer / "results/#b;").mkdir()
    site.give(site.buffer / "results/#b;")
    for _ in range(2):
        site.copy(f"{BUFFER}/results", project, "directory", out=True)
    assert sorted(path.name for path in project.rglob("*")) == ["#b;", "a", "deep"]
    assert project.stat().st_mode & 0o7777 == 0o3770


def test_an_empty_directory_may_be_copied_over_another(site: Site) -> None:
    (site.home / "empty").mkdir()
    site.give(site.home / "empty")
    site.file(site.buffer / "x/kept")
    site.copy(site.home / "empty", f"{BUFFER}/x", "directory")
    assert (site.buffer / "x/kept").exists()


def test_an_empty_directory_is_copied(site: Site) -> None:
    (site.home / "empty").mkdir()
    site.give(site.home / "empty")
    assert site.copy(site.home / "empty", f"{BUFFER}/empty", "directory").files == 0
    assert (site.buffer / "empty").is_dir()


def test_a_source_that_is_a_link_is_followed(site: Site) -> None:
    site.file(site.home / "real")
    (site.home / "link").symlink_to("real")
    site.copy(site.home / "link", f"{BUFFER}/x")
    assert not (site.buffer / "x").is_symlink()
    assert (site.buffer / "x").read_bytes() == b"content"


def test_holes_stay_holes(site: Site) -> None:
    path = site.file(site.home / "sparse")
    os.truncate(path, 50_000_000)
    site.copy(path, f"{BUFFER}/sparse")
    info = (site.buffer / "sparse").stat()
    assert info.st_size == 50_000_000
    assert info.st_blocks * 512 < 1_000_000


def test_the_copy_belongs_to_the_user(site: Site) -> None:
    site.file(site.home / "d/a")
    site.copy(site.home / "d", f"{BUFFER}/deep/d", "directory")
    owners = {path.stat().st_uid for path in site.buffer.rglob("*")}
    assert owners == {site.someone.uid}


@pytest.mark.root
def test_a_group_that_the_user_is_in_survives(site: Site) -> None:
    require_root()
    path = site.file(site.home / "shared")
    os.chown(path, -1, 60)
    site.copy(path, f"{BUFFER}/shared")
    assert (site.buffer / "shared").stat().st_gid == 60


@pytest.mark.root
def test_a_group_that_the_user_is_not_in_becomes_his_own(site: Site) -> None:
    require_root()
    path = site.file(site.home / "staff")
    os.chown(path, -1, 50)
    site.copy(path, f"{BUFFER}/staff")
    assert (site.buffer / "staff").stat().st_gid == site.someone.gid


@pytest.mark.root
def test_a_device_is_left_out(site: Site) -> None:
    require_root()
    site.file(site.home / "d/a")
    subprocess.run(["mknod", site.home / "d/null", "c", "1", "3"], check=True)
    assert site.copy(site.home / "d", f"{BUFFER}/d", "directory").files == 1
    assert [path.name for path in (site.buffer / "d").iterdir()] == ["a"]


def test_an_old_read_only_copy_is_replaced(site: Site) -> None:
    site.file(site.buffer / "a", b"old", 0o444)
    site.copy(site.file(site.home / "a", b"newer"), f"{BUFFER}/a")
    assert (site.buffer / "a").read_bytes() == b"newer"


def test_another_name_of_an_old_copy_keeps_its_content(site: Site) -> None:
    old = site.file(site.home / "results/a", b"old")
    (site.home / "snapshot").hardlink_to(old)
    site.file(site.buffer / "results/a", b"newer")
    site.copy(f"{BUFFER}/results", site.home / "results", "directory", out=True)
    assert ((site.home / "results/a").read_bytes(), (site.home / "snapshot").read_bytes()) == (b"newer", b"old")


def test_a_symbolic_link_in_the_way_is_replaced_and_not_followed(site: Site) -> None:
    precious = site.file(site.home / "precious")
    site.file(site.buffer / "d/a").unlink()
    (site.buffer / "d/a").symlink_to(precious)
    site.file(site.home / "d/a", b"newer")
    site.copy(site.home / "d", f"{BUFFER}/d", "directory")
    assert precious.read_bytes() == b"content"
    assert (site.buffer / "d/a").read_bytes() == b"newer"


@pytest.mark.root
def test_a_tilde_is_the_users_home(site: Site) -> None:
    require_root()
    home = Path(f"/tmp/{site.someone.name}-home")
    home.symlink_to(site.home)
    try:
        site.file(site.home / "a")
        site.copy("~/a", f"{BUFFER}/a")
        site.copy(f"{BUFFER}/a", "~/b", out=True)
    finally:
        home.unlink()
    assert (site.home / "b").read_bytes() == b"content"


def test_a_users_popt_file_does_not_change_the_copy(site: Site) -> None:
    site.file(site.home / ".popt", b"rsync alias --recursive --delete --recursive\n")
    site.file(site.buffer / "d/kept")
    site.file(site.home / "d/a")
    site.copy(site.home / "d", f"{BUFFER}/d", "directory")
    assert (site.buffer / "d/kept").exists()


def test_lists_copy_each_pair(site: Site) -> None:
    site.file(site.home / "a b")
    site.file(site.home / "d/x")
    listing = site.file(site.home / "list", f"# two\n\n'{site.home}/a b' {BUFFER}/one\n{site.home}/d\t{BUFFER}/two\n".encode())
    assert site.copy(listing, "", "list").files == 2
    assert (site.buffer / "one").is_file()
    assert (site.buffer / "two/x").is_file()


def test_a_list_may_be_in_the_buffer_on_the_way_out(site: Site) -> None:
    site.file(site.buffer / "a")
    site.file(site.buffer / "list", f"{BUFFER}/a {site.home}/out/a\n".encode())
    site.copy(f"{BUFFER}/list", "", "list", out=True)
    assert (site.home / "out/a").is_file()


def test_a_list_may_name_paths_that_are_not_text(site: Site) -> None:
    source = os.fsencode(site.home) + b"/\xff"
    site.file(Path(os.fsdecode(source)))
    listing = site.file(site.home / "list", source + b" $DW_JOB_STRIPED/\xfe\n")
    site.copy(listing, "", "list")
    assert [os.fsencode(path.name) for path in site.buffer.iterdir()] == [b"\xfe"]


def test_more_pairs_than_one_question_holds_are_copied(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker_client, "_BATCH", 3)
    lines = [f"{site.file(site.home / f'f{number}')} {BUFFER}/f{number}\n" for number in range(7)]
    listing = site.file(site.home / "list", "".join(lines).encode())
    assert site.copy(listing, "", "list").files == 7
