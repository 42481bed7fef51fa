"""What a job without a buffer of its own was promised from a persistent one, and a stage-out by hand while a job runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .installation import Installation
from .slurm import NOBODY, Answer, Job, Slurm, as_user, finish, refused, succeeded

SITE = {"granularity": 64 << 20}
RESULT = "the only copy"


def home(slurm: Slurm) -> Path:
    return slurm.site.directory / "home" / "nobody"


def allow(slurm: Slurm) -> None:
    """Open the directory that results go to to its user."""
    os.chown(home(slurm) / "closed", NOBODY.pw_uid, NOBODY.pw_gid)


def delivered(slurm: Slurm) -> str:
    return (home(slurm) / "closed" / "r" / "f").read_text().strip()


@pytest.fixture
def owed(slurm: Slurm) -> Iterator[Job]:
    """A job whose results are in the persistent buffer P only; it was torn down while they could not be written."""
    slurm.create("P")
    place = home(slurm) / "closed"
    place.mkdir()
    job = slurm.job(
        "#DW persistentdw name=P",
        f"#DW stage_out source=$DW_PERSISTENT_STRIPED_P/r destination={place}/r type=directory",
    ).begin("c1")
    job.does("c1", f'mkdir "$DW_PERSISTENT_STRIPED_P/r" && echo {RESULT} > "$DW_PERSISTENT_STRIPED_P/r/f"')
    succeeded(job.post_run())
    assert "may not write" in refused(job.data_out())
    succeeded(job.teardown())
    try:
        yield job
    finally:
        for kept in slurm.kept():
            slurm.site.ask("discard", kept["token"])
        subprocess.run(["rm", "-rf", str(place)], check=True)


def test_the_record_stays_and_the_buffer_cannot_be_destroyed(slurm: Slurm, owed: Job) -> None:
    (kept,) = slurm.kept()
    assert kept["owner"] == NOBODY.pw_uid
    assert slurm.tokens() == {"P"}
    line = refused(slurm.destroy("P"))
    assert f"dacc stage-out {owed.token}" in line
    assert f"dacc discard {owed.token}" in line
    assert slurm.tokens() == {"P"}
    assert "stage-out" in succeeded(slurm.dacc("why", kept["token"]))


def test_it_is_delivered_later_and_the_buffer_can_go(slurm: Slurm, owed: Job) -> None:
    allow(slurm)
    assert "staged out" in succeeded(slurm.dacc("stage-out", owed.token))
    assert delivered(slurm) == RESULT
    assert slurm.kept() == []
    succeeded(slurm.destroy("P"))
    assert slurm.free() == 6


def test_it_is_given_up_by_its_owner_and_the_buffer_stays(slurm: Slurm, owed: Job, everyone: Installation) -> None:
    succeeded(as_owner(slurm, f"{everyone.bin}/dacc", "discard", "--yes", owed.token))
    assert slurm.kept() == []
    again = slurm.job("#DW persistentdw name=P").begin("c2")
    assert again.does("c2", 'cat "$DW_PERSISTENT_STRIPED_P/r/f"').strip() == RESULT


def test_it_outlives_a_daemon(slurm: Slurm, owed: Job) -> None:
    slurm.site.kill("dac1")
    slurm.site.start("dac1")
    assert len(slurm.kept()) == 1
    refused(slurm.destroy("P"))
    allow(slurm)
    succeeded(slurm.dacc("stage-out", owed.token))
    assert delivered(slurm) == RESULT


def test_a_destroy_in_a_hurry_says_goodbye_to_it(slurm: Slurm, owed: Job) -> None:
    succeeded(slurm.destroy("P", hurry=True))
    assert slurm.kept() == []
    assert slurm.tokens() == set()


def test_a_requeued_job_may_owe_beside_its_former_run(slurm: Slurm, owed: Job) -> None:
    owed.begin("c1")
    succeeded(owed.post_run())
    refused(owed.data_out())
    succeeded(owed.teardown())
    first, second = (one["token"] for one in slurm.kept())
    allow(slurm)
    succeeded(slurm.dacc("stage-out", first), slurm.dacc("stage-out", second))
    assert delivered(slurm) == RESULT


# --- by hand, while the job runs ---


@pytest.fixture
def running(slurm: Slurm) -> Job:
    """A job that runs on two nodes and will stage out."""
    results = home(slurm) / "results"
    results.mkdir(exist_ok=True)
    os.chown(results, NOBODY.pw_uid, NOBODY.pw_gid)
    return slurm.striped(f"#DW stage_out source=$DW_JOB_STRIPED destination={results} type=directory", mib=64).begin("c1", "c2")


def by_dacc(job: Job) -> Answer:
    return job.slurm.dacc("stage-out", job.token)


def by_fakewarp(job: Job, everyone: Installation) -> Answer:
    return as_owner(job.slurm, f"{everyone.bin}/fakewarp", "--function", "data_out", "--token", job.token, "--job", "/dev/null")


def as_owner(slurm: Slurm, *words: str) -> Answer:
    """A call by the job's user."""
    argv = [*as_user(NOBODY), *words]
    return finish(subprocess.Popen(argv, env=slurm.site.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))


@pytest.mark.parametrize("how", ["dacc", "fakewarp"])
def test_a_stage_out_by_hand_of_a_job_that_runs_is_refused(slurm: Slurm, running: Job, everyone: Installation, how: str) -> None:
    line = refused(by_dacc(running) if how == "dacc" else by_fakewarp(running, everyone))
    assert f"session {running.token} is mounted on c[1-2]" in line
    for node in ("c1", "c2"):
        running.does(node, 'echo x > "$DW_JOB_STRIPED/written-on-$(hostname)-afterwards"')
    running.end()
    assert list((home(slurm) / "results").iterdir())


def test_what_a_job_writes_after_a_stage_out_by_hand_is_staged_out_too(slurm: Slurm) -> None:
    results = home(slurm) / "late"
    results.mkdir(exist_ok=True)
    os.chown(results, NOBODY.pw_uid, NOBODY.pw_gid)
    job = slurm.striped(f"#DW stage_out source=$DW_JOB_STRIPED destination={results} type=directory", mib=64)
    succeeded(job.setup(), job.data_in(), slurm.dacc("stage-out", job.token), job.paths(), job.pre_run("c1"))
    job.does("c1", 'echo late > "$DW_JOB_STRIPED/f"')
    job.end()
    assert (results / "f").read_text() == "late\n"
