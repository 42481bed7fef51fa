"""The directory backing's tests once more, as a user who is not root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of uid 65534."""
    folder = Path(tempfile.mkdtemp(prefix="dacc-fake-"))
    os.chown(folder, 65534, 65534)
    yield folder
    shutil.rmtree(folder)


def test_the_directory_backing_works_without_root(folder: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "HOME": str(folder)}
    probe = subprocess.run([*AS_NOBODY, "-c", "import dacc_fake, pytest"], cwd=folder, env=environment, capture_output=True)
    if probe.returncode:
        why = "an interpreter and checkout that uid 65534 may read"
        pytest.fail(f"needs {why}") if os.environ.get("DACC_REQUIRE_ALL") == "1" else pytest.skip(f"needs {why}")

    tests = [str(Path(__file__).parent / name) for name in ("test_directory.py", "test_directory_user.py")]
    argv = [*AS_NOBODY, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/t", *tests]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout
