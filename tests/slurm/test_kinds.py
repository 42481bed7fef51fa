"""Every kind of job that Slurm has, with a buffer."""

from __future__ import annotations

import re

from .cluster import Cluster
from .jobs import Job
from .test_buffers import NAMES, create, used
from .test_restarts import SLOW_MOVER, under_way

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


def test_each_task_of_an_array_has_a_buffer_of_its_own(cluster: Cluster) -> None:
    array = cluster.sbatch(
        "games", STRIPED, body="ls $DW_JOB_STRIPED; touch $DW_JOB_STRIPED/x; echo $DW_JOB_STRIPED >> array", options=["--array=1-10"]
    )
    cluster.wait(lambda: not cluster.run("root", "squeue", "-h").stdout, "the array is over", 60)
    places = (cluster.home("games") / "array").read_text().split()
    assert len(set(places)) == 10
    cluster.wait(lambda: not cluster.sessions(), "no session is left")
    assert "COMPLETED" in array.show()["JobState"]


def test_each_component_of_a_heterogeneous_job_has_a_buffer(cluster: Cluster) -> None:
    script = cluster.script(
        "games",
        "#SBATCH --nodes=1",
        STRIPED,
        "#SBATCH hetjob",
        "#SBATCH --nodes=1",
        "#DW jobdw capacity=64MiB access_mode=striped type=scratch",
        body="echo $DW_JOB_STRIPED; srun --het-group=1 sh -c 'echo $DW_JOB_STRIPED'",
    )
    done = cluster.run("games", "sbatch", "--output=out.%j", str(script))
    job = Job(cluster, done.stdout.split()[-1], "games")
    assert f"/mnt/dac/{job.id}_job/global" in job.completes()
    cluster.wait(lambda: not cluster.sessions(), "no session is left")


def test_a_requeued_job_gets_a_new_buffer(cluster: Cluster) -> None:
    body = 'ls $DW_JOB_STRIPED; touch $DW_JOB_STRIPED/x; echo run-$SLURM_RESTART_COUNT; [ -n "$SLURM_RESTART_COUNT" ] || sleep 60'
    job = cluster.sbatch("games", STRIPED, body=body, options=["--requeue", "--open-mode=append"])
    job.until_said("run-")
    assert cluster.run("games", "scontrol", "requeue", job.id).returncode == 0
    job.until("PENDING")
    job.wait_no_longer()
    output = job.completes()
    assert "run-1" in output
    assert "x\n" not in output


def test_a_job_cancelled_while_its_data_is_copied_leaves_nothing(cluster: Cluster) -> None:
    source = cluster.home("games") / "source"
    source.write_text("input\n")
    with cluster.faulty(SLOW_MOVER):
        job = cluster.sbatch("games", STRIPED, f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/input type=file")
        cluster.wait(lambda: under_way(cluster, job.id) == "stage_in", "data is copied")
        job.cancel()
        job.until_gone()


def test_a_job_cancelled_while_it_runs_still_delivers_its_results(cluster: Cluster) -> None:
    result = cluster.home("games") / "of-cancelled"
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file"
    job = cluster.sbatch("games", STRIPED, stage_out, body="echo partial > $DW_JOB_STRIPED/result; echo started; sleep 60")
    job.until_said("started")
    job.cancel()
    job.until_gone()
    assert result.read_text() == "partial\n"


def test_a_job_cancelled_in_a_hurry_delivers_nothing(cluster: Cluster) -> None:
    result = cluster.home("games") / "of-hurried"
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file"
    job = cluster.sbatch("games", STRIPED, stage_out, body="echo partial > $DW_JOB_STRIPED/result; echo started; sleep 60")
    job.until_said("started")
    job.cancel("--hurry")
    job.until_gone()
    assert not result.exists()


def test_srun_takes_a_buffer_from_an_option(cluster: Cluster) -> None:
    done = cluster.run("games", "srun", "--bb=capacity=32MiB access=striped type=scratch", "sh", "-c", "cd $DW_JOB_STRIPED && pwd")
    assert re.fullmatch(r"/mnt/dac/\d+_job/global\n", done.stdout.splitlines(keepends=True)[-1]), done.stdout


def test_srun_takes_a_buffer_from_a_file(cluster: Cluster) -> None:
    directives = cluster.home("games") / "directives"
    directives.write_text("#DW jobdw capacity=32MiB access_mode=private type=scratch\n")
    done = cluster.run("games", "srun", f"--bbf={directives}", "sh", "-c", "cd $DW_JOB_PRIVATE && pwd -P")
    assert re.fullmatch(r"/mnt/dac/\d+_job/private/c\d\n", done.stdout.splitlines(keepends=True)[-1]), done.stdout


def test_an_interactive_allocation_has_a_buffer_until_it_ends(cluster: Cluster) -> None:
    buffer = "--bb=capacity=32MiB access=striped type=scratch"
    done = cluster.run("games", "salloc", "-N1", buffer, "srun", "sh", "-c", "cd $DW_JOB_STRIPED && pwd")
    assert done.returncode == 0, done.stdout
    assert "_job/global" in done.stdout
    cluster.wait(lambda: not cluster.sessions(), "no session is left")


def test_symbols_in_directives_are_replaced(cluster: Cluster) -> None:
    result = cluster.home("games")
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result}/%x-%j-%u type=file"
    job = cluster.sbatch("games", STRIPED, stage_out, body="echo symbols > $DW_JOB_STRIPED/result", options=["--job-name=named"])
    job.completes()
    assert (result / f"named-{job.id}-games").read_text() == "symbols\n"


def test_a_dependent_job_starts_when_results_are_delivered(cluster: Cluster) -> None:
    result = cluster.home("games") / "depended"
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file"
    with cluster.faulty(SLOW_MOVER):
        first = cluster.sbatch("games", STRIPED, stage_out, body="echo delivered > $DW_JOB_STRIPED/result")
        second = cluster.sbatch("games", body=f"cat {result}", options=[f"--dependency=afterburstbuffer:{first.id}"])
        assert second.until_gone()["JobState"] == "COMPLETED"
    assert second.output == "delivered\n"


def test_an_odd_capacity_is_rounded_up_to_a_brick(cluster: Cluster) -> None:
    job = cluster.sbatch("games", "#DW jobdw capacity=48 access_mode=striped type=scratch", body="echo started; sleep 60")
    job.until_said("started")
    assert cluster.buffers()[job.id]["Size"] == "32MiB"
    job.cancel()


def test_a_job_with_two_kinds_of_buffers_has_both(cluster: Cluster) -> None:
    name = next(NAMES)
    create(cluster, name).completes()
    output = cluster.sbatch("games", STRIPED, used(name), body="env | grep ^DW_ | sort | cut -d= -f1").completes()
    assert output.split() == ["DW_JOB_STRIPED", f"DW_PERSISTENT_STRIPED_{name}"]
