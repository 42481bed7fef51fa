"""The directory backing's tests once more, as a user who is not root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = ("dacc_core", "dacc_fake", "fakewarp")
NEEDED = (*OURS, "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "msgspec", "yaml", "_yaml")
"""What the tests import beyond the standard library."""
SYSTEM_PYTHON = "/usr/bin/python3"
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of uid 65534 with copies of all that is needed: environment and checkout may lie in root's home."""
    folder = Path(tempfile.mkdtemp(prefix="dacc-fake-"))
    shutil.copytree(Path(__file__).parent, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        _copy(name, folder / "lib")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    yield folder
    shutil.rmtree(folder)


def _copy(name: str, library: Path) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return
    origin = Path(spec.origin)
    if origin.stem == "__init__":
        shutil.copytree(origin.parent, library / name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(origin, library / origin.name)


def test_the_directory_backing_works_without_root(folder: Path) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(folder / "lib"), "HOME": str(folder)}
    # Through a shell: setpriv itself still has root's rights when it starts a program.
    candidates = [[*AS_NOBODY, "sh", "-c", 'exec "$@"', "sh", python] for python in (sys.executable, SYSTEM_PYTHON)]
    probe = ["-c", "import dacc_fake, pytest"]
    usable = [one for one in candidates if not subprocess.run([*one, *probe], cwd=folder, env=environment, capture_output=True).returncode]
    if not usable:
        why = f"an interpreter that uid 65534 may use, of version {sys.version_info[0]}.{sys.version_info[1]}"
        pytest.fail(f"needs {why}") if os.environ.get("DACC_REQUIRE_ALL") == "1" else pytest.skip(f"needs {why}")

    tests = [str(folder / "tests" / name) for name in ("test_directory.py", "test_directory_user.py")]
    argv = [*usable[0], "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}/t", *tests]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-4000:]
    assert "skipped" not in done.stdout
