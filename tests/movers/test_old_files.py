"""What was at a destination before is never taken for copied; what this very copy has finished is not copied again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dacc_core.errors import DaccError, Denied, StepFailed
from dacc_core.movers import RsyncMover, walker
from dacc_core.movers.rsync import RSYNC
from dacc_core.values import StageRequest

from .conftest import Hooked, Site, require_root

BUFFER = "$DW_JOB_STRIPED"
DAY = 86_400


def old(path: Path, ago: int = 3 * DAY) -> Path:
    """With a time of the past, as results of an earlier run have."""
    os.utime(path, (1_700_000_000 - ago, 1_700_000_000 - ago))
    return path


def disguised(site: Site, path: Path, like: Path) -> Path:
    """Other content of the same size and time."""
    content = like.read_bytes()
    site.file(path, bytes(byte ^ 0xFF for byte in content))
    os.utime(path, ns=(0, like.stat().st_mtime_ns))
    return path


@pytest.mark.parametrize("digest", [False, True])
def test_an_older_result_of_the_same_size_and_time_is_replaced(site: Site, digest: bool) -> None:
    new = old(site.file(site.buffer / "r/x"))
    disguised(site, site.home / "r/x", new)
    site.copy(f"{BUFFER}/r", site.home / "r", "directory", out=True, digest=digest)
    assert (site.home / "r/x").read_bytes() == b"content"


@pytest.mark.parametrize("destination", ["r/x", "r"])
def test_also_when_it_is_one_file(site: Site, destination: str) -> None:
    new = old(site.file(site.buffer / "x"))
    disguised(site, site.home / "r/x", new)
    site.copy(f"{BUFFER}/x", site.home / destination, out=True, digest=True)
    assert (site.home / "r/x").read_bytes() == b"content"


def test_a_changed_input_of_the_same_size_and_time_is_staged_in_again(site: Site) -> None:
    source = old(site.file(site.home / "in/x", b"first"))
    site.copy(site.home / "in", f"{BUFFER}/in", "directory")
    source.write_bytes(b"other")
    old(source)
    site.copy(site.home / "in", f"{BUFFER}/in", "directory")
    assert (site.buffer / "in/x").read_bytes() == b"other"


def identity(path: Path) -> tuple[int, int]:
    """A file that is copied again is another one, or a changed one."""
    return path.stat().st_ino, path.stat().st_ctime_ns


def interrupted(site: Site) -> tuple[Path, dict[str, tuple[int, int]]]:
    """A copy of ``a/a`` and ``b/b`` to ``r`` that ended after the first of them was copied; what is there then."""
    for name in "ab":
        site.file(site.buffer / name / name, name.encode() * 10)
        old(site.buffer / name / name)
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise StepFailed(step="stage_out", token="42", why="killed")

    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], before=stop)
    with pytest.raises(StepFailed, match="killed"):
        both(site)
    site.hook = lambda hosts: hosts
    return site.home / "r", {path.name: identity(path) for path in (site.home / "r").iterdir()}


def both(site: Site, resumed: str = "", digest: bool = False) -> None:
    requests = [StageRequest(source=f"{BUFFER}/{name}", destination=f"{site.home}/r", kind="directory") for name in "ab"]
    RsyncMover(digest).copy(site.order("out", *requests, resumed=resumed))


def test_an_interrupted_copy_goes_on_where_it_was(site: Site) -> None:
    place, before = interrupted(site)
    assert list(before) == ["a"]
    both(site, resumed=site.cleared, digest=True)
    assert identity(place / "a") == before["a"], "it was not copied again"
    assert (place / "b").read_bytes() == b"b" * 10


def test_without_its_mark_it_is_begun_anew(site: Site) -> None:
    place, _ = interrupted(site)
    disguised(site, place / "a", site.buffer / "a/a")
    both(site, resumed="")
    assert (place / "a").read_bytes() == b"a" * 10


@pytest.mark.parametrize("change", ["destination", "source", "request"])
def test_the_mark_is_of_one_copy_alone(site: Site, change: str) -> None:
    """What changed between the tries leads to destinations that nobody cleared."""
    real, other = site.home / "first", site.home / "second"
    for path in (real, other):
        path.mkdir()
        site.give(path)
    (site.home / "link").symlink_to(real)
    source = old(site.file(site.buffer / "a/x", b"new"))
    request = StageRequest(source=f"{BUFFER}/a", destination=f"{site.home}/link", kind="directory")
    RsyncMover().copy(site.order("out", request))
    disguised(site, other / "x", source)
    disguised(site, real / "y", old(site.file(site.buffer / "spare", b"y of mine")))
    match change:
        case "destination":
            (site.home / "link").unlink()
            (site.home / "link").symlink_to(other)
        case "source":
            (site.buffer / "spare").rename(site.buffer / "a/y")
        case _:
            request = StageRequest(source=f"{BUFFER}/spare", destination=f"{real}/y")
    RsyncMover(digest=True).copy(site.order("out", request, resumed=site.cleared))


def test_nothing_is_marked_before_all_is_cleared(site: Site) -> None:
    site.file(site.buffer / "a")
    with pytest.raises(DaccError):
        site.copy(f"{BUFFER}/a", "/proc/dacc-test/a", out=True)
    assert site.told == []


def test_a_copy_that_was_found_wrong_is_not_gone_on_with(site: Site) -> None:
    path = old(site.file(site.home / "a"))

    def change() -> None:
        info = path.stat()
        path.write_bytes(b"CONTENT")
        os.utime(path, ns=(0, info.st_mtime_ns))

    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], after=change)
    with pytest.raises(StepFailed, match="changed while it was copied"):
        site.copy(path, f"{BUFFER}/a", digest=True)
    site.hook = lambda hosts: hosts
    assert site.cleared == ""
    site.copy(path, f"{BUFFER}/a", digest=True, resumed=site.cleared)
    assert (site.buffer / "a").read_bytes() == b"CONTENT"


# --- what is removed, and what is not ---


def test_what_the_source_does_not_have_stays(site: Site) -> None:
    site.file(site.buffer / "r/x")
    for name in ("x", "y", "sub/z"):
        old(site.file(site.home / "r" / name, b"older"))
    site.copy(f"{BUFFER}/r", site.home / "r", "directory", out=True)
    assert {path.name: path.read_bytes() for path in (site.home / "r").rglob("*") if path.is_file()} == {
        "x": b"content",
        "y": b"older",
        "z": b"older",
    }


def test_nothing_is_removed_behind_a_link_in_the_destination(site: Site) -> None:
    site.file(site.buffer / "r/sub/x")
    elsewhere = site.file(site.home / "elsewhere/x", b"precious")
    (site.home / "r").mkdir()
    site.give(site.home / "r")
    (site.home / "r/sub").symlink_to("../elsewhere")
    site.copy(f"{BUFFER}/r", site.home / "r", "directory", out=True)
    assert elsewhere.read_bytes() == b"precious"


def test_a_device_in_the_source_removes_nothing(site: Site) -> None:
    require_root()
    site.file(site.buffer / "r/x")
    os.mknod(site.buffer / "r/null", 0o600 | 0o020000, os.makedev(1, 3))
    kept = site.file(site.home / "r/null", b"a file")
    site.copy(f"{BUFFER}/r", site.home / "r", "directory", out=True)
    assert kept.read_bytes() == b"a file"


def test_a_file_that_is_its_own_source_stays(site: Site) -> None:
    source = site.file(site.buffer / "r/x")
    (site.home / "r").mkdir()
    (site.home / "r/x").hardlink_to(source)
    site.copy(f"{BUFFER}/r", site.home / "r", "directory", out=True)
    assert source.read_bytes() == b"content"
    assert (site.home / "r/x").samefile(source)


@pytest.mark.parametrize("top", ["ro", "tree"])
def test_a_read_only_directory_of_the_users_is_staged_in_again(site: Site, top: str) -> None:
    place = site.home / "tree/ro"
    site.file(place / "f", b"first", 0o444)
    (site.home / "ro").symlink_to("tree/ro")
    place.chmod(0o555)
    site.copy(site.home / top, f"{BUFFER}/{top}", "directory")
    (place / "f").chmod(0o644)
    (place / "f").write_bytes(b"other")
    (place / "f").chmod(0o444)
    site.copy(site.home / top, f"{BUFFER}/{top}", "directory", digest=True)
    copy = site.buffer / top / ("" if top == "ro" else "ro")
    assert (copy / "f").read_bytes() == b"other"
    assert copy.stat().st_mode & 0o777 == 0o555
    assert (copy / "f").stat().st_mode & 0o777 == 0o444


@pytest.mark.root
def test_a_colleagues_file_in_a_shared_directory_is_replaced(site: Site) -> None:
    require_root()
    project = site.place / "project"
    project.mkdir()
    os.chown(project, 0, 60)
    project.chmod(0o2775)
    new = old(site.file(site.buffer / "r/x"))
    theirs = disguised(site, project / "x", new)
    os.chown(theirs, 65534, 60)
    site.copy(f"{BUFFER}/r", project, "directory", out=True)
    assert (project / "x").read_bytes() == b"content"


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_file_that_may_not_be_removed_is_named_and_no_other_is_removed(site: Site, mode: int) -> None:
    require_root()
    for name in ("a", "sub/b", "z"):
        site.file(site.buffer / "r" / name)
        site.file(site.home / "r" / name, b"older")
    for path in (site.home / "r/sub", site.home / "r/sub/b"):
        os.chown(path, 65534, 65534)
    (site.home / "r/sub").chmod(mode)
    with pytest.raises(Denied, match=rf"may not write stage_out destination {site.home}/r \({site.home}/r/sub/b\)"):
        site.copy(f"{BUFFER}/r", site.home / "r", "directory", out=True)
    assert {path.read_bytes() for path in (site.home / "r").rglob("*") if path.is_file()} == {b"older"}


@pytest.mark.root
def test_a_file_in_a_read_only_directory_is_not_removed_for_one_file(site: Site) -> None:
    require_root()
    site.file(site.buffer / "f", b"newer")
    kept = site.file(site.home / "ro/f", b"older")
    kept.parent.chmod(0o555)
    with pytest.raises(Denied, match=rf"\({site.home}/ro\)"):
        site.copy(f"{BUFFER}/f", site.home / "ro/f", out=True)
    assert kept.read_bytes() == b"older"
    assert kept.parent.stat().st_mode & 0o777 == 0o555


def test_a_source_that_was_changed_between_the_tries_is_copied_anew_although_its_size_and_time_are_the_same(site: Site) -> None:
    """A persistent buffer is another job's meanwhile, which may set any time; it cannot set when a file was changed."""
    source = old(site.file(site.buffer / "r/f", b"first"))
    request = StageRequest(source=f"{BUFFER}/r", destination=f"{site.home}/r", kind="directory")
    RsyncMover().copy(site.order("out", request))
    source.write_bytes(b"other")
    old(source)
    RsyncMover().copy(site.order("out", request, resumed=site.cleared))
    assert (site.home / "r/f").read_bytes() == b"other"


