"""Runners over real processes, and what only root can set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dacc_core.hosts import LocalRunner

Wait = Callable[[Callable[[], bool]], None]


def require(fits: bool, lacking: str) -> None:
    """Skip for what the machine lacks; fail instead where everything must run (DACC_REQUIRE_ALL=1)."""
    if fits:
        return
    if os.environ.get("DACC_REQUIRE_ALL") == "1":
        pytest.fail(f"DACC_REQUIRE_ALL=1, but this needs {lacking}")
    pytest.skip(f"needs {lacking}")


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    return LocalRunner(fence_dir=tmp_path / "fences")


@pytest.fixture
def wait_until() -> Wait:
    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
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
