"""Copies in and out: what users are told when one fails, what becomes of data whose stage-out is owed, and how a copy is stopped."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until

from .conftest import processes
from .installation import Installation
from .slurm import GAMES, NOBODY, WEB, Answer, Job, Slurm, as_user, finish, refused, succeeded
from .trees import differences, picture, plant

SITE = {"granularity": 64 << 20}


def home(slurm: Slurm, user: pwd.struct_passwd = NOBODY) -> Path:
    return slurm.site.directory / "home" / user.pw_name


def give(path: Path, content: str = "content", user: pwd.struct_passwd = NOBODY, mode: int = 0o644) -> Path:
    """A user's file, with its directory."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content)
    for one in (path, path.parent):
        os.chown(one, user.pw_uid, user.pw_gid)
    path.chmod(mode)
    return path


def staging_in(slurm: Slurm, source: object, destination: str = "$DW_JOB_STRIPED/x", kind: str = "file") -> Answer:
    """The answer of ``data_in`` for one request."""
    job = slurm.striped(f"#DW stage_in source={source} destination={destination} type={kind}")
    succeeded(job.process(), job.setup())
    return job.data_in()


def after_running(slurm: Slurm, command: str, *directives: str, **options: Any) -> Job:
    """A job that ran a command on a node and is over."""
    job = slurm.striped(*directives, mib=64, **options).begin("c1")
    job.does("c1", command)
    succeeded(job.post_run())
    return job


# --- what users are told ---


def test_a_source_that_does_not_exist_is_named(slurm: Slurm) -> None:
    line = refused(staging_in(slurm, home(slurm) / "nothing"))
    assert f"source {home(slurm)}/nothing does not exist" in line


def test_a_source_that_only_root_can_read_is_not_read(slurm: Slurm) -> None:
    secret = give(home(slurm) / "secret", mode=0o600)
    os.chown(secret, 0, 0)
    line = refused(staging_in(slurm, secret))
    assert f"user {NOBODY.pw_uid} may not read" in line
    assert str(secret) in line
    secret.unlink()


def test_a_directory_that_another_user_closed_is_not_copied(slurm: Slurm) -> None:
    give(home(slurm, GAMES) / "closed" / "file", user=GAMES).parent.chmod(0o700)
    line = refused(staging_in(slurm, home(slurm, GAMES) / "closed", kind="directory"))
    assert "may not read" in line or "does not exist" in line
    assert str(home(slurm, GAMES) / "closed") in line


def test_a_destination_that_the_user_cannot_write_is_named(slurm: Slurm) -> None:
    place = slurm.site.directory / "roots"
    place.mkdir(exist_ok=True)
    job = after_running(slurm, 'echo x > "$DW_JOB_STRIPED/x"', f"#DW stage_out source=$DW_JOB_STRIPED/x destination={place}/x type=file")
    line = refused(job.data_out())
    assert f"user {NOBODY.pw_uid} may not write" in line
    assert f"{place}/x" in line


def test_a_buffer_path_with_dots_that_leave_it_is_refused_at_submit(slurm: Slurm) -> None:
    job = slurm.striped("#DW stage_in source=/etc/hostname destination=$DW_JOB_STRIPED/../x type=file")
    assert "it leaves the buffer by `..`" in refused(job.process()).replace("'", "`")


def test_a_link_that_leads_out_of_the_buffer_is_not_followed_when_copying_out(slurm: Slurm) -> None:
    secret = give(slurm.site.directory / "secrets" / "s", mode=0o644)
    job = after_running(
        slurm,
        f'ln -s {secret.parent} "$DW_JOB_STRIPED/out"',
        f"#DW stage_out source=$DW_JOB_STRIPED/out/s destination={home(slurm)}/stolen type=file",
    )
    line = refused(job.data_out())
    assert "out of" in line or "leaves" in line or "outside" in line, line
    assert not (home(slurm) / "stolen").exists()


def test_a_list_of_pairs_is_copied(slurm: Slurm) -> None:
    first, second = give(home(slurm) / "l" / "a b", "first"), give(home(slurm) / "l" / "second", "second")
    pairs = give(home(slurm) / "l" / "list", f'"{first}" $DW_JOB_STRIPED/one\n# a comment\n{second} $DW_JOB_STRIPED/deep/two\n')
    job = slurm.striped(f"#DW stage_in source={pairs} type=list")
    succeeded(job.process())
    job.begin("c1")
    assert job.does("c1", 'cat "$DW_JOB_STRIPED/one" "$DW_JOB_STRIPED/deep/two"') == "firstsecond"


