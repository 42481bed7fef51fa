"""Who may ask what: anyone reads, Slurm's user and root do everything, an owner ends what is his (design, sections 4 and 9)."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from .installation import Installation
from .slurm import GAMES, NOBODY, WEB, Answer, Job, Slurm, as_user, refused, succeeded

# The daemon is root, Slurm's user somebody else, as at most sites.
SITE = {"backing": "directory", "extra": {"slurm_user": "www-data"}}
READS = ("pools", "show_instances", "show_sessions", "show_configurations")


def call_as(
    slurm: Slurm, everyone: Installation, user: pwd.struct_passwd, program: str, *args: str, around: tuple[str, ...] = ()
) -> Answer:
    """A program called by a user; ``around``: words before that."""
    argv = [*around, *as_user(user), f"{everyone.bin}/{program}", *args]
    done = subprocess.run(argv, env=slurm.site.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return Answer(done.returncode, done.stdout)


def script_of(slurm: Slurm, owner: pwd.struct_passwd, job: Job) -> Path:
    """The job's script where only ``owner`` can read it."""
    os.chown(job.script, owner.pw_uid, owner.pw_gid)
    return job.script


@pytest.mark.parametrize("function", READS)
def test_anyone_may_read_what_slurm_polls(slurm: Slurm, everyone: Installation, function: str) -> None:
    succeeded(slurm.striped().setup())
    assert call_as(slurm, everyone, GAMES, "fakewarp", "--function", function) == slurm.call(function)


@pytest.mark.parametrize("table", ["pools", "sessions", "instances", "configurations"])
def test_anyone_may_read_the_tables_of_dwstat(slurm: Slurm, everyone: Installation, table: str) -> None:
    succeeded(slurm.striped().setup())
    assert call_as(slurm, everyone, GAMES, "dwstat", table) == slurm.dwstat(table)


@pytest.mark.parametrize("args", [("teardown", "--token", "1"), ("--function", "teardown", "--token", "1"), ("sessions", "--hurry")])
def test_dwstat_does_nothing_but_show(slurm: Slurm, everyone: Installation, args: tuple[str, ...]) -> None:
    job = slurm.striped(token="1")
    succeeded(job.setup())
    refused(call_as(slurm, everyone, WEB, "dwstat", *args))
    assert slurm.tokens() == {"1"}


@pytest.mark.parametrize("function", ["setup", "data_in", "real_size", "paths", "pre_run", "post_run", "create_persistent"])
def test_a_stranger_may_not_act(slurm: Slurm, everyone: Installation, function: str) -> None:
    job = slurm.striped(owner=NOBODY)
    succeeded(job.setup())
    script = script_of(slurm, GAMES, job)
    who = ("--user", str(GAMES.pw_uid), "--groupid", str(GAMES.pw_gid), "--capacity", "default:32MiB")
    token = "theirs" if function == "create_persistent" else job.token
    args = ("--token", token, "--job", str(script), *who, "--pathfile", f"{script}.path")
    line = refused(call_as(slurm, everyone, GAMES, "fakewarp", "--function", function, *args))
    assert f"uid {GAMES.pw_uid} may not call {function}" in line


@pytest.mark.parametrize("args", [("teardown",), ("teardown", "--hurry"), ("data_out",)])
def test_a_stranger_may_not_end_a_session(slurm: Slurm, everyone: Installation, args: tuple[str, ...]) -> None:
    job = slurm.striped(owner=NOBODY)
    succeeded(job.setup())
    before = slurm.read("show_sessions")
    line = refused(call_as(slurm, everyone, GAMES, "fakewarp", "--function", *args, "--token", job.token))
    assert f"uid {GAMES.pw_uid} may not" in line
    assert slurm.read("show_sessions") == before


def test_a_stranger_may_not_destroy_a_buffer_nor_release_bricks(slurm: Slurm, everyone: Installation) -> None:
    slurm.create("mine")
    refused(call_as(slurm, everyone, GAMES, "fakewarp", "--function", "teardown", "--token", "mine", "--hurry"))
    assert "mine" in slurm.tokens()
    assert "only operators may" in refused(call_as(slurm, everyone, GAMES, "dacc", "release", "dac1"))


