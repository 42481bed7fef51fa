"""How root comes to a buffer, whose place root of any compute node can change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dacc_core.errors import DaccError, Unavailable
from dacc_core.movers import RsyncMover
from dacc_core.movers.rsync import RSYNC
from dacc_core.values import StageRequest

from .conftest import Hooked, Site, require_root

BUFFER = "$DW_JOB_STRIPED"

pytestmark = pytest.mark.root


@pytest.fixture
def volume(site: Site) -> Iterator[Path]:
    """The volume's root, a filesystem of its own; the buffer has a file."""
    require_root()
    place = site.buffer.parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,nodev,nosuid", "dacc-test", place], check=True)
    site.buffer.mkdir(0o700)
    site.give(site.buffer)
    site.file(site.buffer / "secret", b"his own")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--recursive", place], check=True)


@pytest.fixture
def secret(site: Site) -> Path:
    """A directory that only root can come to; what is in it has a name that the buffer has, too."""
    place = site.place / "closed" / "roots"
    place.mkdir(parents=True)
    place.parent.chmod(0o700)
    (place / "secret").write_bytes(b"of root's")
    return place


def by_a_link(site: Site, secret: Path) -> None:
    site.buffer.rename(site.buffer.parent / "away")
    site.buffer.symlink_to(secret)


def by_a_mount(site: Site, secret: Path) -> None:
    subprocess.run(["mount", "--bind", secret, site.buffer], check=True)


def by_a_directory_of_roots(site: Site, secret: Path) -> None:
    site.buffer.rename(site.buffer.parent / "away")
    site.buffer.mkdir(0o755)
    (site.buffer / "secret").write_bytes((secret / "secret").read_bytes())


PLANTS = [by_a_link, by_a_mount, by_a_directory_of_roots]


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_not_the_buffer_is_not_entered(site: Site, volume: Path, secret: Path, plant: Callable[[Site, Path], None]) -> None:
    plant(site, secret)
    with pytest.raises(Unavailable, match=r"host mover cannot look at .*/locked/global: "):
        site.copy(f"{BUFFER}/secret", site.home / "stolen", out=True)
    assert not (site.home / "stolen").exists()


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("word", ["prepare", "rsync"])
def test_also_when_it_is_planted_between_two_commands(
    site: Site, volume: Path, secret: Path, plant: Callable[[Site, Path], None], word: str
) -> None:
    """Each command enters anew: what was looked at is not what is entered now."""
    calls: list[str] = []

    def before() -> None:
        calls.append(word)
        if len(calls) == (1 if word == "rsync" else 2):
            plant(site, secret)

    site.hook = lambda hosts: Hooked(hosts, RSYNC[0] if word == "rsync" else "setpriv", before=before)
    with pytest.raises(DaccError):
        site.copy(f"{BUFFER}/secret", site.home / "stolen", out=True)
    assert not (site.home / "stolen").exists()


@pytest.mark.parametrize("plant", PLANTS)
def test_the_use_of_a_buffer_is_not_counted_elsewhere(site: Site, volume: Path, secret: Path, plant: Callable[[Site, Path], None]) -> None:
    source = site.file(site.home / "a", b"x" * 600)
    calls: list[int] = []

    def before() -> None:
        calls.append(1)
        if len(calls) == 5:  # getent, id, id, the survey: then root itself looks
            plant(site, secret)

    site.hook = lambda hosts: _Counting(hosts, before)
    with pytest.raises(Unavailable, match="cannot look at"):
        site.copy(source, f"{BUFFER}/a", limit=1_000_000)


def test_links_in_a_buffer_are_not_followed_when_its_use_is_counted(site: Site, volume: Path, secret: Path) -> None:
    (secret / "big").write_bytes(b"x" * 2_000_000)
    (site.buffer / "deep").mkdir()
    (site.buffer / "deep/link").symlink_to(secret)
    site.file(site.buffer / "deep/more/f", b"x" * 500_000)
    site.copy(site.file(site.home / "a", b"x" * 1000), f"{BUFFER}/a", limit=1_000_000)


def test_a_file_in_the_buffers_place_is_no_buffer(site: Site, volume: Path) -> None:
    (site.buffer / "secret").unlink()
    site.buffer.rmdir()
    site.file(site.buffer)
    with pytest.raises(Unavailable, match="is not a directory, and a link is not followed there"):
        site.copy(f"{BUFFER}/secret", site.home / "x", out=True)


def test_where_the_volume_is_mounted_may_be_a_link_of_ours(site: Site, volume: Path) -> None:
    (site.place / "mover").symlink_to(volume)
    order = site.order("out", StageRequest(source=f"{BUFFER}/secret", destination=f"{site.home}/x"))
    root = replace(order.roots[BUFFER[1:]], volume=str(site.place / "mover"))
    RsyncMover().copy(replace(order, roots={BUFFER[1:]: root}))
    assert (site.home / "x").read_bytes() == b"his own"


def test_the_buffer_of_another_user_is_entered_as_its_own(site: Site, volume: Path) -> None:
    os.chown(site.buffer, 65534, 60)
    site.buffer.chmod(0o750)
    order = site.order("out", StageRequest(source=f"{BUFFER}/secret", destination=f"{site.home}/x"))
    root = replace(order.roots[BUFFER[1:]], owner=65534)
    RsyncMover().copy(replace(order, roots={BUFFER[1:]: root}))
    assert (site.home / "x").read_bytes() == b"his own"


def test_nobody_else_sees_the_passage(site: Site, volume: Path) -> None:
    seen: list[list[Path]] = []
    site.hook = lambda hosts: Hooked(hosts, RSYNC[0], after=lambda: seen.append(list(Path("/run/dacc-passage").iterdir())))
    site.copy(f"{BUFFER}/secret", site.home / "x", out=True)
    assert seen == [[]]


class _Counting(Hooked):
    """Calls ``before`` before each command."""

    def __init__(self, hosts: object, before: Callable[[], None]) -> None:
        super().__init__(hosts, "", before)  # type: ignore[arg-type]

    def run(self, hosts, command):  # type: ignore[no-untyped-def]
        self.before()
        return self.hosts.run(hosts, command)
