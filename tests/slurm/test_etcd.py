"""Slurm in front of a site whose state is in etcd, as a real site has it: all the way from a user's script to the nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import etcd
from tests.support.requirements import require

from .conftest import opened


@pytest.fixture
def needed() -> None:
    words = etcd.lacking()
    require(not words, words)


@pytest.mark.usefixtures("needed")
def test_a_job_comes_through_a_restart_of_slurmctld_and_the_death_of_etcd(programs: Path) -> None:
    with opened(programs, nodes=2, hosts=2, bricks=2, members=("etcd1",)) as cluster:
        home = cluster.home("games")
        (home / "source").write_text("input\n")
        job = cluster.sbatch(
            "games",
            "#DW jobdw capacity=64MiB access_mode=striped type=scratch",
            f"#DW stage_in source={home}/source destination=$DW_JOB_STRIPED/input type=file",
            f"#DW stage_out source=$DW_JOB_STRIPED/result destination={home}/result type=file",
            body="cp $DW_JOB_STRIPED/input $DW_JOB_STRIPED/result; echo started; until [ -e go ]; do sleep 0.1; done",
            options=["--nodes=2"],
        )
        job.until_said("started")
        cluster.restart_slurmctld()
        cluster.etcd.members[0].kill()
        poll = ("slurm", f"{cluster.programs}/fakewarp", "--function", "show_sessions")
        cluster.wait(lambda: cluster.run(*poll).returncode != 0, "it is noticed that etcd is away")
        assert "{" not in cluster.run(*poll).stdout
        (home / "go").touch()  # the job ends, and slurmctld calls post_run, while etcd is away
        job.until("STAGE_OUT")
        assert job.id in cluster.buffers()
        cluster.etcd.start()
        cluster.wait(lambda: cluster.run(*poll).returncode == 0, "it is noticed that etcd is back")
        job.completes()
        assert (home / "result").read_text() == "input\n"
        assert cluster.free() == 4
        assert [cluster.mounts(node) for node in cluster.site.compute_nodes] == [[], []]
        assert not (cluster.site.directory / "state" / "store.db").exists()
