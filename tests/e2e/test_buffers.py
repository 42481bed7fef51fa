"""Persistent buffers: who may use them, what they share, and how they end while somebody uses them."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.waiting import until

from .slurm import GAMES, MIB, Job, Slurm, finish, refused, succeeded

SITE = {
    "provider": {"faults": [{"call": "create", "token": "slow", "delay": 1.5}]},
    "extra": {"slurm": {"buffer_wait": 2}},
}


def user_of(slurm: Slurm, *buffers: str, **options: Any) -> Job:
    """A job that uses persistent buffers and has none of its own."""
    return slurm.job(*(f"#DW persistentdw name={name}" for name in buffers), **options)


def mounted(slurm: Slurm, node: str, name: str) -> bool:
    table = subprocess.run(slurm.site.on(node, ["cat", "/proc/self/mounts"]), check=True, capture_output=True, text=True).stdout
    return f"_persistent_{name} " in table


def test_three_jobs_of_its_owner_use_a_buffer_at_once(slurm: Slurm) -> None:
    creator = slurm.job("#BB create_persistent name=shared capacity=32MiB access_mode=striped type=scratch")
    succeeded(creator.process())
    assert "created" in succeeded(slurm.create("shared", "-a", "striped", "-T", "scratch"))
    succeeded(creator.setup(), creator.data_in())
    creator.end()
    jobs = [user_of(slurm, "shared") for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda job, node: job.begin(node), jobs, ("c1", "c2", "c3")))
    jobs[0].does("c1", 'echo "from the first" > "$DW_PERSISTENT_STRIPED_shared/x"')
    assert [job.does(node, 'cat "$DW_PERSISTENT_STRIPED_shared/x"') for job, node in zip(jobs[1:], ("c2", "c3"))] == [
        "from the first\n"
    ] * 2
    for job in jobs:
        job.end()
    assert not any(mounted(slurm, node, "shared") for node in ("c1", "c2", "c3"))
    succeeded(slurm.destroy("shared"))
    assert slurm.tokens() == set()


def test_two_jobs_on_one_node_have_the_buffer_at_paths_of_their_own(slurm: Slurm) -> None:
    slurm.create("both")
    first, second = user_of(slurm, "both").begin("c1"), user_of(slurm, "both").begin("c1")
    first.end()
    second.does("c1", 'echo still there > "$DW_PERSISTENT_STRIPED_both/x"')
    assert mounted(slurm, "c1", "both")


def test_create_persistent_without_access_and_type_makes_a_buffer_of_the_users_group(slurm: Slurm) -> None:
    assert "created" in succeeded(slurm.create("plain", owner=GAMES))
    (session,) = slurm.read("show_sessions")
    assert (session["token"], session["owner"]) == ("plain", GAMES.pw_uid)
    assert slurm.read("show_instances")[0]["capacity"]["bytes"] == 32 * MIB
    job = user_of(slurm, "plain", owner=GAMES).begin("c1")
    assert job.does("c1", 'stat -c "%u %g" "$DW_PERSISTENT_STRIPED_plain"') == f"{GAMES.pw_uid} {GAMES.pw_gid}\n"


def test_a_name_that_no_variable_can_have_is_written_with_underscores(slurm: Slurm) -> None:
    slurm.create("my_buf-1.x")
    job = user_of(slurm, "my_buf-1.x").begin("c1")
    job.does("c1", 'test -d "$DW_PERSISTENT_STRIPED_my_buf_1_x"')


def test_a_buffer_is_refused_to_another_user(slurm: Slurm) -> None:
    slurm.create("mine")
    line = refused(user_of(slurm, "mine", owner=GAMES).setup())
    assert f"uid {GAMES.pw_uid} may not use persistent buffer mine" in line


def test_a_job_submitted_before_the_buffers_creation_uses_it(slurm: Slurm) -> None:
    job = user_of(slurm, "later")
    succeeded(job.process())
    slurm.create("later")
    job.begin("c1").does("c1", 'test -d "$DW_PERSISTENT_STRIPED_later"')


def test_a_job_waits_for_a_buffer_that_is_being_made(slurm: Slurm) -> None:
    slurm.buffers.append("slow")
    creation = slurm.start("create_persistent", "-c", "CLI", "-t", "slow", "-u", "65534", "-C", f"default:{32 * MIB}")
    until(lambda: "slow" in slurm.tokens(), "the buffer is listed")
    assert creation.poll() is None
    succeeded(user_of(slurm, "slow").setup())
    assert "created" in succeeded(finish(creation))


def test_a_job_may_be_submitted_before_the_one_that_makes_its_buffer(slurm: Slurm) -> None:
    job = user_of(slurm, "later")
    setup = slurm.start("setup", *job.setup_args)
    succeeded(slurm.create("later"))
    succeeded(finish(setup))


@pytest.mark.parametrize(
    "directive",
    ["#DW persistentdw name=nosuch", "#DW persistentdw nam=foo x=y", "#DW persistentdw name=1001"],
    ids=["unknown", "misspelt", "a job"],
)
def test_setup_refuses_a_job_whose_buffer_cannot_be_meant(slurm: Slurm, directive: str) -> None:
    slurm.striped().setup()
    job = slurm.job(directive)
    refused(job.setup())
    refused(job.pre_run("c1"))
    succeeded(job.post_run(), job.teardown())


def test_destroying_a_buffer_in_use_names_the_job_and_changes_nothing(slurm: Slurm) -> None:
    slurm.create("busy")
    job = user_of(slurm, "busy").begin("c1")
    line = refused(slurm.destroy("busy"))
    assert f"persistent buffer busy is used by job {job.token}" in line
    job.does("c1", 'echo x > "$DW_PERSISTENT_STRIPED_busy/x"')
    user_of(slurm, "busy").begin("c2").does("c2", 'cat "$DW_PERSISTENT_STRIPED_busy/x"')


def test_destroying_in_a_hurry_takes_the_buffer_from_its_users(slurm: Slurm) -> None:
    slurm.create("taken")
    job = user_of(slurm, "taken").begin("c1", "c2")
    succeeded(slurm.destroy("taken", hurry=True))
    assert not mounted(slurm, "c1", "taken")
    assert not mounted(slurm, "c2", "taken")
    assert slurm.tokens() == {job.token}
    job.end()


def test_a_job_does_not_start_without_its_buffer(slurm: Slurm) -> None:
    slurm.create("gone")
    job = user_of(slurm, "gone")
    succeeded(job.setup(), job.data_in(), slurm.destroy("gone", hurry=True))
    for answer in (job.paths(), job.pre_run("c1")):
        assert "persistent buffer gone does not exist" in refused(answer)
    succeeded(job.teardown(hurry=True))


def test_a_new_buffer_of_the_same_name_is_another_one(slurm: Slurm) -> None:
    slurm.create("again")
    job = user_of(slurm, "again")
    succeeded(job.setup(), slurm.destroy("again", hurry=True), slurm.create("again"))
    refused(job.pre_run("c1"))


def test_data_stays_from_job_to_job(slurm: Slurm) -> None:
    slurm.create("data")
    first = user_of(slurm, "data").begin("c1")
    first.does("c1", 'head -c 1M /dev/urandom > "$DW_PERSISTENT_STRIPED_data/x"')
    digest = first.does("c1", 'sha256sum < "$DW_PERSISTENT_STRIPED_data/x"')
    first.end()
    assert user_of(slurm, "data").begin("c2").does("c2", 'sha256sum < "$DW_PERSISTENT_STRIPED_data/x"') == digest


def test_staging_through_a_persistent_buffer(slurm: Slurm) -> None:
    slurm.create("stage")
    home = slurm.site.directory / "home" / "nobody"
    (home / "in").write_text("staged")
    job = slurm.job(
        "#DW persistentdw name=stage",
        f"#DW stage_in source={home}/in destination=$DW_PERSISTENT_STRIPED_stage/x type=file",
        f"#DW stage_out source=$DW_PERSISTENT_STRIPED_stage/x destination={home}/out type=file",
    )
    succeeded(job.process())
    assert job.begin("c1").does("c1", 'cat "$DW_PERSISTENT_STRIPED_stage/x"') == "staged"
    job.end()
    assert (home / "out").read_text() == "staged"
