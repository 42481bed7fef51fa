"""More jobs than there are bricks for, while Slurm believes that there are more: none is held, all run in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .cluster import Cluster
from .conftest import opened
from .jobs import OVER, Job

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


@contextmanager
def drained(cluster: Cluster, *hosts: str) -> Iterator[None]:
    """For a while an operator lets hosts give out no bricks; Slurm learns of it when it asks for the pools the next time."""
    command = f"{cluster.programs}/dacc"
    done = cluster.run("root", command, "drain", ",".join(hosts))
    assert done.returncode == 0, done.stdout
    try:
        yield
    finally:
        cluster.run("root", command, "undrain", ",".join(hosts))


def submitted(cluster: Cluster, number: int) -> list[Job]:
    return [cluster.sbatch("games", STRIPED, body="touch $DW_JOB_STRIPED/x", options=["-s", "-n1"]) for _ in range(number)]


def states(cluster: Cluster, jobs: list[Job]) -> dict[str, int]:
    """How many jobs are in which state; ``held`` for those that Slurm holds."""
    listed = cluster.run("root", "scontrol", "-o", "show", "jobs").stdout.splitlines()
    found: dict[str, int] = {}
    for line in listed:
        words = dict(word.partition("=")[::2] for word in line.split())
        if words.get("JobId") in {job.id for job in jobs}:
            state = "held" if words["Priority"] == "0" and words["JobState"] == "PENDING" else words["JobState"]
            found[state] = found.get(state, 0) + 1
    return found


def all_run_to_their_end(cluster: Cluster, jobs: list[Job], seconds: float) -> None:
    cluster.wait(lambda: states(cluster, jobs).keys() <= {*OVER, "held"}, "every job is over or held", seconds)
    assert states(cluster, jobs) == {"COMPLETED": len(jobs)}


def test_no_job_is_held_while_a_host_is_drained(cluster: Cluster) -> None:
    before = len(cluster.log("slurmctld"))
    with drained(cluster, "dac2", "dac3"):
        all_run_to_their_end(cluster, submitted(cluster, 16), 120.0)
        cluster.wait(lambda: cluster.free() == 3, "the bricks that are not drained are free")
    assert "underflow" not in cluster.log("slurmctld")[before:]


def test_a_job_that_waits_for_bricks_is_listed_and_goes_when_it_is_cancelled(cluster: Cluster) -> None:
    polls = len(cluster.calls("show_sessions"))
    cluster.wait(lambda: len(cluster.calls("show_sessions")) > polls, "Slurm believes for another 30 s that all bricks are free")
    with drained(cluster, "dac1", "dac2", "dac3"):
        job = cluster.sbatch("games", STRIPED)
        cluster.wait(lambda: cluster.sessions().get(job.id, {}).get("waits_for") == "bricks", "it waits for bricks", 25.0)
        job.cancel()
        cluster.wait(lambda: not cluster.sessions(), "nothing waits any more")
    cluster.wait(lambda: not cluster.run("root", "squeue", "-h").stdout, "the job is gone")
    assert cluster.sessions() == {}


@pytest.mark.long
def test_sixty_jobs_on_ten_bricks_of_which_half_are_drained(programs: Path) -> None:
    with opened(programs, hosts=2, bricks=5) as cluster:
        with drained(cluster, "dac2"):
            all_run_to_their_end(cluster, submitted(cluster, 60), 400.0)
        cluster.wait(lambda: cluster.free() == 10, "all bricks are free")
        assert "underflow" not in cluster.log("slurmctld")
