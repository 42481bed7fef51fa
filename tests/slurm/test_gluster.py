"""Slurm in front of a real distributed filesystem, with the state in etcd: all the way from a user's script to GlusterFS and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from dacc_gluster import testing

from tests.support import etcd
from tests.support.requirements import require

from .cluster import Cluster
from .conftest import opened

BODY = """
srun sh -c 'cat $DW_JOB_STRIPED/input > $DW_JOB_STRIPED/from-$SLURMD_NODENAME'
srun sh -c 'touch $DW_JOB_PRIVATE/$SLURMD_NODENAME; ls $DW_JOB_PRIVATE > $DW_JOB_STRIPED/private-$SLURMD_NODENAME'
(cd $DW_JOB_STRIPED; grep . from-* private-*) | sort > $DW_JOB_STRIPED/result
echo started
until [ -e go ]; do sleep 0.1; done
srun sh -c 'until cat $DW_JOB_STRIPED/input > $DW_JOB_STRIPED/again-$SLURMD_NODENAME; do sleep 0.5; done'
(cd $DW_JOB_STRIPED; grep . again-*) | sort >> $DW_JOB_STRIPED/result
"""


@pytest.fixture
def needed() -> None:
    words = etcd.lacking() or testing.lacking()
    require(not words, words)


@pytest.mark.usefixtures("needed")
def test_two_nodes_share_a_directory_on_bricks_of_two_hosts_one_of_which_is_booted_meanwhile(programs: Path) -> None:
    options = {"nodes": 2, "hosts": 2, "bricks": 1, "granularity": 400 << 20, "members": ("etcd1",), "provider": "gluster"}
    with opened(programs, **options) as cluster:
        home = cluster.home("games")
        (home / "source").write_text("input\n")
        job = cluster.sbatch(
            "games",
            "#DW jobdw capacity=800MiB access_mode=striped,private type=scratch",
            f"#DW stage_in source={home}/source destination=$DW_JOB_STRIPED/input type=file",
            f"#DW stage_out source=$DW_JOB_STRIPED/result destination={home}/result type=file",
            body=BODY,
            options=["--nodes=2"],
        )
        job.until_said("started")
        kinds = {cluster.on(node, "findmnt", "-no", "FSTYPE", f"/mnt/dac/{job.id}_job").strip() for node in ("c1", "c2")}
        assert kinds == {"fuse.glusterfs"}
        volume = cluster.on("dac1", "gluster", "volume", "info")
        assert [f": {host}:/run/dacc-gluster/" in volume for host in ("dac1", "dac2")] == [True, True]
        boot(cluster, "dac2")
        cluster.wait(lambda: restored(cluster, job.id), "it is served again")
        (home / "go").touch()
        job.completes()
        assert (home / "result").read_text().splitlines() == [
            *("from-c1:input", "from-c2:input", "private-c1:c1", "private-c2:c2"),
            *("again-c1:input", "again-c2:input"),
        ]
        assert cluster.free() == 2
        assert [cluster.mounts(node) for node in cluster.site.compute_nodes] == [[], []]
        assert cluster.on("dac1", "gluster", "volume", "info") == ""


def boot(cluster: Cluster, host: str) -> None:
    """A storage host loses power and comes up again, with the services that its operator enabled."""
    cluster.site.kill(host)
    cluster.gluster.crash(host)
    cluster.site.machines.renew_boot(host)
    cluster.gluster.launch(host)
    cluster.gluster.await_server(host)
    cluster.site.start(host)


def restored(cluster: Cluster, token: str) -> bool:
    events = cluster.site.ask("why", token)["events"]
    return "restore" in [event["what"] for event in events if not event["error"]]
