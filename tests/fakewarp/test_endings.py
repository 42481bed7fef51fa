"""After a job: post_run, data_out, teardown. Slurm repeats them until they succeed."""

from __future__ import annotations

import pytest

from dacc_core.errors import Unavailable
from dacc_core.simulation.world import SimMover

from .driver import OWNER, STAGED, STRIPED, Slurm, cluster, refused, succeeded


@pytest.fixture
def slurm() -> Slurm:
    return cluster()


def ran(slurm: Slurm, job: str = "7", script: str = STAGED) -> None:
    """A job that has its buffer mounted."""
    assert succeeded(slurm.setup(job, script))
    assert succeeded(slurm.job("data_in", job))
    assert succeeded(slurm.pre_run(job))


def break_mover(monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(*_: object) -> None:
        raise Unavailable(why="the disk of /home is on fire")

    monkeypatch.setattr(SimMover, "copy", copy)


# --- unknown tokens ---


def test_post_run_of_an_unknown_token_succeeds(slurm: Slurm) -> None:
    # Slurm tolerates no words here, only success.
    assert succeeded(slurm.job("post_run", "99"))


def test_data_out_of_an_unknown_token_succeeds_with_the_words_that_slurm_looks_for(slurm: Slurm) -> None:
    answer = slurm.job("data_out", "99")
    assert answer.rc == 0
    assert answer.stdout.startswith("No matching session")


@pytest.mark.parametrize("hurry", [False, True])
def test_teardown_of_an_unknown_token_succeeds_with_the_words_that_slurm_looks_for(slurm: Slurm, hurry: bool) -> None:
    answer = slurm.teardown("99", hurry=hurry)
    assert answer.rc == 0
    assert "token not found: 99" in answer.stdout


def test_an_unknown_token_costs_one_transaction_and_no_revision(slurm: Slurm) -> None:
    revision = slurm.sim.rules.revision()
    reply = slurm.begin_teardown("99")
    slurm.finish(reply)
    assert reply.commits == 1
    assert slurm.sim.rules.revision() == revision


# --- post_run ---


def test_post_run_of_a_job_that_never_started_succeeds(slurm: Slurm) -> None:
    slurm.setup("7")
    assert succeeded(slurm.job("post_run", "7"))


def test_post_run_while_the_session_is_torn_down_waits_for_that(slurm: Slurm) -> None:
    ran(slurm)
    ending = slurm.ending("7", hurry=True)
    assert succeeded(slurm.job("post_run", "7", node=1))
    assert slurm.mounts("/mnt/dac/7_job") == set()
    assert succeeded(slurm.finish(ending)[0])


def test_post_run_that_a_teardown_overtakes_succeeds(slurm: Slurm) -> None:
    ran(slurm)
    unmounting = slurm.begin_job("post_run", "7")
    slurm.until(lambda: (session := slurm.session("7")) is not None and session.goal.verb == "post_run")
    answers = slurm.finish(unmounting, slurm.begin_teardown("7", hurry=True, node=1))
    assert [answer.rc for answer in answers] == [0, 0]


def test_post_run_does_not_wait_for_a_node_that_is_gone(slurm: Slurm) -> None:
    ran(slurm)
    slurm.sim.world.down.add("c1")
    assert succeeded(slurm.job("post_run", "7"))
    assert slurm.status("7").dirty == "c1"


# --- data_out ---


def test_data_out_copies_once(slurm: Slurm) -> None:
    ran(slurm)
    slurm.job("post_run", "7")
    assert succeeded(slurm.job("data_out", "7"))
    revision = slurm.sim.rules.revision()
    assert succeeded(slurm.job("data_out", "7"))
    assert slurm.sim.rules.revision() == revision


def test_data_out_unmounts_first_when_that_is_still_owed(slurm: Slurm) -> None:
    ran(slurm)
    assert succeeded(slurm.job("data_out", "7"))
    assert slurm.status("7").stage_out == "done"


def test_data_out_that_failed_is_tried_again(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(slurm)
    with monkeypatch.context() as broken:
        break_mover(broken)
        assert "on fire" in refused(slurm.job("data_out", "7"))
        assert "on fire" in refused(slurm.job("data_out", "7"))
    assert succeeded(slurm.job("data_out", "7"))


def test_data_out_while_the_session_is_torn_down_is_refused(slurm: Slurm) -> None:
    ran(slurm)
    ending = slurm.ending("7", hurry=True)
    assert "being torn down" in refused(slurm.job("data_out", "7"))
    assert succeeded(slurm.finish(ending)[0])


# --- teardown ---


@pytest.mark.parametrize("hurry", [False, True])
def test_teardown_frees_the_bricks_from_every_stage(slurm: Slurm, hurry: bool) -> None:
    slurm.setup("7", STAGED)
    assert succeeded(slurm.teardown("7", hurry=hurry))
    ran(slurm)
    assert succeeded(slurm.teardown("7", hurry=hurry))
    ran(slurm)
    slurm.job("data_out", "7")
    assert succeeded(slurm.teardown("7", hurry=hurry))
    assert (slurm.free(), slurm.listed()) == (9, set())


def test_a_session_is_listed_until_teardown_is_done(slurm: Slurm) -> None:
    slurm.setup("7")
    ending = slurm.ending("7")
    assert slurm.listed() == {"7"}
    slurm.finish(ending)
    assert slurm.listed() == set()


def test_teardown_copies_out_what_is_owed(slurm: Slurm) -> None:
    ran(slurm)
    (volume,) = slurm.sim.world.volumes.values()
    assert succeeded(slurm.teardown("7"))
    assert not volume.precious


def test_teardown_whose_stage_out_fails_keeps_the_data_and_tells_slurm_that_it_is_done(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(slurm)
    break_mover(monkeypatch)
    assert succeeded(slurm.teardown("7"))
    assert slurm.listed() == set()
    assert slurm.free() == 7
    assert "its stage_out is owed" in slurm.dwstat("sessions").stdout


def test_a_kept_session_is_out_of_slurms_reach(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(slurm)
    with monkeypatch.context() as broken:
        break_mover(broken)
        slurm.teardown("7")
    (kept,) = (name for name in slurm.sim.rules.records().sessions)
    answer = slurm.teardown(kept, hurry=True)
    assert (answer.rc, "token not found" in answer.stdout) == (0, True)
    assert "token not found" in refused(slurm.teardown(kept, hurry=True, caller=OWNER))
    assert slurm.session(kept) is not None


def test_teardown_of_what_cannot_be_deleted_succeeds_and_quarantines(slurm: Slurm) -> None:
    slurm.setup("7")
    session = slurm.session("7")
    assert session is not None
    assert session.volume is not None
    slurm.sim.world.down.update(session.volume.hosts)
    (answer,) = slurm.finish(slurm.begin_teardown("7"), within=290)
    assert succeeded(answer)
    slurm.sim.world.down.clear()
    assert slurm.free() == 7


# --- repeated: in parallel, after success, after failure ---


@pytest.mark.parametrize("function", ["data_in", "post_run", "data_out"])
def test_a_function_called_several_times_at_once_succeeds_each_time(slurm: Slurm, function: str) -> None:
    ran(slurm)
    answers = slurm.finish(*(slurm.begin_job(function, "7", node=node) for node in (0, 0, 1, 2)))
    assert [(answer.rc, answer.stdout) for answer in answers] == [(0, "")] * 4


def test_pre_run_called_several_times_at_once_succeeds_each_time(slurm: Slurm) -> None:
    slurm.setup("7", STAGED)
    answers = slurm.finish(*(slurm.begin_pre_run("7", node=node) for node in (0, 0, 1, 2)))
    assert [answer.rc for answer in answers] == [0] * 4


def test_teardown_called_several_times_at_once_succeeds_each_time(slurm: Slurm) -> None:
    ran(slurm)
    answers = slurm.finish(*(slurm.begin_teardown("7", node=node, hurry=hurry) for node, hurry in ((0, False), (0, True), (1, True))))
    assert [answer.rc for answer in answers] == [0] * 3


def test_every_function_can_be_repeated_ten_times(slurm: Slurm) -> None:
    steps = [
        lambda: slurm.setup("7", STAGED),
        lambda: slurm.job("data_in", "7"),
        lambda: slurm.call("--function", "real_size", "--token", "7"),
        lambda: slurm.paths("7"),
        lambda: slurm.pre_run("7"),
        lambda: slurm.job("post_run", "7"),
        lambda: slurm.job("data_out", "7"),
    ]
    for step in steps:
        answers = [step() for _ in range(10)]
        assert answers[0].rc == 0
        assert answers == [answers[0]] * 10
    assert [slurm.teardown("7").rc for _ in range(10)] == [0] * 10


def test_a_setup_that_failed_can_be_repeated(slurm: Slurm) -> None:
    slurm.sim.world.down.update({"s1", "s2", "s3"})
    assert refused(slurm.setup("7", STRIPED))
    slurm.sim.world.down.clear()
    assert succeeded(slurm.setup("7", STRIPED))


def test_a_pre_run_that_failed_can_be_repeated(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.sim.world.down.add("c1")
    assert refused(slurm.pre_run("7"))
    slurm.sim.world.down.clear()
    assert succeeded(slurm.pre_run("7"))
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}
