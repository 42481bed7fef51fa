"""The job users' guide: each of its scripts is submitted as it stands there, only smaller and in another home."""

from __future__ import annotations

import re
from pathlib import Path

from ..docs.pages import DOCS, blocks
from .cluster import Cluster

GUIDE = DOCS / "guides" / "job-scripts.md"


def smaller(script: str, home: Path) -> str:
    """The script for a cluster of three nodes with nine bricks of 32 MiB, whose users have their files in ``home``."""
    script = re.sub(r"capacity=\d+[GT]B", "capacity=64MiB", script).replace("64GiB", "16MiB").replace("--nodes=4", "--nodes=2")
    return script.replace("~/", f"{home}/").replace("/data/shared", str(home))


def furnish(home: Path) -> None:
    """The files and programs that the guide's scripts name."""
    for name in ("project/input/a", "mesh.dat", "forcing/b"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"content of {name}\n")
    for name in ("simulate", "preprocess", "project/simulate"):
        (home / name).write_text('#!/bin/sh\nresults=$DW_JOB_STRIPED/results\n[ ! -d "$results" ] || echo 42 > "$results/answer"\n')
    for path in home.rglob("*"):
        path.chmod(0o777)


def test_every_script_of_the_guide_runs(cluster: Cluster) -> None:
    home = cluster.home("games")
    furnish(home)
    scripts = [block.text for block in blocks(GUIDE, "bash job")]
    assert len(scripts) > 5
    for script in scripts:
        path = home / "guide.sh"
        path.write_text(smaller(script, home))
        path.chmod(0o755)
        done = cluster.run("games", "sbatch", "--output=out.%j", str(path))
        assert done.returncode == 0, (script, done.stdout)
        output = cluster.job(done.stdout.split()[-1], "games").completes()
        assert "not found" not in output, (script, output)
    assert (home / "project" / "results" / "answer").read_text() == "42\n"