def test_a_tilde_is_the_users_home(slurm: Slurm) -> None:
    # The home of games exists everywhere; only the storage hosts' namespaces get one that games may write.
    place = give(home(slurm, GAMES) / "home" / "in", "from home", GAMES).parent
    for host in slurm.site.brick_hosts:
        subprocess.run(slurm.site.on(host, ["mount", "--bind", str(place), GAMES.pw_dir]), check=True)
    try:
        job = slurm.striped(
            "#DW stage_in source=~/in destination=$DW_JOB_STRIPED/x type=file",
            "#DW stage_out source=$DW_JOB_STRIPED/x destination=~/out type=file",
            owner=GAMES,
        )
        succeeded(job.process())
        job.begin("c1")
        assert job.does("c1", 'cat "$DW_JOB_STRIPED/x"') == "from home"
        job.end()
    finally:
        for host in slurm.site.brick_hosts:
            subprocess.run(slurm.site.on(host, ["umount", GAMES.pw_dir]), check=True)
    assert (place / "out").read_text() == "from home"


def test_data_in_after_a_failure_was_corrected_succeeds(slurm: Slurm) -> None:
    source = home(slurm) / "late"
    job = slurm.striped(f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/x type=file")
    succeeded(job.setup())
    refused(job.data_in())
    give(source, "now")
    succeeded(job.data_in(), job.paths(), job.pre_run("c1"))
    assert job.does("c1", 'cat "$DW_JOB_STRIPED/x"') == "now"


# --- two requests for one file ---


def collect(slurm: Slurm) -> Path:
    """Where results are collected: a directory that has some already."""
    return give(home(slurm) / "collected" / "old", "old").parent


def ends_without_its_results(job: Job) -> None:
    """They are kept, and given up."""
    succeeded(job.teardown())
    assert [one["owner"] for one in job.slurm.kept()] == [job.owner.pw_uid]
    succeeded(job.slurm.dacc("discard", "--yes", job.token))


def test_two_requests_that_would_write_one_file_are_refused_and_nothing_is_lost(slurm: Slurm) -> None:
    place = collect(slurm)
    job = after_running(
        slurm,
        'cd "$DW_JOB_STRIPED"; for d in a b; do mkdir $d; printf %s $d > $d/x; touch -d @1700000000 $d/x; done',
        *(f"#DW stage_out source=$DW_JOB_STRIPED/{name} destination={place} type=directory" for name in "ab"),
    )
    line = refused(job.data_out())
    assert f"$DW_JOB_STRIPED/a to {place} and $DW_JOB_STRIPED/b to {place} would both write {place}/x" in line
    assert [path.name for path in place.iterdir()] == ["old"]
    ends_without_its_results(job)


def test_results_of_two_buffers_are_not_written_over_each_other(slurm: Slurm) -> None:
    place = collect(slurm)
    succeeded(slurm.create("apart"))
    both = ("JOB_STRIPED", "PERSISTENT_STRIPED_apart")
    job = after_running(
        slurm,
        'echo job > "$DW_JOB_STRIPED/x"; echo buffer > "$DW_PERSISTENT_STRIPED_apart/x"',
        "#DW persistentdw name=apart",
        *(f"#DW stage_out source=$DW_{one} destination={place}/new type=directory" for one in both),
    )
    assert f"would both write {place}/new/x" in refused(job.data_out())
    ends_without_its_results(job)


def test_what_meets_in_directories_only_is_merged(slurm: Slurm) -> None:
    place = collect(slurm)
    job = after_running(
        slurm,
        'mkdir -p "$DW_JOB_STRIPED/a/s" "$DW_JOB_STRIPED/b/s"; echo 1 > "$DW_JOB_STRIPED/a/s/1"; echo 2 > "$DW_JOB_STRIPED/b/s/2"',
        *(f"#DW stage_out source=$DW_JOB_STRIPED/{name} destination={place} type=directory" for name in "ab"),
    )
    succeeded(job.data_out())
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == ["old", "s", "s/1", "s/2"]


# --- what was there before ---


def test_an_older_result_of_the_same_size_and_time_is_not_taken_for_the_new_one(slurm: Slurm) -> None:
    older = give(home(slurm) / "r" / "x", "older")
    os.utime(older, (1_700_000_000, 1_700_000_000))
    job = after_running(
        slurm,
        'mkdir "$DW_JOB_STRIPED/r"; printf newer > "$DW_JOB_STRIPED/r/x"; touch -d @1700000000 "$DW_JOB_STRIPED/r/x"',
        f"#DW stage_out source=$DW_JOB_STRIPED/r destination={older.parent} type=directory",
    )
    succeeded(job.data_out())
    assert older.read_text() == "newer"


def test_a_changed_input_is_staged_into_a_persistent_buffer_again(slurm: Slurm) -> None:
    succeeded(slurm.create("inputs"))
    source = home(slurm) / "in" / "ro" / "x"
    for content in ("first", "other"):
        subprocess.run(["chmod", "-R", "u+w", source.parent.parent], check=False, capture_output=True)
        give(source, content, mode=0o444)
        os.utime(source, (1_700_000_000, 1_700_000_000))
        source.parent.chmod(0o555)
        job = slurm.job(
            "#DW persistentdw name=inputs",
            f"#DW stage_in source={source.parent.parent} destination=$DW_PERSISTENT_STRIPED_inputs/in type=directory",
        )
        succeeded(job.process())
        job.begin("c1")
        assert job.does("c1", 'cat "$DW_PERSISTENT_STRIPED_inputs/in/ro/x"') == content
        job.end()


# --- root and the buffer ---


@pytest.mark.parametrize("plant", ["ln -s {secret} {root}/global", "mkdir {root}/global; cp {secret}/x {root}/global/x"])
def test_root_of_a_compute_node_cannot_have_roots_files_copied_out(slurm: Slurm, plant: str) -> None:
    secret = slurm.site.directory / "closed" / "roots"
    secret.mkdir(exist_ok=True, parents=True)
    (secret / "x").write_text("secret")
    secret.parent.chmod(0o700)
    job = slurm.striped(f"#DW stage_out source=$DW_JOB_STRIPED/x destination={home(slurm)}/stolen type=file").begin("c1")
    root = Path(job.variables["DW_JOB_STRIPED"]).parent
    words = f"mv {root}/global {root}/away; {plant.format(secret=secret, root=root)}"
    subprocess.run(slurm.site.on("c1", ["sh", "-c", words]), check=True)
    succeeded(job.post_run())
    line = job.data_out().output
    assert not (home(slurm) / "stolen").exists()
    assert "/global: " in line
    ends_without_its_results(job)


# --- a stage-out that is owed ---


@pytest.fixture
def owed(slurm: Slurm) -> Iterator[Job]:
    """A job that is torn down while its results cannot be written; afterwards they can be."""
    place = home(slurm) / "closed"
    place.mkdir()
    source = home(slurm) / "results"
    plant(source, NOBODY.pw_uid, NOBODY.pw_gid, files=100)
    job = slurm.striped(
        f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/r type=directory",
        f"#DW stage_out source=$DW_JOB_STRIPED/r destination={place}/r type=directory",
        mib=64,
    ).begin("c1")
    succeeded(job.post_run())
    refused(job.data_out())
    succeeded(job.teardown())
    try:
        yield job
    finally:
        for kept in slurm.kept():
            os.chown(place, NOBODY.pw_uid, NOBODY.pw_gid)
            slurm.site.ask("stage-out", kept["token"])
        for path in (place, source):
            subprocess.run(["rm", "-rf", str(path)], check=True)


def allow(job: Job) -> None:
    os.chown(home(job.slurm) / "closed", job.owner.pw_uid, job.owner.pw_gid)


def test_teardown_keeps_data_that_could_not_be_staged_out_and_frees_the_token(slurm: Slurm, owed: Job) -> None:
    assert slurm.tokens() == set()
    assert slurm.read("show_instances") == []
    assert slurm.free() == 5
    (kept,) = slurm.kept()
    assert (kept["owner"], kept["mounts"]) == (NOBODY.pw_uid, "")
    succeeded(owed.setup())
    assert slurm.tokens() == {owed.token}


def test_what_is_owed_is_staged_out_later_and_its_bricks_are_freed(slurm: Slurm, owed: Job) -> None:
    original = picture(bytes(home(slurm) / "results"))
    (kept,) = slurm.kept()
    allow(owed)
    assert "staged out" in succeeded(slurm.dacc("stage-out", kept["token"]))
    assert differences(original, picture(bytes(home(slurm) / "closed" / "r"))) == []
    assert slurm.kept() == []
    assert slurm.free() == 6


def test_a_stage_out_that_fails_again_loses_nothing(slurm: Slurm, owed: Job) -> None:
    (kept,) = slurm.kept()
    assert "may not write" in refused(slurm.dacc("stage-out", owed.token))
    assert slurm.kept()[0]["token"] == kept["token"]
    allow(owed)
    succeeded(slurm.dacc("stage-out", owed.token))
    assert slurm.kept() == []


def test_a_job_id_can_owe_twice(slurm: Slurm, owed: Job) -> None:
    owed.begin("c1")
    succeeded(owed.post_run())
    refused(owed.data_out())
    succeeded(owed.teardown())
    first, second = (one["token"] for one in slurm.kept())
    line = refused(slurm.dacc("stage-out", owed.token))
    assert first in line
    assert second in line
    allow(owed)
    succeeded(slurm.dacc("stage-out", first), slurm.dacc("stage-out", second))
    assert slurm.free() == 6


def test_a_teardown_without_data_out_stages_out_first(slurm: Slurm) -> None:
    job = after_running(
        slurm, 'echo result > "$DW_JOB_STRIPED/x"', f"#DW stage_out source=$DW_JOB_STRIPED/x destination={home(slurm)}/late type=file"
    )
    succeeded(job.teardown())
    assert (home(slurm) / "late").read_text() == "result\n"
    assert slurm.kept() == []


def test_a_teardown_in_a_hurry_stages_nothing_out(slurm: Slurm) -> None:
    job = after_running(
        slurm, 'echo x > "$DW_JOB_STRIPED/x"', f"#DW stage_out source=$DW_JOB_STRIPED/x destination={home(slurm)}/never type=file"
    )
    succeeded(job.teardown(hurry=True))
    assert not (home(slurm) / "never").exists()
    assert slurm.kept() == []


def test_a_job_that_never_ran_owes_nothing(slurm: Slurm) -> None:
    job = slurm.striped(f"#DW stage_out source=$DW_JOB_STRIPED/x destination={home(slurm)}/x type=file")
    succeeded(job.setup(), job.data_in(), job.teardown())
    assert slurm.kept() == []
    assert slurm.free() == 6


def ask_as(slurm: Slurm, everyone: Installation, user: pwd.struct_passwd, *args: str) -> Answer:
    """A call of ``dacc`` by a user."""
    environment = slurm.site.env()
    argv = [*as_user(user), f"{everyone.bin}/dacc", *args]
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return Answer(done.returncode, done.stdout)


def test_only_the_owner_and_operators_may_stage_out_what_is_owed(slurm: Slurm, owed: Job, everyone: Installation) -> None:
    (kept,) = slurm.kept()
    allow(owed)
    assert "may not" in refused(ask_as(slurm, everyone, WEB, "stage-out", kept["token"]))
    assert slurm.kept()[0]["token"] == kept["token"]
    succeeded(ask_as(slurm, everyone, NOBODY, "stage-out", kept["token"]))
    assert slurm.kept() == []
    assert (home(slurm) / "closed" / "r").stat().st_uid == NOBODY.pw_uid


# --- stopping a copy ---


def copying(slurm: Slurm) -> Job:
    """A job whose data_in has only just begun: there is too much to copy for it to end by itself soon."""
    source = home(slurm) / "much"
    if not source.exists():
        source.mkdir()
        for number in range(4000):
            (source / f"f{number}").write_bytes(b"x" * 4000)
    return slurm.striped(f"#DW stage_in source={source} destination=$DW_JOB_STRIPED/x type=directory", mib=64)


def rsyncs(slurm: Slurm) -> list[str]:
    """The processes that copy at this site."""
    return [one for one in processes(str(slurm.site.directory / "home")) if "rsync" in one]


def test_a_teardown_in_a_hurry_ends_a_copy_before_it_deletes(slurm: Slurm) -> None:
    job = copying(slurm)
    succeeded(job.setup())
    client = slurm.start("data_in", "--token", job.token, "--job", str(job.script))
    try:
        until(lambda: running(slurm, job) == "stage_in" and rsyncs(slurm), "the copy runs")
        begun = time.monotonic()
        succeeded(job.teardown(hurry=True))
        assert rsyncs(slurm) == []
        assert time.monotonic() - begun < 15
    finally:
        answer = finish(client)
    assert "superseded by teardown" in refused(answer)
    assert slurm.tokens() == set()


def test_scancel_kills_the_waiting_client_and_the_teardown_ends_the_copy(slurm: Slurm) -> None:
    job = copying(slurm)
    succeeded(job.setup())
    client = slurm.start("data_in", "--token", job.token, "--job", str(job.script))
    until(lambda: running(slurm, job) == "stage_in" and rsyncs(slurm), "the copy runs")
    os.killpg(client.pid, signal.SIGTERM)
    time.sleep(0.01)  # as long as Slurm waits
    os.killpg(client.pid, signal.SIGKILL)
    finish(client)
    assert rsyncs(slurm) != [], "the end of a client ends no copy"
    succeeded(job.teardown(hurry=True))
    assert rsyncs(slurm) == []
    assert slurm.tokens() == set()


def running(slurm: Slurm, job: Job) -> str:
    """The step that runs for a job."""
    found = {one["token"]: one["running"] for one in slurm.site.ask("status")["sessions"]}
    return str(found.get(job.token, ""))


def test_its_owner_may_give_up_what_is_owed(slurm: Slurm, owed: Job) -> None:
    (kept,) = slurm.kept()
    line = succeeded(slurm.dacc("discard", "--yes", owed.token))
    assert line == f"session {kept['token']}: discarded\n"
    assert slurm.kept() == []
    assert slurm.free() == 6


def test_only_kept_sessions_can_be_discarded(slurm: Slurm) -> None:
    job = slurm.striped()
    succeeded(job.setup())
    assert "is not a kept one" in refused(slurm.dacc("discard", "--yes", job.token))
    assert slurm.tokens() == {job.token}
