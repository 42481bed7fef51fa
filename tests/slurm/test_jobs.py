"""Jobs with a buffer of their own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .cluster import Cluster

STRIPED = "#DW jobdw capacity=32MiB access_mode=striped type=scratch"
BOTH = "#DW jobdw capacity=64MiB access_mode=striped,private type=scratch"


def data(cluster: Cluster, user: str = "games") -> Path:
    """A directory of the user's with some files, and what a list may name."""
    place = cluster.home(user) / "data"
    if not place.exists():
        (place / "deep").mkdir(parents=True)
        for name in ("a", "b", "deep/c"):
            (place / name).write_text(f"content of {name}\n")
        (place / "list").write_text(f"{place}/a $DW_JOB_STRIPED/from-list-a\n{place}/b $DW_JOB_STRIPED/from-list-b\n")
        for path in (place, *place.rglob("*")):
            shutil.chown(path, user)
    return place


def test_nodes_share_the_striped_directory_and_have_a_private_one_each(cluster: Cluster) -> None:
    body = """
    srun sh -c 'touch $DW_JOB_STRIPED/at-$SLURMD_NODENAME; echo mine-$SLURMD_NODENAME > $DW_JOB_PRIVATE/own'
    srun -N1 -n1 -w c1 ls $DW_JOB_STRIPED
    srun -l cat $DW_JOB_PRIVATE/own
    """
    output = cluster.sbatch("games", BOTH, body=body, options=["--nodelist=c1,c2"]).completes()
    assert {"at-c1", "at-c2", "0: mine-c1", "1: mine-c2"} <= set(output.splitlines())


def test_only_the_jobs_nodes_have_its_mounts_and_only_while_it_runs(cluster: Cluster) -> None:
    job = cluster.sbatch("games", BOTH, body="echo started; sleep 60", options=["--nodelist=c1,c2"])
    job.until_said("started")
    assert cluster.mounts("c1") == cluster.mounts("c2") == [f"/mnt/dac/{job.id}_job"]
    assert cluster.mounts("c3") == []
    job.cancel()
    job.until_gone()
    assert [cluster.mounts(node) for node in cluster.site.compute_nodes] == [[], [], []]


def test_each_node_swaps_to_a_file_of_its_own_while_the_job_runs(cluster: Cluster) -> None:
    job = cluster.sbatch("games", BOTH, "#DW swap 16MiB", body="echo started; sleep 60", options=["--nodelist=c1,c2"])
    job.until_said("started")
    swaps = [line for line in Path("/proc/swaps").read_text().splitlines() if f"{job.id}_job" in line]
    assert len(swaps) == 2
    job.cancel()
    job.until_gone()
    assert f"{job.id}_job" not in Path("/proc/swaps").read_text()


@pytest.mark.parametrize(
    ("kind", "request_", "wanted"),
    [
        ("file", "source={data}/a destination=$DW_JOB_STRIPED/a", {"a"}),
        ("directory", "source={data}/deep destination=$DW_JOB_STRIPED/deep", {"deep", "deep/c"}),
        ("list", "source={data}/list", {"from-list-a", "from-list-b"}),
    ],
)
def test_data_is_there_when_the_job_starts(cluster: Cluster, kind: str, request_: str, wanted: set[str]) -> None:
    stage_in = f"#DW stage_in {request_.format(data=data(cluster))} type={kind}"
    output = cluster.sbatch("games", STRIPED, stage_in, body="cd $DW_JOB_STRIPED && find . -mindepth 1 -printf '%P %u\\n'").completes()
    assert set(output.splitlines()) == {f"{name} games" for name in wanted}


def test_results_land_as_the_users_own(cluster: Cluster) -> None:
    result = cluster.home("games") / "result"
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=directory"
    body = "mkdir $DW_JOB_STRIPED/result; echo done > $DW_JOB_STRIPED/result/answer; chmod 640 $DW_JOB_STRIPED/result/answer"
    cluster.sbatch("games", STRIPED, stage_out, body=body).completes()
    answer = result / "answer"
    assert answer.read_text() == "done\n"
    assert (answer.owner(), answer.group(), answer.stat().st_mode & 0o777) == ("games", "games", 0o640)


def test_a_full_buffer_is_no_more_than_was_asked_for(cluster: Cluster) -> None:
    job = cluster.sbatch("games", STRIPED, body="dd if=/dev/zero of=$DW_JOB_STRIPED/x bs=1M count=40 2>&1")
    assert job.until_gone()["JobState"] == "FAILED"
    assert "No space left on device" in job.output


def test_results_that_cannot_be_delivered_are_kept_until_their_owner_fetches_them(cluster: Cluster) -> None:
    closed = cluster.home("www-data")
    closed.chmod(0o755)
    stage_out = f"#DW stage_out source=$DW_JOB_STRIPED/result destination={closed}/stolen type=file"
    job = cluster.sbatch("games", STRIPED, stage_out, body="echo precious > $DW_JOB_STRIPED/result")
    job.until_gone()
    assert not (closed / "stolen").exists()
    (token,) = cluster.sessions()
    words = job.show()["SystemComment"]
    assert re.search(rf"{closed}/stolen.*[Pp]ermission", words), words
    shutil.chown(closed, "games")
    done = cluster.run("games", f"{cluster.programs}/dacc", "stage-out", job.id)
    assert done.returncode == 0, done.stdout
    assert (closed / "stolen").read_text() == "precious\n"
    shutil.chown(closed, "www-data")
    cluster.wait(lambda: token not in cluster.sessions(), "nothing is kept")
