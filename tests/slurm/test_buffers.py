"""Persistent buffers, made, used and destroyed by jobs."""

from __future__ import annotations

import itertools

import pytest

from .cluster import Cluster
from .jobs import Job

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"


def create(cluster: Cluster, name: str, mib: int = 32, user: str = "games", *options: str) -> Job:
    line = f"#BB create_persistent name={name} capacity={mib}MiB access_mode=striped type=scratch"
    return cluster.sbatch(user, line, body="echo made", options=options)


def destroy(cluster: Cluster, name: str, *more: str, user: str = "games") -> Job:
    return cluster.sbatch(user, " ".join(["#BB destroy_persistent", f"name={name}", *more]))


def used(name: str) -> str:
    return f"#DW persistentdw name={name}"


NAMES = (f"shared{number}" for number in itertools.count(1))
"""Slurm remembers a name for a while."""


@pytest.fixture
def buffer(cluster: Cluster) -> str:
    """A buffer of games's."""
    name = next(NAMES)
    create(cluster, name).completes()
    return name


def test_a_buffer_outlives_the_jobs_that_use_it(cluster: Cluster, buffer: str) -> None:
    cluster.sbatch("games", used(buffer), body=f"echo kept > $DW_PERSISTENT_STRIPED_{buffer}/file").completes()
    assert cluster.sbatch("games", used(buffer), body=f"cat $DW_PERSISTENT_STRIPED_{buffer}/file").completes() == "kept\n"
    cluster.wait(lambda: list(cluster.buffers()) == ["datawarp", buffer], "Slurm lists the buffer alone")


def test_three_jobs_use_a_buffer_at_once(cluster: Cluster, buffer: str) -> None:
    body = f"""
    cd $DW_PERSISTENT_STRIPED_{buffer}; touch $SLURM_JOB_ID
    until [ $(ls | grep -c '^[0-9]') = 3 ]; do sleep 0.1; done; echo all
    """
    jobs = [cluster.sbatch("games", used(buffer), body=body) for _ in range(3)]
    assert [job.completes() for job in jobs] == ["all\n"] * 3


def test_another_user_may_not_use_a_buffer(cluster: Cluster, buffer: str) -> None:
    job = cluster.sbatch("www-data", used(buffer))
    words = job.until_held()
    assert buffer in words
    assert "belongs to" in words
    job.cancel()


def test_a_job_submitted_before_its_buffer_exists_waits_for_it_or_says_so(cluster: Cluster) -> None:
    job = cluster.sbatch("games", used("later"), body="touch $DW_PERSISTENT_STRIPED_later/x", options=["--begin=now+3"])
    create(cluster, "later").completes()
    job.completes()


def test_a_buffer_in_use_is_not_destroyed(cluster: Cluster, buffer: str) -> None:
    using = cluster.sbatch("games", used(buffer), body="echo started; sleep 60")
    using.until_said("started")
    destroying = destroy(cluster, buffer)
    cluster.wait(lambda: cluster.calls("teardown", buffer), "Slurm asks to destroy it")
    assert buffer in cluster.sessions()
    using.cancel()
    destroying.completes()
    assert buffer not in cluster.sessions()


def test_a_destroyed_buffer_is_gone_from_slurm_too(cluster: Cluster, buffer: str) -> None:
    destroy(cluster, buffer).completes()
    assert cluster.sessions() == {}
    cluster.wait(lambda: list(cluster.buffers()) == ["datawarp"], "Slurm lists no buffer")


def test_a_job_without_nodes_makes_a_buffer(cluster: Cluster) -> None:
    create(cluster, "nodeless", 32, "games", "-N0").completes()
    assert "nodeless" in cluster.sessions()


@pytest.mark.parametrize("command", [("salloc", "-N1"), ("srun", "-N1")])
def test_an_interactive_job_of_nothing_but_lines_for_buffers_makes_and_destroys_them(cluster: Cluster, command: tuple[str, str]) -> None:
    """Slurm writes no script for it, and names one all the same."""
    name = next(NAMES)
    for line in (f"create_persistent name={name} capacity=32MiB access_mode=striped type=scratch", f"destroy_persistent name={name}"):
        lines = cluster.script("games", f"#BB {line}")
        done = cluster.run("games", *command, f"--bbf={lines}", "true")
        assert done.returncode == 0, done.stdout
        cluster.wait(lambda: not cluster.run("root", "squeue", "-h").stdout, "the job is gone")
        expected = [name] if line.startswith("create") else []
        cluster.wait(lambda expected=expected: list(cluster.sessions()) == expected, "the buffer is there, or gone, and nothing else")


def test_a_size_is_rounded_up_to_bricks(cluster: Cluster) -> None:
    line = "#BB create_persistent name=tiny capacity=48 access_mode=striped type=scratch"
    cluster.sbatch("games", line).completes()
    assert cluster.buffers()["tiny"]["Size"] == "32MiB"


def test_a_job_with_only_a_persistent_buffer_needs_no_free_brick(cluster: Cluster, buffer: str) -> None:
    bricks = cluster.free()
    filling = cluster.sbatch("games", STRIPED.replace("32MiB", f"{32 * bricks}MiB"), body="echo started; sleep 60")
    filling.until_said("started")
    assert cluster.free() == 0
    cluster.sbatch("games", used(buffer), body=f"touch $DW_PERSISTENT_STRIPED_{buffer}/x").completes()
    filling.cancel()


def test_a_script_may_make_use_and_destroy_a_buffer(cluster: Cluster) -> None:
    create(cluster, "whole").completes()
    body = "cp -r $DW_JOB_STRIPED $DW_PERSISTENT_STRIPED_whole/; echo ok"
    assert cluster.sbatch("games", used("whole"), STRIPED, body=body).completes() == "ok\n"
    destroy(cluster, "whole", "hurry").completes()
    assert cluster.sessions() == {}
