"""Sites of real daemons, and a look at what they leave behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dacc_core.demo.site import LocalSite
from tests.support.requirements import require

from .installation import Installation, usable_by_everyone
from .slurm import GAMES, NOBODY, WEB, Slurm

OpenSite = Callable[..., AbstractContextManager[Slurm]]


def require_root() -> None:
    """Tests with mounts and several users."""
    require(os.geteuid() == 0, "root, for mounts and other users")
    require(Path("/dev/loop-control").exists(), "loop devices")


@contextmanager
def open_site(**options: Any) -> Iterator[Slurm]:
    """A running site, image-backed unless told otherwise, that every user can look into. Afterwards nothing of it may be left."""
    require_root()
    directory = Path(tempfile.mkdtemp(prefix="dacc-e2e-"))
    directory.chmod(0o755)
    started = options.pop("start", True)
    site = LocalSite(directory, **{"hosts": 2, "bricks": 3, "nodes": 3, "granularity": 32 << 20, "backing": "image", **options})
    try:
        site.open()
        for user in (NOBODY, GAMES, WEB):
            home = directory / "home" / user.pw_name
            home.mkdir(parents=True)
            os.chown(home, user.pw_uid, user.pw_gid)
        if started:
            site.start()
        yield Slurm(site)
    finally:
        site.close()
    assert leftovers(str(directory)) == []


@pytest.fixture(scope="module")
def serving(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    """The module's site; a module may say in ``SITE`` how it differs from the usual one."""
    with open_site(**getattr(request.module, "SITE", {})) as slurm:
        yield slurm


@pytest.fixture
def slurm(serving: Slurm) -> Iterator[Slurm]:
    """Slurm in front of the module's site. Each test gets it with all bricks free, and must leave it so."""
    yield serving
    serving.clean()
    assert serving.site.ask("status")["sessions"] == []
    pool = serving.read("pools")[0]
    assert pool["free"] == pool["quantity"]


@pytest.fixture(scope="session")
def everyone() -> Iterator[Installation]:
    """Our programs where every user can run them."""
    require_root()
    with usable_by_everyone() as (found, problem):
        require(found is not None, problem)
        assert found is not None
        yield found


def leftovers(directory: str) -> list[str]:
    """What is still there of a site: its directory, processes, mounts, loop devices, swap files."""
    end = time.monotonic() + 5
    while processes(directory) and time.monotonic() < end:  # a command on a host may outlive the daemon that started it by a moment
        time.sleep(0.02)
    found = [directory] if Path(directory).exists() else []
    found += [line for place in ("/proc/self/mounts", "/proc/swaps") for line in Path(place).read_text().splitlines() if directory in line]
    found += [line for line in subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout.splitlines() if directory in line]
    return found + processes(directory)


def processes(word: str) -> list[str]:
    """Command lines of running processes that have a word in them, or in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if entry.name == str(os.getpid()):
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if word.encode() in command + (entry / "environ").read_bytes():
                found.append(f"{entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')}")
        except OSError:
            continue  # it ended while we looked
    return found