def test_nothing_is_removed_for_any_of_many_requests_before_all_can_be_served(site: Site) -> None:
    requests = []
    for number in range(60):
        site.file(site.buffer / f"f{number}")
        target = old(site.file(site.home / f"d{number}/f", b"older"))
        requests.append(StageRequest(source=f"{BUFFER}/f{number}", destination=str(target)))
    (site.home / "d55").chmod(0o555)
    os.chown(site.home / "d55", 0, 0)
    with pytest.raises(Denied):
        RsyncMover().copy(site.order("out", *requests))
    assert [path.read_bytes() for path in site.home.glob("d*/f")] == [b"older"] * 60


def test_an_error_of_the_filesystem_is_not_taken_for_nothing_being_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("from", "to"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "f").write_text(place)
    look = os.stat

    def fails(path: object, *args: object, **options: object) -> os.stat_result:
        if path == b"f" and "dir_fd" in options:
            raise OSError(5, "Input/output error")
        return look(path, *args, **options)  # type: ignore[arg-type,call-overload,no-any-return]

    monkeypatch.setattr(walker.os, "stat", fails)
    pair = (os.fsencode(tmp_path / "from"), os.fsencode(tmp_path / "to"), True)
    (answer,) = walker.prepare([pair], False, False, (False, True))["pairs"]
    assert answer["why"] == "Input/output error"
