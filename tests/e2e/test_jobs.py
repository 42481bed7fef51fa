"""Whole jobs, in the order of calls that Slurm makes (slurm-contract, observed with a running slurmctld)."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .slurm import GAMES, MIB, Job, Slurm, refused, succeeded
from .trees import differences, picture, plant

SITE = {"bricks": 6}
TREES = Path(__file__).with_name("trees.py")


def home(job: Job) -> Path:
    return job.slurm.site.directory / "home" / job.owner.pw_name


def staging_job(slurm: Slurm, number: int) -> Job:
    """A job that copies a user's tree in and, having copied it once more itself, out."""
    user = slurm.site.directory / "home" / "nobody"
    return slurm.job(
        "#DW jobdw capacity=64MiB access_mode=striped,private type=scratch",
        f"#DW stage_in source={user}/in{number} destination=$DW_JOB_STRIPED/in type=directory",
        f"#DW stage_out source=$DW_JOB_STRIPED/out destination={user}/out{number} type=directory",
        mib=64,
    )


def picture_on(slurm: Slurm, node: str, path: str) -> dict[str, str]:
    """What a directory on a node looks like from there."""
    argv = slurm.site.on(node, [sys.executable, "-I", "-S", str(TREES), path])
    found: dict[str, str] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return found


def mounts(slurm: Slurm, node: str) -> list[str]:
    """The mount points below the root of all buffers on a node."""
    table = subprocess.run(slurm.site.on(node, ["cat", "/proc/self/mounts"]), check=True, capture_output=True, text=True).stdout
    return sorted(line.split()[1] for line in table.splitlines() if line.split()[1].startswith("/mnt/dac/"))


def test_three_jobs_at_once_get_a_tree_of_2000_files_in_and_out_unchanged(slurm: Slurm) -> None:
    jobs = [staging_job(slurm, number) for number in range(3)]
    for number, job in enumerate(jobs):
        plant(home(job) / f"in{number}", job.owner.pw_uid, job.owner.pw_gid, seed=number)

    def whole(number: int) -> None:
        job, original = jobs[number], picture(bytes(home(jobs[number]) / f"in{number}"))
        assert len(original) > 2000
        succeeded(job.process(), job.setup(), job.data_in())
        assert job.real_size() >= 64 * MIB  # as the provider reported it
        succeeded(job.paths(), job.pre_run("c1", "c2"))
        assert differences(original, picture_on(slurm, "c1", job.variables["DW_JOB_STRIPED"] + "/in")) == []
        job.does("c2", 'cp -a "$DW_JOB_STRIPED/in" "$DW_JOB_STRIPED/out"')
        job.end()
        assert differences(original, picture(bytes(home(job) / f"out{number}"))) == []

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(whole, range(3)))
    assert [mounts(slurm, node) for node in ("c1", "c2", "c3")] == [[], [], []]


def test_nodes_share_the_striped_directory_and_have_a_private_one_each(slurm: Slurm) -> None:
    job = slurm.job("#DW jobdw capacity=32MiB access_mode=striped,private type=scratch", mib=32).begin("c1", "c2")
    job.does("c1", 'echo shared > "$DW_JOB_STRIPED/x"; echo one > "$DW_JOB_PRIVATE/x"')
    job.does("c2", 'echo two > "$DW_JOB_PRIVATE/x"')
    assert job.does("c2", 'cat "$DW_JOB_STRIPED/x" "$DW_JOB_PRIVATE/x"') == "shared\ntwo\n"
    assert job.does("c1", 'cat "$DW_JOB_PRIVATE/x"') == "one\n"
    job.end()


def test_mounts_are_there_while_the_job_runs_and_only_then(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1", "c2")
    assert [mounts(slurm, node) for node in ("c1", "c2", "c3")] == [[f"/mnt/dac/{job.token}_job"]] * 2 + [[]]
    succeeded(job.post_run())
    assert [mounts(slurm, node) for node in ("c1", "c2", "c3")] == [[], [], []]
    assert subprocess.run(slurm.site.on("c1", ["ls", "-A", "/mnt/dac"]), capture_output=True, text=True).stdout == ""
    job.end()


def test_a_buffer_is_mounted_without_devices_and_setuid(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    options = job.does("c1", f"grep {job.token}_job /proc/self/mounts").split()[3].split(",")
    assert {"nodev", "nosuid"} <= set(options)


def test_swap_is_on_while_the_job_runs(slurm: Slurm) -> None:
    job = slurm.striped("#DW swap 8MiB").begin("c1", "c2")
    active = [line for line in Path("/proc/swaps").read_text().splitlines() if f"{job.token}_job" in line]
    assert [int(line.split()[2]) for line in active] == [8 * 1024 - 4] * 2
    succeeded(job.post_run())
    assert f"{job.token}_job" not in Path("/proc/swaps").read_text()
    job.end()


def test_a_buffer_holds_no_more_than_its_capacity(slurm: Slurm) -> None:
    job = slurm.striped(mib=32).begin("c1")
    job.does("c1", 'head -c 24M /dev/zero > "$DW_JOB_STRIPED/fits"')
    full = job.run("c1", 'head -c 24M /dev/zero > "$DW_JOB_STRIPED/toomuch"')
    assert full.returncode != 0
    assert "No space left on device" in full.stdout


def test_only_its_user_can_enter_a_buffer(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    assert job.run("c1", 'ls "$DW_JOB_STRIPED"', owner=GAMES).returncode != 0
    assert job.does("c1", 'stat -c "%u %g %a" "$DW_JOB_STRIPED"') == f"{job.owner.pw_uid} {job.owner.pw_gid} 700\n"


def test_pre_run_with_other_nodes_moves_the_mounts(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1", "c2")
    job.does("c1", 'echo kept > "$DW_JOB_STRIPED/x"')
    succeeded(job.pre_run("c2", "c3"))
    assert [len(mounts(slurm, node)) for node in ("c1", "c2", "c3")] == [0, 1, 1]
    assert job.does("c3", 'cat "$DW_JOB_STRIPED/x"') == "kept\n"


def test_setup_with_the_same_request_resumes(slurm: Slurm) -> None:
    job = slurm.striped()
    before = slurm.free()
    succeeded(job.setup())
    sessions = slurm.read("show_sessions")
    succeeded(job.setup())
    assert slurm.read("show_sessions") == sessions
    assert slurm.free() == before - 1


@pytest.mark.parametrize(
    "change",
    [
        {"capacity": "default:64MiB", "directives": "#DW jobdw capacity=64MiB access_mode=striped type=scratch\n"},
        {"directives": "#DW jobdw capacity=32MiB access_mode=private type=scratch\n"},
        {"owner": "games"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_setup_with_another_request_is_refused(slurm: Slurm, change: dict[str, str]) -> None:
    job = slurm.striped()
    succeeded(job.setup())
    job.capacity = change.get("capacity", job.capacity)
    job.owner = pwd.getpwnam(change.get("owner", job.owner.pw_name))
    if "directives" in change:
        job.script.write_text("#!/bin/sh\n" + change["directives"])
    line = refused(job.setup())
    assert f"session {job.token} exists with a different request" in line
    assert slurm.read("show_instances")[0]["capacity"]["bytes"] == 32 * MIB


def test_a_job_that_is_requeued_finds_no_old_variables(slurm: Slurm) -> None:
    job = slurm.striped()
    path = job.script.with_name(f"path.{job.token}")
    path.write_text("OLD=1\n" * 100)
    succeeded(job.setup(), job.data_in(), job.paths())
    assert job.variables == {"DW_JOB_STRIPED": f"/mnt/dac/{job.token}_job/global"}
