"""What Slurm polls: always what was just written, also from a full pool and to many clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.support.waiting import until

from .slurm import MIB, Slurm, finish, refused, succeeded

SITE = {"backing": "none", "bricks": 30}
BRICKS = 60


def test_show_sessions_lists_what_setup_and_create_persistent_just_made(slurm: Slurm) -> None:
    def once(number: int) -> None:
        if number % 4:
            job = slurm.striped()
            succeeded(job.setup())
            token = job.token
        else:
            token = f"buffer{number}"
            succeeded(slurm.create(token))
        assert token in slurm.tokens()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(once, range(BRICKS)))
    assert len(slurm.tokens()) == BRICKS
    assert slurm.free() == 0


def test_show_sessions_lists_a_job_each_of_a_hundred_times(slurm: Slurm) -> None:
    def often(_: int) -> None:
        for _ in range(25):
            job = slurm.striped()
            succeeded(job.setup())
            assert job.token in slurm.tokens()
            succeeded(job.teardown())
            assert job.token not in slurm.tokens()
            slurm.jobs.remove(job)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(often, range(4)))


def test_ids_and_sizes_are_numbers_and_link_to_each_other(slurm: Slurm) -> None:
    job = slurm.striped(mib=64)
    succeeded(job.setup())
    slurm.create("buffer")
    sessions = {row["token"]: row for row in slurm.read("show_sessions")}
    instances = {row["id"]: row for row in slurm.read("show_instances")}
    assert sessions[job.token]["id"] == int(job.token)
    assert sessions["buffer"]["id"] >= 2**27
    assert {row["links"]["session"] for row in instances.values()} == {row["id"] for row in sessions.values()}
    assert instances[int(job.token)]["capacity"]["bytes"] == 64 * MIB
    assert {row["links"]["instance"] for row in slurm.read("show_configurations")} == instances.keys()


def test_jobs_without_a_buffer_of_their_own_start_when_the_pool_is_full(slurm: Slurm) -> None:
    slurm.create("first")
    succeeded(slurm.striped(mib=32 * (BRICKS - 1)).setup())
    assert slurm.free() == 0
    uses = slurm.job("#DW persistentdw name=first").begin("c1")
    creates = slurm.job("#BB create_persistent name=other capacity=32MiB access_mode=striped type=scratch")
    succeeded(creates.process(), creates.setup(), creates.data_in(), creates.post_run(), creates.data_out())
    uses.end()
    creates.end()


def test_setup_tells_what_is_free_and_what_could_ever_be(slurm: Slurm) -> None:
    succeeded(slurm.striped(mib=32 * (BRICKS - 2)).setup())
    job = slurm.striped(mib=96)
    with job.waiting():
        assert f"has 2 free of {BRICKS} bricks and 3 are needed" in job.why()
    line = refused(slurm.striped(mib=32 * BRICKS + 1).setup())
    assert f"ask for at most {32 * MIB * BRICKS} bytes" in line
    assert len(slurm.tokens()) == 2


def test_two_jobs_that_want_the_last_bricks_do_not_both_get_them(slurm: Slurm) -> None:
    succeeded(slurm.striped(mib=32 * (BRICKS - 2)).setup())
    clients = {slurm.start("setup", *job.setup_args): job for job in [slurm.striped() for _ in range(8)]}
    while clients:
        through = until(lambda: [client for client in clients if client.poll() is not None], "some have got theirs")
        assert len(through) <= 2
        for client in through:
            succeeded(finish(client), clients.pop(client).teardown())
    assert slurm.free() == 2
