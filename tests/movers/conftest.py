"""A user, a home, and a buffer that lies behind a directory only root may pass."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from dacc_core.hosts import LocalRunner
from dacc_core.movers import CopyOrder, CopyReport, Root, RsyncMover
from dacc_core.sdk import CancelToken, Command, CommandResult, Context, Deadline, HostRunner
from dacc_core.values import Progress, StageRequest
from tests.support.requirements import require

ROOT = os.geteuid() == 0
PYTHON = "/usr/bin/python3"  # the user must be able to run it; the one that runs the tests may be closed to him


def require_root() -> None:
    require(ROOT, "root, to act as another user")


@dataclass(frozen=True)
class Someone:
    name: str
    uid: int
    gid: int


@pytest.fixture(scope="session")
def someone() -> Iterator[Someone]:
    """A user made for this run, also in group ``games``; without root, whoever runs this."""
    require(shutil.which("rsync") is not None, "rsync(1)")
    require(Path(PYTHON).exists(), PYTHON)
    if not ROOT:
        yield Someone(getpass.getuser(), os.getuid(), os.getgid())
        return
    name = f"dacc{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--home-dir", f"/tmp/{name}-home", "--groups", "games", name], check=True)
    try:
        ids = [int(subprocess.run(["id", option, name], check=True, capture_output=True).stdout) for option in ("-u", "-g")]
        yield Someone(name, *ids)
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


@dataclass
class Hooked:
    """A runner that calls ``before`` and ``after`` around each command that has ``word`` in it."""

    hosts: HostRunner
    word: str
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    @property
    def python(self) -> str:
        return self.hosts.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        hit = self.word in command.argv if not callable(command.argv) else False
        if hit:
            self.before()
        results = self.hosts.run(hosts, command)
        if hit:
            self.after()
        return results


@dataclass
class Site:
    """One mover host with one user's files. ``home`` and ``buffer`` are his; above ``buffer`` only root may pass."""

    place: Path
    someone: Someone
    cancel: CancelToken = field(default_factory=CancelToken)
    told: list[Progress] = field(default_factory=list, repr=False)
    hook: Callable[[HostRunner], HostRunner] = lambda hosts: hosts

    def __post_init__(self) -> None:
        self.home = self.place / "home"
        self.buffer = self.place / "locked" / "global"
        self.buffer.mkdir(parents=True)
        self.home.mkdir()
        self.place.chmod(0o755)
        self.give(self.home, self.buffer)
        (self.place / "locked").chmod(0o700)
        self.runner = LocalRunner(fence_dir=self.place / "fences", python=PYTHON)

    def give(self, *paths: Path) -> None:
        """Make the user the owner."""
        for path in paths:
            os.chown(path, self.someone.uid, self.someone.gid, follow_symlinks=False)

    def file(self, path: Path, content: bytes = b"content", mode: int = 0o644) -> Path:
        """A file of the user's, with its directories."""
        for parent in [parent for parent in reversed(path.parents) if not parent.exists()]:
            parent.mkdir()
            self.give(parent)
        path.write_bytes(content)
        path.chmod(mode)
        self.give(path)
        return path

    def root(self, buffer: Path) -> Root:
        """A directory of the user's as a buffer."""
        return Root(str(buffer.parent), buffer.name, self.someone.uid)

    def order(
        self, direction: Literal["in", "out"], *requests: StageRequest, limit: int = 0, seconds: float = 60, resumed: str = ""
    ) -> CopyOrder:
        hosts = self.hook(self.runner.fenced("s1", 1, self.cancel))
        context = Context(hosts=hosts, deadline=Deadline.after(seconds), cancel=self.cancel, token="42", progress=self.told.append)
        return CopyOrder(
            context=context,
            host="mover",
            uid=self.someone.uid,
            gid=self.someone.gid,
            direction=direction,
            requests=requests,
            roots={"DW_JOB_STRIPED": self.root(self.buffer)},
            limit=limit,
            resumed=resumed,
        )

    def copy(
        self,
        source: object,
        destination: object,
        kind: Literal["file", "directory", "list"] = "file",
        *,
        out: bool = False,
        limit: int = 0,
        digest: bool = False,
        resumed: str = "",
    ) -> CopyReport:
        """Copy one request with an :class:`RsyncMover`."""
        request = StageRequest(source=str(source), destination=str(destination), kind=kind)
        return RsyncMover(digest).copy(self.order("out" if out else "in", request, limit=limit, resumed=resumed))

    @property
    def cleared(self) -> str:
        """What the last copy told that the next one must know."""
        return self.told[-1].cleared


@pytest.fixture
def site(someone: Someone) -> Iterator[Site]:
    # pytest's own temporary directories are closed to other users.
    place = Path(tempfile.mkdtemp(prefix="dacc-mover-"))
    try:
        yield Site(place, someone)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", place], check=False, capture_output=True)
        shutil.rmtree(place)
