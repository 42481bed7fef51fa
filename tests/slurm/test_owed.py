"""What a job is still to get from a persistent buffer, while Slurm wants to destroy that."""

from __future__ import annotations

import os
import pwd

from .cluster import Cluster
from .test_buffers import NAMES, create, used


def test_a_buffer_with_the_only_copy_of_results_is_not_destroyed_before_they_are_delivered(cluster: Cluster) -> None:
    name = next(NAMES)
    create(cluster, name).completes()
    closed = cluster.home("games") / "closed"
    closed.mkdir(mode=0o755)
    request = f"#DW stage_out source=$DW_PERSISTENT_STRIPED_{name}/r destination={closed}/r type=directory"
    body = f"mkdir $DW_PERSISTENT_STRIPED_{name}/r && echo only > $DW_PERSISTENT_STRIPED_{name}/r/f"
    job = cluster.sbatch("games", used(name), request, body=body)
    after = [f"--dependency=afterburstbuffer:{job.id}"]
    destroying = cluster.sbatch("games", f"#BB destroy_persistent name={name}", options=after)

    shown = job.until_gone()
    assert shown["JobState"] == "COMPLETED"
    assert "may not write" in shown["SystemComment"]
    cluster.wait(lambda: cluster.calls("teardown", name), "Slurm asks to destroy the buffer")
    kinds = {session["kind"] for session in cluster.sessions().values()}
    assert "kept" in kinds
    assert name in cluster.sessions()

    os.chown(closed, pwd.getpwnam("games").pw_uid, -1)
    cluster.site.ask("stage-out", job.id)
    assert (closed / "r" / "f").read_text() == "only\n"
    destroying.completes()
    assert name not in cluster.sessions()
