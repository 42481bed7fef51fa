"""``make slurm-demo``: what it prints works, and what it made can be removed even after it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until

from ..e2e.conftest import leftovers
from .conftest import require_slurm

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    require_slurm()
    directory = Path(tempfile.mkdtemp(prefix="dacc-slurm-demo-"))
    directory.rmdir()
    yield directory
    demo("down", directory)
    assert leftovers(f"{directory}/") == []


def demo(word: str, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.slurm.demo", word],
        cwd=ROOT,
        env=os.environ | {"DACC_SLURM_DEMO": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_demo_runs_its_example_job_and_goes_without_a_trace(place: Path) -> None:
    assert f"{place}/run games sbatch job.sh" in demo("up", place)
    subprocess.run([f"{place}/run", "games", "sbatch", "job.sh"], check=True, capture_output=True)
    results = place / "home" / "games" / "results"
    until(lambda: results.exists() and len(list(results.glob("from-c*"))) == 2, "the results are staged out", 60)
    assert "nothing is left of the demo" in demo("down", place)
    assert not place.exists()


def test_a_demo_that_was_killed_is_removed_all_the_same(place: Path) -> None:
    demo("up", place)
    os.kill(int((place / "keeper.pid").read_text()), signal.SIGKILL)
    demo("down", place)
    assert not place.exists()
