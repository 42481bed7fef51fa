"""Runners over real processes, and what only root can set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from dacc_core.hosts import LocalRunner
from dacc_core.hosts.base import HelperRunner
from dacc_core.hosts.openssh import OpenSshRunner
from dacc_core.hosts.remote import RemoteRunner, SshAccess
from dacc_core.hosts.ssh import SshRunner
from tests.support.requirements import require

from .sshd import PROGRAM, Sshd


class Wait(Protocol):
    """Waits until something comes true."""

    def __call__(self, condition: Callable[[], bool], seconds: float = 10.0) -> None: ...


MakeRemote = Callable[..., RemoteRunner]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd on loopback."""
    require(PROGRAM is not None and shutil.which("ssh") is not None, "OpenSSH: ssh and sshd")
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def make_remote(tmp_path: Path) -> Iterator[MakeRemote]:
    """A runner over ssh of a kind, with the folder of fences that all runners of a test share."""
    made: list[SshRunner] = []

    def make(kind: str, access: SshAccess, **options: str) -> RemoteRunner:
        options = {"python": sys.executable, "fence_dir": str(tmp_path / "fences"), **options}
        if kind == "openssh":
            return OpenSshRunner(access, **options)
        made.append(SshRunner(access, **options))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


@pytest.fixture(params=["local", "openssh", "ssh"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> HelperRunner:
    """A runner of each kind."""
    if request.param == "local":
        return LocalRunner(fence_dir=tmp_path / "fences")
    access = request.getfixturevalue("sshd").access()
    remote: RemoteRunner = request.getfixturevalue("make_remote")(request.param, access)
    return remote


@pytest.fixture
def wait_until() -> Wait:
    def wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.01)

    return wait


@pytest.fixture
def namespaces(tmp_path: Path) -> Iterator[Path]:
    """A folder of two mount namespaces, ``a`` and ``b``, each bound to a file."""
    require(os.geteuid() == 0, "root, to make mount namespaces")
    require(shutil.which("unshare") is not None, "unshare(1)")
    folder = tmp_path / "ns"
    folder.mkdir()
    # A namespace can only be bound to a file on a mount that does not propagate.
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "--make-private", folder], check=True)
    try:
        for name in ("a", "b"):
            (folder / name).touch()
            subprocess.run(["unshare", f"--mount={folder / name}", "true"], check=True)
        yield folder
    finally:
        for name in ("a", "b"):
            subprocess.run(["umount", folder / name], check=False, capture_output=True)
        subprocess.run(["umount", folder], check=True)
