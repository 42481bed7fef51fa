"""More jobs than the pool can hold at once."""

from __future__ import annotations

import re
import time

import pytest

from .cluster import Cluster

JOBS = 60


@pytest.mark.long
def test_sixty_jobs_share_nine_bricks(cluster: Cluster, record_property: pytest.RecordProperty) -> None:
    """Each has two bricks, so at most four run at a time: none fails, and bricks do not wait long for their next user."""
    directive = "#DW jobdw capacity=64MiB access_mode=striped type=scratch"
    jobs = [cluster.sbatch("games", directive, body="touch $DW_JOB_STRIPED/x", options=["-s", "-n1"]) for _ in range(JOBS)]
    most, end = 0, time.monotonic() + 240
    while cluster.run("root", "squeue", "-h").stdout and time.monotonic() < end:
        pool = cluster.site.ask("status")["pools"][0]
        most = max(most, pool["bricks"] - pool["free"])
        assert 0 <= pool["free"] <= pool["bricks"]
        time.sleep(0.2)
    assert {job.state for job in jobs} == {"COMPLETED"}
    cluster.wait(lambda: not cluster.sessions(), "no session is left")
    assert most == 8  # of nine bricks, four jobs with two each
    idle = sorted(_idle_times(cluster))
    record_property("median seconds from free to reuse", idle[len(idle) // 2])
    record_property("jobs", JOBS)


def _idle_times(cluster: Cluster) -> list[float]:
    """How long after each teardown the next setup ended, by slurmctld's log."""
    line = re.compile(r"\[\S+T(\d+):(\d+):([\d.]+)\] \S+ _log_script_argv: dw_wlm_cli --function (\w+)")
    times = [(int(h) * 3600 + int(m) * 60 + float(s), what) for h, m, s, what in line.findall(cluster.log("slurmctld"))]
    setups = [at for at, what in times if what == "setup"]
    return [min((at - end for at in setups if at >= end), default=0.0) for end, what in times if what == "teardown"]
