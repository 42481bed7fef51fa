"""Two requests that would write one file are refused before anything is done; what only meets in directories is merged."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from dacc_core.errors import InvalidRequest, NotFound
from dacc_core.movers import CopyReport, RsyncMover
from dacc_core.values import StageRequest

from .conftest import Site, require_root

BUFFER = "$DW_JOB_STRIPED"
OTHER = "$DW_PERSISTENT_STRIPED_x"
Kind = Literal["file", "directory", "list"]


@pytest.fixture
def project(site: Site) -> Path:
    """Where results go: a directory that has some already."""
    site.file(site.home / "D/o/old")
    return site.home / "D"


def copy(site: Site, *requests: tuple[object, object, Kind], direction: Literal["in", "out"] = "out") -> CopyReport:
    asked = [StageRequest(source=str(source), destination=str(destination), kind=kind) for source, destination, kind in requests]
    order = site.order(direction, *asked)
    other = site.place / "locked2" / "global"
    roots = dict(order.roots) | ({OTHER[1:]: site.root(other)} if other.exists() else {})
    return RsyncMover().copy(replace(order, roots=roots))


def refused(site: Site, *requests: tuple[object, object, Kind], direction: Literal["in", "out"] = "out") -> str:
    """The message; nothing at all was changed."""
    before = look(site)
    with pytest.raises(InvalidRequest, match=r"write .*: give them different destinations$") as caught:
        copy(site, *requests, direction=direction)
    assert look(site) == before
    assert str(caught.value).isprintable()
    return str(caught.value)


def look(site: Site) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in (site.place / "home", site.place / "locked", *site.place.glob("locked2")):
        for one in (path, *path.rglob("*")):
            info = one.lstat()
            content = one.read_bytes() if one.is_file() and not one.is_symlink() else b""
            found[os.fsencode(one).decode("latin-1")] = (info.st_mode, info.st_mtime_ns, content)
    return found


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def two(site: Site) -> Site:
    """Two directories in the buffer that have a file of one name, of the same size and time."""
    for name in "ab":
        path = site.file(site.buffer / name / "x", f"from {name}".encode())
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return site


@pytest.mark.parametrize("destination", ["o", "o/", "o/x", "new", "new/", "new/x"])
def test_two_files_of_one_name_into_one_place(two: Site, project: Path, destination: str) -> None:
    line = refused(two, (f"{BUFFER}/a/x", project / destination, "file"), (f"{BUFFER}/b/x", f"{project}/{destination}", "file"))
    assert f"stage_out: {BUFFER}/a/x to {project}/{destination.rstrip('/')}" in line
    assert f"and {BUFFER}/b/x to {project}/{destination} would both write {project}/" in line


def test_a_file_and_a_directory_that_has_a_file_of_that_name(two: Site, project: Path) -> None:
    line = refused(two, (f"{BUFFER}/a/x", project / "o", "file"), (f"{BUFFER}/b", project / "o", "directory"))
    assert f"write {project}/o/x:" in line


def test_two_directories_that_have_a_file_of_one_name(two: Site, project: Path) -> None:
    for name in "ab":
        two.file(two.buffer / name / f"deep/down/only-{name}")
    two.file(two.buffer / "a/deep/down/common")
    two.file(two.buffer / "b/deep/down/common")
    for name in "ab":
        (two.buffer / name / "x").unlink()
    line = refused(two, (f"{BUFFER}/a", project / "new", "directory"), (f"{BUFFER}/b", project / "new", "directory"))
    assert f"write {project}/new/deep/down/common:" in line


def test_a_destination_inside_of_anothers_tree(two: Site, project: Path) -> None:
    two.file(two.buffer / "a/deep/x")
    line = refused(two, (f"{BUFFER}/b", project / "o/deep", "directory"), (f"{BUFFER}/a", project / "o", "directory"))
    assert f"write {project}/o/deep/x:" in line


def test_a_destination_deep_inside_of_anothers_tree(two: Site, project: Path) -> None:
    two.file(two.buffer / "a/1/2/3/x")
    refused(two, (f"{BUFFER}/a", project / "o", "directory"), (f"{BUFFER}/b/x", project / "o/1/2/3/x", "file"))


@pytest.mark.parametrize("other", ["file", "symlink", "symlinked directory", "fifo"])
def test_a_directory_where_the_other_has_something_else(two: Site, project: Path, other: str) -> None:
    two.file(two.buffer / "a/sub/deep/f")
    place = two.buffer / "b/sub"
    match other:
        case "file":
            two.file(place)
        case "fifo":
            os.mkfifo(place)
        case _:
            place.symlink_to("nowhere" if other == "symlink" else two.buffer / "a")
    two.give(place)
    (two.buffer / "b/x").unlink()
    line = refused(two, (f"{BUFFER}/a", project / "o", "directory"), (f"{BUFFER}/b", project / "o", "directory"))
    assert f"write {project}/o/sub:" in line


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_where_the_other_request_needs_a_directory(two: Site, project: Path, swapped: bool) -> None:
    requests: list[tuple[object, object, Kind]] = [
        (f"{BUFFER}/a/x", project / "new", "file"),
        (f"{BUFFER}/b/x", project / "new/deep/y", "file"),
    ]
    refused(two, *(requests[::-1] if swapped else requests))


def test_a_link_where_the_other_request_lands_further_below(two: Site, project: Path) -> None:
    (two.buffer / "a/sub").symlink_to("/tmp")
    refused(two, (f"{BUFFER}/a", project / "o", "directory"), (f"{BUFFER}/b/x", project / "o/sub/deep/x", "file"))


def test_two_links_of_one_name(two: Site, project: Path) -> None:
    for name in "ab":
        (two.buffer / name / "x").unlink()
        (two.buffer / name / "latest").symlink_to(name)
    refused(two, (f"{BUFFER}/a", project / "o", "directory"), (f"{BUFFER}/b", project / "o", "directory"))


def test_lines_of_a_list_are_named_with_the_list_and_their_numbers(two: Site, project: Path) -> None:
    listing = two.file(two.buffer / "list", f"# results\n{BUFFER}/a/x {project}/o/x\n\n{BUFFER}/b/x {project}/o/x\n".encode())
    line = refused(two, (f"{BUFFER}/{listing.name}", "", "list"))
    assert f"{BUFFER}/a/x to {project}/o/x (list {BUFFER}/list, line 2) and {BUFFER}/b/x" in line
    assert f"(list {BUFFER}/list, line 4) would both write {project}/o/x:" in line


def test_a_list_against_a_directory(two: Site, project: Path) -> None:
    listing = two.file(two.buffer / "list", f"{BUFFER}/a/x {project}/o/x\n".encode())
    refused(two, (f"{BUFFER}/{listing.name}", "", "list"), (f"{BUFFER}/b", project / "o", "directory"))


def test_a_path_that_is_written_in_another_way(two: Site, project: Path) -> None:
    refused(two, (f"{BUFFER}/a/x", f"{project}//o/./x", "file"), (f"{BUFFER}/b/x", f"{project}/o/../o/x", "file"))


def test_a_directory_of_the_destination_that_is_a_link(two: Site, project: Path) -> None:
    (project / "link").symlink_to("o")
    refused(two, (f"{BUFFER}/a/x", project / "link/new/x", "file"), (f"{BUFFER}/b", project / "o/new", "directory"))


@pytest.fixture
def bound(two: Site, project: Path) -> Iterator[Path]:
    """Another name of ``D/o``."""
    require_root()
    other = two.home / "elsewhere"
    other.mkdir()
    subprocess.run(["mount", "--bind", project / "o", other], check=True)
    try:
        yield other
    finally:
        subprocess.run(["umount", other], check=True)


@pytest.mark.root
@pytest.mark.parametrize("below", ["", "new"])
def test_a_directory_that_has_two_names_by_a_bind_mount(two: Site, project: Path, bound: Path, below: str) -> None:
    refused(two, (f"{BUFFER}/a", project / "o" / below, "directory"), (f"{BUFFER}/b", bound / below, "directory"))


@pytest.mark.root
def test_a_bind_mount_further_down_in_a_tree(two: Site, project: Path, bound: Path) -> None:
    two.file(two.buffer / "c/elsewhere/x")
    refused(two, (f"{BUFFER}/c", two.home, "directory"), (f"{BUFFER}/a", project / "o", "directory"))


def test_names_that_are_not_text(two: Site, project: Path) -> None:
    for name in "ab":
        two.file(Path(os.fsdecode(os.fsencode(two.buffer / name) + b"/sub/\xff\n")))
        (two.buffer / name / "x").unlink()
    line = refused(two, (f"{BUFFER}/a", project / "o", "directory"), (f"{BUFFER}/b", project / "o", "directory"))
    assert f"write {project}/o/sub/\\xff\\n:" in line


def test_two_sources_into_one_place_of_the_buffer(site: Site) -> None:
    for name in "ab":
        site.file(site.home / name / "x", name.encode())
    line = refused(site, (site.home / "a", BUFFER, "directory"), (site.home / "b/x", f"{BUFFER}/", "file"), direction="in")
    assert f"write {BUFFER}/x:" in line


@pytest.fixture
def both(site: Site) -> Site:
    """A second buffer."""
    other = site.place / "locked2" / "global"
    site.file(other / "r/f", b"of the other")
    (site.place / "locked2").chmod(0o700)
    site.file(site.buffer / "r/f", b"of the one")
    return site


@pytest.mark.parametrize("below", ["", "/r", "/r/f"])
def test_two_buffers_into_one_destination(both: Site, project: Path, below: str) -> None:
    kind: Kind = "file" if below == "/r/f" else "directory"
    line = refused(both, (f"{BUFFER}{below}", project / "new", kind), (f"{OTHER}{below}", project / "new", kind))
    assert f"{BUFFER}{below} to {project}/new and {OTHER}{below} to {project}/new would both write {project}/new" in line


def test_two_buffers_may_be_staged_into_the_same_path_of_each(both: Site) -> None:
    source = both.file(both.home / "a")
    assert copy(both, (source, f"{BUFFER}/x", "file"), (source, f"{OTHER}/x", "file"), direction="in").files == 2


def test_the_same_twice_is_one_copy(two: Site, project: Path) -> None:
    listing = two.file(two.buffer / "list", f"{BUFFER}/a/x {project}/new/x\n{BUFFER}/b {project}/o\n".encode() * 2)
    report = copy(two, (f"{BUFFER}/{listing.name}", "", "list"), (f"{BUFFER}/a/./x", f"{project}/new/x", "file"))
    assert (report.files, (project / "new/x").read_bytes()) == (2, b"from a")


@pytest.mark.root
def test_the_same_twice_by_two_names_of_the_destination_is_no_clash(two: Site, project: Path, bound: Path) -> None:
    copy(two, (f"{BUFFER}/a", project / "o", "directory"), (f"{BUFFER}/a", bound, "directory"))
    assert (project / "o/x").read_bytes() == b"from a"


def test_directories_without_common_files_are_merged(two: Site, project: Path) -> None:
    (two.buffer / "b/x").rename(two.buffer / "b/y")
    for name in "ab":
        two.file(two.buffer / name / f"common/deep/{name}")
    two.file(two.buffer / "z")
    report = copy(
        two,
        (f"{BUFFER}/a", project / "o", "directory"),
        (f"{BUFFER}/b", project / "o", "directory"),
        (f"{BUFFER}/a", project / "o/common/deep/again", "directory"),
        (f"{BUFFER}/z", f"{project}/o/common/", "file"),
    )
    assert report.files == 7
    assert files(project / "o") == [
        "common/deep/a",
        "common/deep/again/common/deep/a",
        "common/deep/again/x",
        "common/deep/b",
        "common/z",
        "old",
        "x",
        "y",
    ]


def test_neighbours_with_like_names_do_not_meet(two: Site, project: Path) -> None:
    copy(two, (f"{BUFFER}/a", project / "new", "directory"), (f"{BUFFER}/b", project / "new2", "directory"))
    assert files(project) == ["new/x", "new2/x", "o/old"]


def test_a_copy_that_was_refused_may_be_corrected(two: Site, project: Path) -> None:
    refused(two, (f"{BUFFER}/a/x", project / "o", "file"), (f"{BUFFER}/b/x", project / "o", "file"))
    copy(two, (f"{BUFFER}/a/x", project / "o", "file"), (f"{BUFFER}/b/x", project / "o/y", "file"))
    assert ((project / "o/x").read_bytes(), (project / "o/y").read_bytes()) == (b"from a", b"from b")


def test_a_missing_source_is_said_first(two: Site, project: Path) -> None:
    with pytest.raises(NotFound, match=re.escape(f"stage_out source {BUFFER}/none does not exist")):
        copy(two, (f"{BUFFER}/none", project / "o/x", "file"), (f"{BUFFER}/b/x", project / "o/x", "file"))


@pytest.mark.parametrize("inner", ["log", "sub"])
def test_what_is_asked_for_again_at_the_place_where_its_directory_brings_it_is_no_clash(site: Site, project: Path, inner: str) -> None:
    """Both bring the very same: a job's results must not be held up for that."""
    site.file(site.buffer / "r/log")
    site.file(site.buffer / "r/sub/x")
    kind: Kind = "file" if inner == "log" else "directory"
    copy(site, (f"{BUFFER}/r", project / "r", "directory"), (f"{BUFFER}/r/{inner}", project / f"r/{inner}", kind))
    assert (project / "r/log").read_bytes() == (project / "r/sub/x").read_bytes() == b"content"


def test_another_file_at_the_place_of_a_directorys_own_is_a_clash_all_the_same(site: Site, project: Path) -> None:
    site.file(site.buffer / "r/log")
    site.file(site.buffer / "log")
    assert "log" in refused(site, (f"{BUFFER}/r", project / "r", "directory"), (f"{BUFFER}/log", project / "r/log", "file"))
