"""Hosts that fail: what Slurm is told, what is tried again, and what only a person can repair."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .slurm import NOBODY, Job, Slurm, finish, refused, succeeded

SITE = {
    "extra": {"deadlines": {"teardown": 3}, "retries": {"attempts": 3, "first_wait": 0.05}},
    "provider": {
        "faults": [
            {"call": "mount", "host": "c2", "token": "701", "times": 2},
            {"call": "mount", "host": "c2", "token": "702", "times": 0, "text": "no route to host c2"},
            {"call": "mount", "host": "c2", "token": "705", "times": 0, "text": "no route to host c2"},
            {"call": "mount", "host": "c2", "token": "706", "times": 0, "text": "no route to host c2"},
            {"call": "create", "token": "703", "times": 0, "error": "InvalidRequest", "text": "bad superblock"},
            {"call": "create", "token": "704", "times": 1},
            {"call": "create", "token": "broken", "times": 3, "text": "no more inodes"},
            {"call": "delete", "token": "801", "times": 0, "text": "disk is on fire"},
            {"call": "unmount", "token": "802", "host": "c1", "times": 0, "text": "device is busy"},
            {"call": "delete", "token": "803", "hang": True, "times": 0},
            {"call": "unmount", "token": "807", "host": "c1", "times": 0, "text": "device is busy"},
            {"call": "mount", "token": "804", "host": "c2", "times": 1, "error": "InvalidRequest"},
        ]
    },
}


# --- starting a job ---


def test_a_mount_that_fails_twice_and_then_works_is_no_failure(slurm: Slurm) -> None:
    job = slurm.striped(token="701").begin("c1", "c2")
    job.does("c2", 'touch "$DW_JOB_STRIPED/x"')
    job.end()


def test_a_node_that_cannot_mount_is_named_with_the_reason(slurm: Slurm) -> None:
    job = slurm.striped(token="702")
    succeeded(job.setup())
    line = refused(job.pre_run("c1", "c2", "c3"))
    assert "c2" in line
    assert "no route to host c2" in line
    assert "c1" not in line


def test_a_job_whose_pre_run_failed_three_times_is_held(slurm: Slurm) -> None:
    job = slurm.striped(token="705")
    for _ in range(3):
        succeeded(job.setup(), job.data_in())
        refused(job.pre_run("c1", "c2"))
        succeeded(job.teardown(hurry=True))
    line = refused(job.setup())
    assert "pre_run failed 3 times" in line
    assert "no route to host c2" in line
    assert slurm.tokens() == set()


def test_pre_run_after_one_that_failed_succeeds(slurm: Slurm) -> None:
    job = slurm.striped(token="804")
    succeeded(job.setup(), job.data_in(), job.paths())
    refused(job.pre_run("c1", "c2"))
    succeeded(job.pre_run("c1", "c2"))
    job.does("c2", 'touch "$DW_JOB_STRIPED/x"')


def test_a_node_that_is_in_use_is_named_until_it_is_free(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    argv = slurm.site.on("c1", ["sh", "-c", f'cd "{job.variables["DW_JOB_STRIPED"]}" && echo ready && exec sleep 60'])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as lingering:
        assert lingering.stdout is not None
        assert lingering.stdout.readline() == "ready\n"
        line = refused(job.post_run())
        assert "c1" in line
        assert str(lingering.pid) in line
        lingering.kill()
    job.end()


def test_swap_that_does_not_fit_is_said(slurm: Slurm) -> None:
    job = slurm.job("#DW jobdw capacity=32MiB access_mode=striped type=scratch", "#DW swap 30MiB", mib=32)
    succeeded(job.setup())
    line = refused(job.pre_run("c1", "c2", "c3"))
    assert "swap" in line or "space" in line


def test_a_client_killed_in_setup_can_be_repeated(slurm: Slurm) -> None:
    for delay in (0.005, 0.02, 0.04, 0.08, 0.15):
        job = slurm.striped()
        client = slurm.start("setup", *job.setup_args)
        time.sleep(delay)
        os.killpg(client.pid, signal.SIGKILL)
        finish(client)
        succeeded(job.setup(), job.data_in(), job.teardown())


def test_a_filesystem_that_cannot_be_made_is_said_and_its_bricks_are_given_back(slurm: Slurm) -> None:
    job = slurm.striped(token="703")
    assert "bad superblock" in refused(job.setup())
    assert slurm.tokens() == {"703"}
    succeeded(job.teardown())
    assert slurm.free() == 6


def test_a_buffer_that_cannot_be_made_leaves_nothing(slurm: Slurm) -> None:
    """Slurm never asks for the end of a buffer that it was not told to be created."""
    assert "no more inodes" in refused(slurm.create("broken"))
    assert slurm.tokens() == set()
    assert slurm.free() == 6
    assert "created" in succeeded(slurm.create("broken"))


def test_a_create_that_fails_once_is_tried_again(slurm: Slurm) -> None:
    succeeded(slurm.striped(token="704").setup())


# --- teardowns that only a person can finish ---


def clean(slurm: Slurm) -> None:
    """What an operator does before a release: unmount what is left, empty the bricks."""
    for node in slurm.site.compute_nodes:
        command = "for mount in /mnt/dac/*; do umount $mount; rmdir $mount; done 2>/dev/null; true"
        subprocess.run(slurm.site.on(node, ["sh", "-c", command]), check=True)
    for brick in slurm.quarantined():
        for path in Path(brick.partition(":")[2]).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def repaired(slurm: Slurm) -> Iterator[Slurm]:
    """After the test an operator frees what is in quarantine."""
    yield slurm
    clean(slurm)
    for host in {brick.partition(":")[0] for brick in slurm.quarantined()}:
        succeeded(slurm.dacc("release", host))


def started(slurm: Slurm, token: str) -> Job:
    job = slurm.striped(token=token, mib=64).begin("c1")
    slurm.jobs.remove(job)
    return job


@pytest.mark.parametrize(
    ("token", "reason"),
    [("801", "disk is on fire"), ("802", "device is busy"), ("803", "teardown did not end within 3 s")],
    ids=["delete fails", "unmount fails", "delete hangs"],
)
def test_a_teardown_that_cannot_end_puts_its_bricks_in_quarantine_and_succeeds(repaired: Slurm, token: str, reason: str) -> None:
    job = started(repaired, token)
    if token != "802":
        succeeded(job.post_run())
    succeeded(job.teardown())
    assert repaired.tokens() == set()
    assert repaired.free() == 4
    found = repaired.quarantined()
    assert len(found) == 2
    for why in found.values():
        assert f"session {token}" in why
        assert reason in why


def test_a_teardown_that_cannot_end_keeps_data_that_is_owed(slurm: Slurm) -> None:
    """Bricks in quarantine may be released and used again, so what is owed must not end there."""
    result = slurm.site.directory / "home" / NOBODY.pw_name / "result"
    job = slurm.striped(f"#DW stage_out source=$DW_JOB_STRIPED/result destination={result} type=file", token="807").begin("c1")
    job.does("c1", 'echo precious > "$DW_JOB_STRIPED/result"')
    slurm.jobs.remove(job)
    succeeded(job.teardown())
    assert len(slurm.kept()) == 1
    assert slurm.quarantined() == {}
    succeeded(slurm.dacc("stage-out", "807"))
    assert result.read_text() == "precious\n"
    assert slurm.kept() == []


def test_bricks_that_were_released_are_used_again(repaired: Slurm) -> None:
    job = started(repaired, "801")
    succeeded(job.post_run(), job.teardown())
    whole = repaired.striped(mib=192)
    with whole.waiting() as client:
        assert "has 4 free of 6 bricks" in whole.why()
        assert whole.why().endswith(": 2 in quarantine: ask an operator")
        clean(repaired)
        for host in repaired.site.brick_hosts:
            assert "released" in succeeded(repaired.dacc("release", host))
        assert repaired.quarantined() == {}
        succeeded(finish(client))
    whole.begin("c1").end()


def test_a_buffer_destroyed_under_a_busy_job_is_unmounted_when_that_job_ends(repaired: Slurm) -> None:
    """The buffer's records are gone by then: the job remembers what it has mounted."""
    repaired.create("held")
    job = repaired.job("#DW persistentdw name=held").begin("c1")
    directory = job.variables["DW_PERSISTENT_STRIPED_held"]
    holder = subprocess.Popen(
        repaired.site.on("c1", ["sh", "-c", 'cd "$1" && echo inside && exec sleep 100', "sh", directory]), stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"inside\n"
    succeeded(repaired.destroy("held", hurry=True))
    assert repaired.quarantined()
    holder.kill()
    holder.communicate()
    job.end()
    mounts = subprocess.run(repaired.site.on("c1", ["cat", "/proc/self/mounts"]), check=True, capture_output=True, text=True).stdout
    assert "_persistent_held" not in mounts


def test_an_operator_lets_a_held_job_try_again(slurm: Slurm) -> None:
    job = slurm.striped(token="706")
    for _ in range(3):
        succeeded(job.setup())
        refused(job.pre_run("c1", "c2"))
        succeeded(job.teardown(hurry=True))
    assert "dacc retry 706" in refused(job.setup())
    succeeded(slurm.dacc("retry", "706"))
    succeeded(job.setup())


def test_a_release_of_nothing_is_refused(slurm: Slurm) -> None:
    assert "has no such brick in quarantine" in refused(slurm.dacc("release", "dac1"))
    assert "has never registered" in refused(slurm.dacc("release", "dac9"))


def test_status_tells_why_bricks_are_in_quarantine(repaired: Slurm) -> None:
    job = started(repaired, "801")
    succeeded(job.post_run(), job.teardown())
    status = json.loads(succeeded(repaired.dacc("status", "--json")))
    reasons = [why for host in status["hosts"] for why in host["quarantined"].values()]
    assert reasons
    assert all("disk is on fire" in why for why in reasons)
