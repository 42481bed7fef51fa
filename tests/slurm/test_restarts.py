"""slurmctld is restarted: it asks what buffers there are, and what it is told decides whether it drops or tears down any."""

from __future__ import annotations

import pytest

from .cluster import Cluster
from .test_buffers import NAMES, create

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


def sizes(cluster: Cluster) -> dict[str, str]:
    return {name: entry["Size"] for name, entry in cluster.buffers().items() if "Size" in entry}


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_buffers_and_their_sizes_are_the_same_after_a_restart(cluster: Cluster, kill: bool) -> None:
    small, large = next(NAMES), next(NAMES)
    create(cluster, small, 32).completes()
    create(cluster, large, 96).completes()
    running = cluster.sbatch("games", STRIPED.replace("32", "64"), body="echo started; sleep 60")
    running.until_said("started")
    teardowns = len(cluster.calls("teardown"))
    cluster.restart_slurmctld(kill=kill)
    wanted = {small: "32MiB", large: "96MiB", running.id: "64MiB"}
    cluster.wait(lambda: sizes(cluster) == wanted, "the same sizes")
    assert set(cluster.sessions()) == set(wanted)
    assert len(cluster.calls("teardown")) == teardowns
    running.cancel()
    running.until_gone()


def test_a_restart_while_a_job_runs_changes_nothing_for_it(cluster: Cluster) -> None:
    result = cluster.home("games") / "after-restart"
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file"
    body = "echo started; touch $DW_JOB_STRIPED/x; sleep 3; ls $DW_JOB_STRIPED > $DW_JOB_STRIPED/result"
    job = cluster.sbatch("games", STRIPED, stage_out, body=body)
    job.until_said("started")
    cluster.restart_slurmctld(kill=True)
    job.completes()
    assert "x\n" in result.read_text()


def test_a_restart_before_jobs_run_lets_them_run_later(cluster: Cluster) -> None:
    source = cluster.home("games") / "source"
    source.write_text("input\n")
    staging = f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/input type=file"
    with cluster.faulty({"call": "create", "times": 2, "delay": 2}, SLOW_MOVER):
        first = cluster.sbatch("games", STRIPED, staging, body="cat $DW_JOB_STRIPED/input")
        cluster.wait(lambda: under_way(cluster, first.id) == "stage_in", "the first job's data is copied")
        second = cluster.sbatch("games", STRIPED, body="echo second")
        cluster.wait(lambda: under_way(cluster, second.id) == "create", "the second job's filesystem is made")
        cluster.restart_slurmctld()
        for job in (first, second):  # Slurm tears both down and starts them again from setup (dw.c, _recover_job_bb)
            job.wait_no_longer()
            job.until("COMPLETED", seconds=60)
    assert (first.output, second.output) == ("input\n", "second\n")


def test_a_restart_while_results_are_copied_loses_none(cluster: Cluster) -> None:
    result = cluster.home("games") / "copied"
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file"
    with cluster.faulty(SLOW_MOVER):
        job = cluster.sbatch("games", STRIPED, stage_out, body="echo result > $DW_JOB_STRIPED/result")
        cluster.wait(lambda: under_way(cluster, job.id) == "stage_out", "results are copied")
        cluster.restart_slurmctld(kill=True)
        job.until_gone(seconds=120)
    assert result.read_text() == "result\n"


SLOW_MOVER = {"call": "mount", "host": "dac*", "times": 0, "delay": 2}


def under_way(cluster: Cluster, token: str) -> str:
    """The step that runs for a session."""
    return str(cluster.sessions().get(token, {}).get("running", ""))
