"""Calls that no daemon answers: they read the store themselves, record goals and wait, and never make anything up."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from dacc_core.keystore.sqlite.store import SqliteKeystore
from tests.support.waiting import until

from .conftest import open_site
from .installation import Installation
from .slurm import NOBODY, Answer, Slurm, as_user, finish, refused, succeeded

READS = ("pools", "show_instances", "show_sessions", "show_configurations")


@pytest.fixture(scope="module")
def built() -> Iterator[Slurm]:
    """A site without daemons whose configuration was never used."""
    with open_site(start=False, hosts=1) as slurm:
        yield slurm


@pytest.fixture
def silent(built: Slurm) -> Iterator[Slurm]:
    """A site whose daemons have gone, after a job was set up and staged in."""
    built.site.start()
    job = built.striped()
    succeeded(job.setup(), job.data_in())
    stop(built)
    yield built
    for host in ("dac1", "ctl"):
        if host not in built.site.daemons:
            built.site.start(host)
    built.clean()
    stop(built)


def stop(slurm: Slurm) -> None:
    for host in tuple(slurm.site.daemons):
        slurm.site.stop(host)


@pytest.mark.parametrize("function", READS)
def test_without_a_store_nothing_is_listed(built: Slurm, function: str) -> None:
    hidden = built.site.directory / "nowhere"
    assert "no keystore at" in refused(built.call(function, DACC_STATE_DIR=str(hidden)))
    assert not hidden.exists(), "only a daemon makes a store"


def test_without_a_store_setup_fails(built: Slurm) -> None:
    job = built.striped()
    built.jobs.remove(job)
    hidden = str(built.site.directory / "nowhere")
    assert "no keystore at" in refused(built.call("setup", *job.setup_args, DACC_STATE_DIR=hidden))


def test_a_store_that_no_daemon_used_is_not_an_empty_one(built: Slurm) -> None:
    empty = built.site.directory / "empty"
    SqliteKeystore.create(empty / "store.db", None).close()
    for function in READS:
        assert "never used by a dacd" in refused(built.call(function, DACC_STATE_DIR=str(empty)))
    shutil.rmtree(empty)


@pytest.mark.parametrize("function", READS)
def test_the_store_of_another_cluster_is_not_read(silent: Slurm, function: str) -> None:
    assert "belongs to cluster" in refused(silent.call(function, DACC_CLUSTER="another"))


def test_a_configuration_that_is_wrong_is_one_line(built: Slurm) -> None:
    broken = built.site.directory / "broken.yaml"
    broken.write_text("pools: 7\nnonsense: true\n")
    for function in READS:
        assert "pools" in refused(built.call(function, DACC_CONFIG=str(broken)))


def test_reads_answer_as_the_daemon_did(silent: Slurm) -> None:
    (job,) = silent.jobs
    (session,) = silent.read("show_sessions")
    assert (session["token"], session["owner"], session["id"]) == (job.token, NOBODY.pw_uid, int(job.token))
    assert silent.read("show_instances") == [{"id": int(job.token), "capacity": {"bytes": 32 << 20}, "links": {"session": int(job.token)}}]
    assert silent.read("show_configurations") == [{"id": int(job.token), "links": {"instance": int(job.token)}}]
    (pool,) = silent.read("pools")
    # No storage host is up, so nothing could be taken; but the pool is as large as ever.
    assert (pool["quantity"], pool["granularity"], pool["free"]) == (3, 32 << 20, 0)
    assert job.real_size() >= 32 << 20  # what fits into the filesystem of one brick, of which some is spare
    succeeded(job.process(), job.paths())
    assert job.variables == {"DW_JOB_STRIPED": f"/mnt/dac/{job.token}_job/global"}


def test_reads_answer_after_daemons_were_killed(silent: Slurm) -> None:
    silent.site.start()
    for host in tuple(silent.site.daemons):
        silent.site.kill(host)
    assert silent.tokens() == {job.token for job in silent.jobs}


def test_dwstat_shows_the_same_with_and_without_a_daemon(silent: Slurm) -> None:
    tables = ("sessions", "instances", "configurations")
    without = [succeeded(silent.dwstat(table)) for table in tables]
    silent.site.start()
    assert [succeeded(silent.dwstat(table)) for table in tables] == without
    assert without[0].split("\n")[0].split() == ["sess", "state", "token", "creator", "owner", "created", "expiration", "nodes"]
    pools = succeeded(silent.dwstat()).splitlines()
    assert [line.split() for line in pools] == [
        ["pool", "units", "quantity", "free", "gran"],
        ["default", "bytes", "96MiB", "64MiB", "32MiB"],
    ]


def test_what_a_waiting_call_recorded_is_done_by_a_daemon_that_starts_later(silent: Slurm) -> None:
    (job,) = silent.jobs
    client = silent.start("pre_run", *job.pre_run_args("c1"))
    until(lambda: "pre_run" in silent.dwstat("sessions").output, "the goal is recorded")
    assert client.poll() is None
    silent.site.start("dac1")
    succeeded(finish(client))
    succeeded(job.paths())
    job.does("c1", 'touch "$DW_JOB_STRIPED/x"')


def test_a_teardown_recorded_without_a_daemon_is_done_later(silent: Slurm) -> None:
    (job,) = silent.jobs
    client = silent.start("teardown", "--token", job.token, "--job", str(job.script))
    until(lambda: "teardown" in silent.dwstat("sessions").output, "the goal is recorded")
    assert silent.tokens() == {job.token}, "it is listed until its last brick is free"
    silent.site.start("dac1")
    succeeded(finish(client))
    assert silent.tokens() == set()


def test_a_job_without_a_buffer_needs_no_daemon(silent: Slurm) -> None:
    job = silent.job("#BB create_persistent name=x capacity=32MiB access_mode=striped type=scratch")
    succeeded(job.process(), job.setup(), job.data_in())
    assert job.token in silent.tokens()


def test_setup_without_a_storage_host_waits_for_one_and_says_so_at_its_deadline(silent: Slurm) -> None:
    job = silent.striped()
    impatient = silent.site.directory / "impatient.yaml"
    settings = json.loads((silent.site.directory / "dacc.yaml").read_text())
    impatient.write_text(json.dumps({**settings, "slurm": {"other_timeout": 2}}))
    line = refused(silent.call("setup", *job.setup_args, DACC_CONFIG=str(impatient)))
    assert "still waits for bricks: pool default has 0 free of 3 bricks" in line
    assert line.endswith(": 3 on hosts that are down: ask an operator; call setup again")
    assert job.token in silent.tokens()
    with job.waiting() as client:
        silent.site.start("dac1")
        succeeded(finish(client))


def test_a_buffer_that_waited_in_vain_without_a_daemon_is_listed_no_more(silent: Slurm) -> None:
    impatient = silent.site.directory / "impatient.yaml"
    settings = json.loads((silent.site.directory / "dacc.yaml").read_text())
    impatient.write_text(json.dumps({**settings, "slurm": {"other_timeout": 2}}))
    line = refused(silent.call("create_persistent", "-c", "CLI", "-t", "b", "-u", "65534", "-C", "default:1", DACC_CONFIG=str(impatient)))
    assert "pool default has 0 free of 3 bricks" in line
    assert "b" not in silent.tokens()


def test_a_script_that_does_not_exist_is_an_empty_one_where_no_bricks_are_reserved(silent: Slurm) -> None:
    job = silent.job()
    job.script.unlink()
    succeeded(job.setup(), job.data_in())
    striped = silent.striped()
    striped.script.unlink()
    assert "cannot be read" in refused(striped.setup())


def test_unknown_tokens_are_tolerated_as_slurm_needs(silent: Slurm) -> None:
    job = silent.job()
    succeeded(job.post_run(), job.data_out(), job.teardown(), job.teardown(hurry=True))
    assert "No matching session" in job.data_in().output


def test_a_user_who_may_not_read_the_store_gets_one_line(silent: Slurm, everyone: Installation) -> None:
    for function in READS:
        line = refused(ask_as_stranger(silent, everyone, "fakewarp", "--function", function))
        assert "store" in line
    assert "store" in refused(ask_as_stranger(silent, everyone, "dwstat"))
    assert "dacd" in refused(ask_as_stranger(silent, everyone, "dacc", "status"))


def ask_as_stranger(slurm: Slurm, everyone: Installation, program: str, *args: str) -> Answer:
    argv = [*as_user(NOBODY), f"{everyone.bin}/{program}", *args]
    done = subprocess.run(argv, env=slurm.site.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return Answer(done.returncode, done.stdout)


def test_dacc_says_which_daemon_does_not_answer(silent: Slurm) -> None:
    line = refused(silent.dacc("status", "--json"))
    assert silent.site.socket() in line
    with pytest.raises(json.JSONDecodeError):
        json.loads(line)
