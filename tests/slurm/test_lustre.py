"""Slurm in front of the Lustre provider, with the state in etcd: all of it is real but the programs and modules of Lustre."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import etcd
from tests.support.requirements import require

from ..lustre.cluster import lacking
from .cluster import Cluster
from .conftest import opened

BODY = """
srun sh -c 'cat $DW_JOB_STRIPED/input > $DW_JOB_STRIPED/from-$SLURMD_NODENAME'
srun sh -c 'touch $DW_JOB_PRIVATE/$SLURMD_NODENAME; ls $DW_JOB_PRIVATE > $DW_JOB_STRIPED/private-$SLURMD_NODENAME'
(cd $DW_JOB_STRIPED; grep . from-* private-*) | sort > $DW_JOB_STRIPED/result
echo started
until [ -e go ]; do sleep 0.1; done
"""
TARGETS = ["MDT0000", "MDT0001", "OST0000", "OST0001"]


@pytest.fixture
def needed() -> None:
    words = etcd.lacking() or lacking()
    require(not words, words)


@pytest.mark.usefixtures("needed")
def test_two_nodes_of_a_job_share_a_lustre_on_bricks_of_two_hosts_one_of_which_is_booted_meanwhile(programs: Path) -> None:
    options = {"nodes": 2, "hosts": 2, "bricks": 1, "granularity": 64 << 20, "members": ("etcd1",), "provider": "lustre"}
    with opened(programs, **options) as cluster:
        home = cluster.home("games")
        (home / "source").write_text("input\n")
        job = cluster.sbatch(
            "games",
            "#DW jobdw capacity=128MiB access_mode=striped,private type=scratch",
            f"#DW stage_in source={home}/source destination=$DW_JOB_STRIPED/input type=file",
            f"#DW stage_out source=$DW_JOB_STRIPED/result destination={home}/result type=file",
            body=BODY,
            options=["--nodes=2"],
        )
        job.until_said("started")
        kinds = {cluster.on(node, "findmnt", "-no", "FSTYPE", f"/mnt/dac/{job.id}_job").strip() for node in ("c1", "c2")}
        assert kinds == {"lustre"}
        assert targets(cluster) == TARGETS
        boot(cluster, "dac2")
        cluster.wait(lambda: restored(cluster, job.id), "it is served again")
        assert targets(cluster) == TARGETS
        (home / "go").touch()
        job.completes()
        assert (home / "result").read_text().splitlines() == ["from-c1:input", "from-c2:input", "private-c1:c1", "private-c2:c2"]
        assert cluster.free() == 2
        assert [cluster.mounts(node) for node in cluster.site.compute_nodes] == [[], []]
        assert targets(cluster) == []


def targets(cluster: Cluster) -> list[str]:
    """The targets that run, on whichever host."""
    lines = (cluster.on(host, "sh", "-c", "findmnt -rno TARGET -t lustre || true") for host in cluster.site.brick_hosts)
    places = [place for text in lines for place in text.split()]
    return sorted(Path(place).name for place in places if not place.endswith("/MGS"))


def boot(cluster: Cluster, host: str) -> None:
    """A storage host loses power and comes up again."""
    cluster.site.kill(host)
    cluster.lustre.crash(host)
    assert len(targets(cluster)) < len(TARGETS)
    cluster.site.machines.renew_boot(host)
    cluster.site.start(host)


def restored(cluster: Cluster, token: str) -> bool:
    events = cluster.site.ask("why", token)["events"]
    import sys

    print(*[(e["what"], e["host"], e["seconds"], e["error"]) for e in events], sep="\n", file=sys.stderr)
    return "restore" in [event["what"] for event in events if not event["error"]]
