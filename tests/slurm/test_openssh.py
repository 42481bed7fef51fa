"""The usual job where dacc reaches hosts with the program ``ssh``; all other tests here use asyncssh."""

from __future__ import annotations

from pathlib import Path

from .conftest import opened


def test_a_job_runs_with_its_buffer(programs: Path) -> None:
    with opened(programs, runner="openssh", nodes=2, hosts=2, bricks=2) as cluster:
        source, result = cluster.home("games") / "source", cluster.home("games") / "result"
        source.write_text("input\n")
        job = cluster.sbatch(
            "games",
            "#DW jobdw capacity=64MiB access_mode=striped,private type=scratch",
            "#DW swap 16MiB",
            f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/input type=file",
            f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file",
            body="srun sh -c 'cp $DW_JOB_STRIPED/input $DW_JOB_PRIVATE/own'; cp $DW_JOB_PRIVATE/own $DW_JOB_STRIPED/result",
            options=["--nodes=2"],
        )
        job.completes()
        assert result.read_text() == "input\n"
