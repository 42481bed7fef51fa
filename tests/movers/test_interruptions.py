"""Copies that are cancelled, killed, or copy what does not hold still."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dacc_core.errors import Cancelled, StepFailed
from dacc_core.hosts.on_host import fence
from dacc_core.movers import RsyncMover
from dacc_core.movers.rsync import RSYNC, ProgressMeter
from dacc_core.values import Progress, StageRequest

from .conftest import Hooked, Site
from .trees import age, picture

BUFFER = "$DW_JOB_STRIPED"
BIG = 150_000_000


@pytest.fixture
def big(site: Site) -> Path:
    """A directory whose copy takes a moment: of small files and a large one."""
    block = os.urandom(1_000_000)
    site.file(site.home / "d/big").write_bytes(block * (BIG // len(block)))
    for number in range(20):
        site.file(site.home / f"d/a{number}", b"small")
    age(site.home / "d")
    return site.home / "d"


def while_it_copies(site: Site, action: Callable[[], None]) -> threading.Thread:
    """Do ``action`` when the large file's copy has begun."""

    def watch() -> None:
        copy = site.buffer / "d/big"
        while not (copy.exists() and copy.stat().st_size):
            time.sleep(0.001)
        action()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill_the_group(site: Site) -> None:
    """Kill -9 what runs behind the fence: rsync."""
    lines = (site.place / "fences/mover/s1.fence").read_text().splitlines()
    pgid = next(int(line.split()[2]) for line in lines if line.startswith("group"))
    os.killpg(pgid, signal.SIGKILL)


def test_a_copy_after_a_killed_rsync_completes_it(site: Site, big: Path) -> None:
    thread = while_it_copies(site, lambda: kill_the_group(site))
    with pytest.raises(StepFailed, match="stage_in of session 42 failed"):
        site.copy(big, f"{BUFFER}/d", "directory")
    thread.join()
    site.copy(big, f"{BUFFER}/d", "directory", digest=True)
    assert inside(site.buffer / "d") == inside(big)  # no litter of temporary files either


def test_cancelling_ends_rsync_and_the_copy(site: Site, big: Path) -> None:
    thread = while_it_copies(site, site.cancel.cancel)
    with pytest.raises(Cancelled):
        site.copy(big, f"{BUFFER}/d", "directory")
    thread.join()
    assert (site.buffer / "d/big").stat().st_size < BIG
    assert "group" not in (site.place / "fences/mover/s1.fence").read_text()


def test_a_fence_ends_the_copy(site: Site, big: Path) -> None:
    thread = while_it_copies(site, lambda: print(site.runner.fence(["mover"], "s1", 2)))
    with pytest.raises(Cancelled):
        site.copy(big, f"{BUFFER}/d", "directory")
    thread.join()


def test_a_file_that_grew_meanwhile_is_reported(site: Site) -> None:
    path = site.file(site.home / "log")
    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], after=lambda: print(site.file(path, b"more content")))
    with pytest.raises(StepFailed, match=r"source .*/log changed while it was copied .*: copy again when nothing writes there"):
        site.copy(path, f"{BUFFER}/log")


def test_a_file_that_vanished_meanwhile_is_reported(site: Site) -> None:
    site.file(site.home / "d/a")
    path = site.file(site.home / "d/b")
    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], before=path.unlink)
    with pytest.raises(StepFailed, match="changed while it was copied"):
        site.copy(site.home / "d", f"{BUFFER}/d", "directory")


def test_a_copy_that_was_damaged_meanwhile_is_reported(site: Site) -> None:
    site.file(site.home / "d/a")
    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], after=(site.buffer / "d/a").unlink)
    with pytest.raises(StepFailed, match=r"differs in 1 places: .*d/a is missing in the copy"):
        site.copy(site.home / "d", f"{BUFFER}/d", "directory")


def inside(top: Path) -> dict[bytes, tuple[object, ...]]:
    return {path: look for path, look in picture(top).items() if path != b"."}


def disguise(site: Site) -> None:
    """Give the copy other content, with the size and time that it should have."""
    info = (site.home / "a").stat()
    (site.buffer / "a").write_bytes(b"CONTENT")
    os.utime(site.buffer / "a", ns=(0, info.st_mtime_ns))


@pytest.mark.parametrize("digest", [True, False])
def test_other_content_of_the_same_size_and_time_is_found_when_contents_are_compared(site: Site, digest: bool) -> None:
    path = site.file(site.home / "a")
    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], after=lambda: disguise(site))
    if not digest:
        site.copy(path, f"{BUFFER}/a")
        return
    with pytest.raises(StepFailed, match="has other content in the copy"):
        site.copy(path, f"{BUFFER}/a", digest=True)


def test_progress_starts_at_nothing_and_ends_at_all(site: Site) -> None:
    for name in "abc":
        site.file(site.home / "d" / name, b"12345")
    site.copy(site.home / "d", f"{BUFFER}/d", "directory")
    assert site.told[0] == Progress(total_files=3, total_bytes=15, cleared=site.told[0].cleared)
    assert site.told[-1] == Progress(files=3, bytes=15, total_files=3, total_bytes=15, cleared=site.told[0].cleared)


def test_progress_is_told_while_rsync_runs_but_not_too_often(site: Site, big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dacc_core.movers.rsync._PROGRESS_SECONDS", 0.02)
    begun = time.monotonic()
    RsyncMover().copy(site.order("in", StageRequest(source=str(big), destination=f"{BUFFER}/d", kind="directory")))
    sizes = [progress.bytes for progress in site.told]
    assert sizes == sorted(sizes)
    assert len(sizes) <= (time.monotonic() - begun) / 0.02 + 2


def test_rsyncs_progress_lines_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dacc_core.movers.rsync._PROGRESS_SECONDS", 0)
    told: list[Progress] = []
    meter = ProgressMeter(told.append, total_files=3, total_bytes=100)
    for chunk in (
        b"\r         40  40%   19.53kB/s    0:00:00 (xfr#1, to-chk=2/4)",
        b"\r        ",
        b" 70  70%    1.00MB/s    0:00:01  \r",
        b"noise\n",
    ):
        meter.feed(chunk)
    assert [(progress.files, progress.bytes) for progress in told] == [(1, 40), (0, 70)]


def test_rsync_neither_deletes_nor_gives_away() -> None:
    assert not any(re.search(r"owner|devices|delete|archive", option) for option in RSYNC)


def test_a_fence_file_of_a_finished_copy_names_nothing(site: Site) -> None:
    site.copy(site.file(site.home / "a"), f"{BUFFER}/a")
    assert (site.place / "fences/mover" / f"{fence.quoted('s1')}.fence").read_text() == "generation 1\n"


def test_progress_that_a_user_forges_is_passed_over() -> None:
    """rsync is a process of the user's; its output is read where other sessions' commands are answered."""
    told: list[Progress] = []
    meter = ProgressMeter(told.append, total_files=3, total_bytes=100)
    for chunk in (b"9" * 5000 + b" 1%\r", b"  5 1% (xfr#" + b"9" * 5000 + b"\r", b"1" * 19 + b" 5%\r", b"\xff\r"):
        meter.feed(chunk)
