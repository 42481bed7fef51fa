"""``dacc demo``: it ends well for root and for an ordinary user, and leaves nothing behind."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until

from .conftest import leftovers, require_root
from .installation import Installation
from .slurm import BIN, NOBODY, as_user


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for temporary files that everyone may write."""
    require_root()
    place = Path(tempfile.mkdtemp(prefix="dacc-e2e-"))
    place.chmod(0o1777)
    yield place
    for path in place.iterdir():
        subprocess.run(["rm", "-rf", str(path)], check=True)
    place.rmdir()


def demo(program: list[str], temporary: Path, user: pwd.struct_passwd | None = None) -> str:
    """Run the demo with a home that does not exist; its output."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    argv = [*(as_user(user) if user else []), *program, "demo"]
    done = subprocess.run(argv, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_root_sees_three_jobs_through(temporary: Path) -> None:
    output = demo([f"{BIN}/dacc"], temporary)
    assert output.splitlines()[-1] == "nothing is left behind"
    assert "results are what the input was" in output
    assert list(temporary.iterdir()) == []
    assert leftovers(str(temporary)) == [str(temporary)]


def test_an_ordinary_user_sees_three_jobs_through(temporary: Path, everyone: Installation) -> None:
    runtime = Path(f"/tmp/dacc-{NOBODY.pw_uid}")
    before = runtime.exists()
    output = demo([f"{everyone.bin}/dacc"], temporary, NOBODY)
    assert output.splitlines()[-1] == "nothing is left behind"
    assert list(temporary.iterdir()) == []
    assert leftovers(str(temporary)) == [str(temporary)]
    assert runtime.exists() == before


def test_root_whose_temporary_files_are_private_sees_them_through_too(temporary: Path) -> None:
    private = temporary / "private"
    private.mkdir(mode=0o700)
    before = set(Path("/tmp").glob("dacc-demo-*"))
    assert demo([f"{BIN}/dacc"], private).splitlines()[-1] == "nothing is left behind"
    assert list(private.iterdir()) == []
    assert set(Path("/tmp").glob("dacc-demo-*")) <= before


def test_a_demo_that_is_interrupted_leaves_nothing_behind(temporary: Path) -> None:
    environment = os.environ | {"TMPDIR": str(temporary)}
    output = subprocess.PIPE
    with subprocess.Popen([f"{BIN}/dacc", "demo"], env=environment, stdout=output, stderr=output, start_new_session=True) as running:
        until(lambda: list(temporary.glob("dacc-demo-*/script.2")), "the second job is there")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does, to the daemons as well
        running.communicate(timeout=60)
    assert running.returncode != 0
    assert list(temporary.iterdir()) == []
    assert leftovers(str(temporary)) == [str(temporary)]
