"""What is refused at submit: the user reads why in sbatch's own output, and nothing is left."""

from __future__ import annotations

import pytest

from .cluster import Cluster

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["#DW jobdw capacity=3.5TB access_mode=striped type=scratch"], "3.5TB"),
        (["#DW jobdw capacity=32MiB access_mode=bogus type=scratch"], "bogus"),
        ([STRIPED, "#DW stage_in source=/a destination=$DW_JOB_PRIVATE/a type=file"], "DW_JOB_PRIVATE"),
        ([STRIPED, "#DW stage_in source=/a;reboot destination=$DW_JOB_STRIPED/a type=bogus"], "bogus"),
        ([STRIPED, "#DW stage_out source=$DW_JOB_STRIPED/../../etc destination=/tmp/x type=file"], ".."),
        (["#DW persistentdw nam=foo"], "nam"),
        (["#DW jobdw capacity=2N access_mode=striped type=scratch"], "write capacity=64MiB"),
    ],
)
def test_a_directive_that_cannot_work_is_refused_with_its_line(cluster: Cluster, lines: list[str], words: str) -> None:
    done = cluster.refused_or_not("games", *lines)
    assert done.returncode != 0
    assert words in done.stdout
    assert f"line {1 + len(lines)}" in done.stdout
    assert cluster.run("root", "squeue", "-h").stdout == ""
    assert cluster.sessions() == {}


def test_every_problem_of_a_script_is_told_at_once(cluster: Cluster) -> None:
    done = cluster.refused_or_not("games", "#DW jobdw capacity=1.5TB access_mode=bogus type=scratch", "#DW persistentdw nam=foo")
    assert all(word in done.stdout for word in ("1.5TB", "bogus", "nam"))


def test_an_unknown_pool_is_refused_by_slurm_itself(cluster: Cluster) -> None:
    done = cluster.refused_or_not("games", "#DW jobdw capacity=32MiB access_mode=striped type=scratch pool=nosuch")
    assert "Burst Buffer request invalid" in done.stdout
    assert cluster.sessions() == {}


def test_a_job_larger_than_the_cluster_is_refused(cluster: Cluster) -> None:
    done = cluster.refused_or_not("games", "#DW jobdw capacity=10TiB access_mode=striped type=scratch")
    assert done.returncode != 0
    assert cluster.sessions() == {}
