"""A site on this machine: brick directories, hosts with mount namespaces of their own, and a check that nothing stays behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dacc_core.hosts.local import LocalRunner
from dacc_core.sdk import (
    BrickRef,
    CancelToken,
    CheckHost,
    Context,
    Create,
    Deadline,
    Delete,
    HostRunner,
    Mount,
    PerHost,
    Swap,
    Unmount,
    Volume,
)

from dacc_fake import FakeProvider, FakeSettings
from dacc_fake.checks import has_loop_devices

MIB = 1 << 20
collect_ignore = ["test_directory_user.py"] if os.geteuid() == 0 else ["test_unprivileged.py"]
HOSTS = ("b1", "b2", "c1", "c2")


def needs(reason: str) -> None:
    """Skip for a reason, or fail where everything must run."""
    if os.environ.get("DACC_REQUIRE_ALL") == "1":
        pytest.fail(f"needs {reason}, and DACC_REQUIRE_ALL=1 lets nothing be skipped")
    pytest.skip(f"needs {reason}")


@dataclass
class Site:
    """Requests to one provider about volume ``vfake001`` on bricks ``b1:…/b1`` and ``b1:…/b2`` (``spread``: ``b2:…/b2``)."""

    runner: HostRunner
    base: Path
    mounts: Path
    settings: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    capacity: int = 16 * MIB
    token: str = "7"
    name: str = "vfake001"
    spread: bool = False
    fence: Callable[[CancelToken], HostRunner] | None = None

    def __post_init__(self) -> None:
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Make the provider anew, as a restarted daemon would."""
        self.settings = self.settings | settings
        self.provider = FakeProvider(FakeSettings(**self.settings))

    @property
    def bricks(self) -> tuple[BrickRef, ...]:
        second = "b2" if self.spread else "b1"
        return tuple(BrickRef(host=host, device=str(self.base / name)) for host, name in (("b1", "b1"), (second, "b2")))

    @property
    def volume(self) -> Volume:
        return Volume(name=self.name, pool="default", provider="fake", capacity=self.capacity, bricks=self.bricks)

    @property
    def path(self) -> str:
        return f"{self.mounts}/{self.token}_job"

    @property
    def link(self) -> str:
        return f"{self.mounts}/{self.token}_job_private"

    def place(self, suffix: str = "") -> Path:
        """A file of the volume in the first brick's directory."""
        return self.base / "b1" / (self.name + suffix)

    def context(self, seconds: float = 30.0, cancel: CancelToken | None = None) -> Context:
        cancel = cancel or CancelToken()
        runner = self.fence(cancel) if self.fence else self.runner
        return Context(hosts=runner, deadline=Deadline.after(seconds), cancel=cancel, token=self.token)

    def create(self, context: Context | None = None, **more: Any) -> int:
        fields = {"owner": os.geteuid(), "group": os.getegid()} | more
        made = self.provider.create(Create(context=context or self.context(), volume=self.volume, **fields))
        self.state = dict(made.state)
        return made.capacity

    def whole(self, context: Context | None = None) -> Delete:
        return Delete(context=context or self.context(), volume=self.volume, state=self.state)

    def delete(self, context: Context | None = None) -> None:
        self.provider.delete(self.whole(context))

    def mount(self, *hosts: str, context: Context | None = None, **more: Any) -> PerHost:
        fields: dict[str, Any] = {"path": self.path, "owner": os.geteuid(), "group": os.getegid(), **more}
        request = Mount(context=context or self.context(), volume=self.volume, state=self.state, hosts=hosts or ("c1",), **fields)
        return self.provider.mount(request)

    def unmount(self, *hosts: str, context: Context | None = None, **more: Any) -> PerHost:
        fields = {"path": self.path} | more
        return self.provider.unmount(
            Unmount(context=context or self.context(), volume=self.volume, state=self.state, hosts=hosts or ("c1",), **fields)
        )

    def swap(self, call: str, *hosts: str, size: int = 4 * MIB) -> PerHost:
        request = Swap(context=self.context(), volume=self.volume, state=self.state, hosts=hosts or ("c1",), path=self.path, size=size)
        done: PerHost = getattr(self.provider, call)(request)
        return done

    def check(self, host: str = "b1") -> None:
        self.provider.check_host(CheckHost(context=self.context(), host=host, bricks=self.bricks))

    def on(self, host: str, *argv: str, stdin: bytes = b"") -> str:
        """The output of a command on a host, with its errors."""
        prefix = ["nsenter", f"--mount={self.mounts.parent}/ns/{host}", "--"]
        done = subprocess.run([*prefix, *argv], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode().strip()

    def mounted(self, host: str, path: str = "") -> bool:
        """Whether something is mounted at the path on the host."""
        table = self.on(host, "cat", "/proc/self/mountinfo").splitlines()
        return any(line.split()[4] == (path or self.path) for line in table)

    def attached(self) -> list[str]:
        """The images that loop devices have, once for each."""
        found = [path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
        return [name for name in found if name.startswith(str(self.base))]

    def left(self) -> list[str]:
        """What is in the brick directories."""
        return sorted(str(path.relative_to(self.base)) for brick in ("b1", "b2") for path in (self.base / brick).glob("*"))


@pytest.fixture(scope="session")
def namespaces() -> Iterator[Path]:
    """A directory with a mount namespace for each host, in which ``mnt`` next to it is the host's own."""
    if os.geteuid():
        needs("root, for mount namespaces")
    if not has_loop_devices():
        needs("loop devices and the right to mount")
    # Not below pytest's own directory, which ordinary users may not enter: they use the mounts.
    base = Path(tempfile.mkdtemp(prefix="dacc-fake-"))
    base.chmod(0o755)
    folder, mounts = base / "ns", base / "mnt"
    folder.mkdir()
    mounts.mkdir()
    done: list[Path] = []
    try:
        command("mount", "--bind", str(folder), str(folder))
        command("mount", "--make-private", str(folder))
        for host in HOSTS:
            (folder / host).touch()
            command("unshare", f"--mount={folder / host}", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounts))
            done.append(folder / host)
        yield folder
    finally:
        for one in done:
            command("umount", str(one))
        command("umount", str(folder))
        shutil.rmtree(base)


def command(*argv: str) -> str:
    """Run a program that has to succeed."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def image(namespaces: Path, tmp_path: Path) -> Iterator[Site]:
    """A site with images and namespaces. After the test nothing may be attached, mounted or on the bricks."""
    mounts = namespaces.parent / "mnt"
    runner = LocalRunner(fence_dir=tmp_path / "fence", namespace=f"{namespaces}/%h")
    site = Site(runner, tmp_path, mounts, {"backing": "image"})
    site.fence = lambda cancel: runner.fenced("7", 1, cancel)
    yield site
    assert site.attached() == []
    assert site.left() == []
    assert [(host, line) for host in HOSTS for line in site.on(host, "find", str(mounts), "-mindepth", "1").splitlines()] == []
    assert str(tmp_path) not in Path("/proc/swaps").read_text()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Site]:
    """A site with plain directories and hosts without namespaces. After the test nothing may be left."""
    # An ordinary user may not be allowed to run an interpreter that lies in root's home directory.
    python = sys.executable if os.access(sys.executable, os.X_OK) else "/usr/bin/python3"
    runner = LocalRunner(fence_dir=tmp_path / "fence", python=python)
    site = Site(runner, tmp_path, Path("/mnt/dac"), {"backing": "directory", "root": f"{tmp_path}/hosts/%h"})
    site.fence = lambda cancel: runner.fenced("7", 1, cancel)
    yield site
    assert site.left() == []
    assert [path for path in (tmp_path / "hosts").rglob("*") if not path.is_dir() or path.is_symlink()] == []


class NoHosts:
    """A host runner for calls that must run no command."""

    python = "/nonexistent"

    def run(self, hosts: Sequence[str], command: object) -> dict[str, Any]:
        raise AssertionError(f"a command ran on {hosts}")


@pytest.fixture
def bare(tmp_path: Path) -> Site:
    """A site with backing ``none``: any command fails the test."""
    return Site(NoHosts(), tmp_path, Path("/mnt/dac"), {"backing": "none"})