def test_a_stranger_is_not_told_why_a_session_failed(slurm: Slurm, everyone: Installation) -> None:
    job = slurm.striped("#DW stage_in source=/home/someone/paper destination=$DW_JOB_STRIPED/x type=file")
    succeeded(job.setup())
    refused(job.data_in())
    for program, args in (("dacc", ("status", "--json")), ("dwstat", ("sessions",))):
        assert "paper" not in succeeded(call_as(slurm, everyone, GAMES, program, *args))
    assert "paper" in succeeded(call_as(slurm, everyone, NOBODY, "dacc", "status", "--json"))
    refused(call_as(slurm, everyone, GAMES, "dacc", "show", job.token))


def test_an_owner_may_end_his_session(slurm: Slurm, everyone: Installation) -> None:
    job = slurm.striped(owner=NOBODY)
    succeeded(job.setup())
    succeeded(call_as(slurm, everyone, NOBODY, "fakewarp", "--function", "teardown", "--token", job.token))
    assert slurm.tokens() == set()


def test_slurms_user_may_do_everything(slurm: Slurm, everyone: Installation) -> None:
    job = slurm.striped(owner=NOBODY)
    script = script_of(slurm, WEB, job)
    path = script.parent / "web" / "path"
    path.parent.mkdir()
    os.chown(path.parent, WEB.pw_uid, WEB.pw_gid)

    def call(*args: str) -> str:
        return succeeded(call_as(slurm, everyone, WEB, "fakewarp", "--function", *args))

    call("job_process", "--job", str(script))
    call("setup", *job.setup_args)
    call("paths", "--token", job.token, "--job", str(script), "--pathfile", str(path))
    assert path.read_text() == f"DW_JOB_STRIPED=/mnt/dac/{job.token}_job/global\n"
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (WEB.pw_uid, 0o600)
    call("teardown", "--token", job.token, "--job", str(script))


def test_a_file_that_only_the_daemon_could_read_is_not_read(slurm: Slurm, everyone: Installation) -> None:
    job = slurm.striped(owner=NOBODY)
    line = refused(call_as(slurm, everyone, WEB, "fakewarp", "--function", "setup", *job.setup_args))
    assert "the job script that --job names cannot be read" in line
    assert slurm.tokens() == set()


def test_files_are_read_and_written_where_the_caller_sees_them(slurm: Slurm, everyone: Installation) -> None:
    job = slurm.striped(owner=NOBODY)
    elsewhere = slurm.site.directory / "elsewhere"
    elsewhere.mkdir()
    # In the caller's own mount namespace the script is there; the daemon could not find it.
    script = f"{elsewhere}/script"
    words = f"mount -t tmpfs -o mode=777 none {elsewhere} && cp {job.script} {script} && chmod 644 {script}"
    around = ("unshare", "--mount", "sh", "-c", f'{words} && "$@" && cat {elsewhere}/path', "sh")
    args = ("paths", "--token", job.token, "--job", script, "--pathfile", f"{elsewhere}/path")
    succeeded(job.setup())
    answer = call_as(slurm, everyone, WEB, "fakewarp", "--function", *args, around=around)
    assert succeeded(answer) == f"DW_JOB_STRIPED=/mnt/dac/{job.token}_job/global\n"
    assert list(elsewhere.iterdir()) == []
    checked = ("unshare", "--mount", "sh", "-c", f'{words} && "$@"', "sh")
    succeeded(call_as(slurm, everyone, WEB, "fakewarp", "--function", "job_process", "--job", script, around=checked))


def test_paths_does_not_write_through_a_link(slurm: Slurm) -> None:
    job = slurm.striped()
    succeeded(job.setup())
    target = job.script.with_name(f"target.{job.token}")
    target.write_text("precious")
    job.script.with_name(f"path.{job.token}").symlink_to(target)
    refused(job.paths())
    assert target.read_text() == "precious"
