"""Which session a call is about that ends one: what a repeated call may do when its job has been requeued, whatever clocks say."""

from __future__ import annotations

import pytest

from dacc_core.simulation.daemon import SKEW

from .driver import OWNER, STAGED, STRANGER, Slurm, cluster, lines, refused, succeeded

ENDINGS = ["post_run", "data_out", "teardown"]
UNSURE = 121.0
"""Seconds after which a call that was told nothing may be of a former run of its job."""


@pytest.fixture
def slurm() -> Slurm:
    return cluster()


def ran(slurm: Slurm, node: int = 0) -> str:
    """A job that has its buffer mounted; the key of its session."""
    assert succeeded(slurm.setup("7", STAGED, node=node))
    assert succeeded(slurm.job("data_in", "7", node=node))
    assert succeeded(slurm.pre_run("7", node=node))
    session = slurm.session("7")
    assert session is not None
    return session.identity


def served(slurm: Slurm, function: str) -> bool:
    """Whether the call did what it is for."""
    if function == "teardown":
        return slurm.session("7") is None
    return slurm.mounts("/mnt/dac/7_job") == set() and (function == "post_run" or slurm.status("7").stage_out == "done")


@pytest.mark.parametrize("function", ENDINGS)
@pytest.mark.parametrize("skew", [-SKEW, SKEW])
def test_a_session_is_served_by_a_daemon_whose_clock_is_wrong(slurm: Slurm, function: str, skew: float) -> None:
    slurm.cores[0].skew, slurm.cores[1].skew = skew, -skew
    ran(slurm, node=0)
    assert succeeded(slurm.job(function, "7", node=1))
    assert served(slurm, function)


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_is_told_once_which_session_it_is_about(slurm: Slurm, function: str) -> None:
    key = ran(slurm)
    reply = slurm.begin_job(function, "7")
    slurm.finish(reply)
    assert reply.told == [key]


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_is_told_before_its_answer(slurm: Slurm, function: str) -> None:
    key = ran(slurm)
    reply = slurm.begin_job(function, "7")
    slurm.until(lambda: reply.told == [key])
    assert reply.answer is None


@pytest.mark.parametrize("function", ENDINGS)
def test_a_repeated_call_serves_the_session_that_it_names(slurm: Slurm, function: str) -> None:
    key = ran(slurm)
    assert succeeded(slurm.job(function, "7", session=key))
    assert served(slurm, function)


@pytest.mark.parametrize("function", ENDINGS)
@pytest.mark.parametrize("skew", [-SKEW, 0.0, SKEW])
def test_a_repeated_call_leaves_the_next_session_of_the_token_alone(slurm: Slurm, function: str, skew: float) -> None:
    former = ran(slurm)
    assert succeeded(slurm.teardown("7", hurry=True))
    slurm.cores[1].skew = skew  # the next one may seem to be older than the one before
    ran(slurm, node=1)
    revision = slurm.sim.rules.revision()
    answer = slurm.job(function, "7", session=former)
    assert (answer.rc, answer.stdout) == (0, "" if function == "post_run" else "No matching session: token not found: 7\n")
    assert slurm.sim.rules.revision() == revision
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}


@pytest.mark.parametrize("function", ENDINGS)
def test_a_repeated_call_does_not_take_a_view_that_is_behind_for_the_truth(slurm: Slurm, function: str) -> None:
    """Its own session is newer than what the daemon that it asks now has heard of."""
    ran(slurm)
    slurm.cores[1].cut_until = slurm.sim.now.mono + 30.0
    assert succeeded(slurm.teardown("7", hurry=True))
    key = ran(slurm)
    assert succeeded(slurm.job(function, "7", node=1, session=key))
    assert served(slurm, function)


@pytest.mark.parametrize("function", ENDINGS)
def test_a_first_call_does_not_take_a_view_that_is_behind_for_the_truth(slurm: Slurm, function: str) -> None:
    ran(slurm)
    assert succeeded(slurm.job("post_run", "7"))
    slurm.sim.run(1.0)
    slurm.cores[1].cut_until = slurm.sim.now.mono + 30.0
    assert succeeded(slurm.teardown("7", hurry=True))
    ran(slurm)
    slurm.sim.run(5.0)
    assert succeeded(slurm.job(function, "7", node=1))
    assert served(slurm, function)


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_goes_on_to_mean_its_session_when_that_is_replaced_while_it_waits(slurm: Slurm, function: str) -> None:
    ran(slurm)
    reply = slurm.begin_job(function, "7", node=1)
    slurm.until(lambda: bool(reply.told))
    slurm.cores[1].cut_until = slurm.sim.now.mono + 30.0
    assert succeeded(slurm.teardown("7", hurry=True))
    ran(slurm)
    slurm.finish(reply)
    slurm.sim.run(10.0)
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_that_was_never_told_its_session_for_long_is_refused_rather_than_guessed(slurm: Slurm, function: str) -> None:
    ran(slurm)
    assert "call again" in refused(slurm.job(function, "7", waited=UNSURE))
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_that_was_told_its_session_may_be_repeated_for_as_long_as_it_likes(slurm: Slurm, function: str) -> None:
    key = ran(slurm)
    assert succeeded(slurm.job(function, "7", session=key, waited=80_000.0))
    assert served(slurm, function)


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_that_waited_long_for_its_daemon_learns_that_there_is_no_session(slurm: Slurm, function: str) -> None:
    assert slurm.job(function, "7", waited=UNSURE).rc == 0


@pytest.mark.parametrize("function", ENDINGS)
def test_a_call_that_waited_for_the_store_since_before_the_session_was_replaced_is_refused(slurm: Slurm, function: str) -> None:
    """The daemon has read nothing yet when the call comes, and is cut off until long after."""
    ran(slurm)
    node = slurm.cores[2]
    node.crash()
    node.cut_until = slurm.sim.now.mono + UNSURE
    node.start()
    reply = slurm.begin_job(function, "7", node=2)
    assert succeeded(slurm.teardown("7", hurry=True))
    ran(slurm)
    assert "call again" in refused(slurm.finish(reply)[0])
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}


def test_a_session_without_a_filesystem_of_its_own_is_told_apart_too(slurm: Slurm) -> None:
    script = "#!/bin/sh\n#DW persistentdw name=climate\n"
    assert slurm.create("climate").rc == 0
    assert succeeded(slurm.setup("7", script, capacity="default:0"))
    reply = slurm.begin_job("post_run", "7")
    slurm.finish(reply)
    assert succeeded(slurm.teardown("7"))
    assert succeeded(slurm.setup("7", script, capacity="default:0"))
    assert succeeded(slurm.pre_run("7"))
    assert succeeded(slurm.job("post_run", "7", session=reply.told[0]))
    assert slurm.mounts("/mnt/dac/7_persistent_climate") == {"c1", "c2"}


@pytest.mark.parametrize("function", ["data_out", "teardown"])
def test_an_owner_is_told_and_a_stranger_is_not(slurm: Slurm, function: str) -> None:
    key = ran(slurm)
    assert succeeded(slurm.job("post_run", "7"))  # an owner copies nothing out under his running job
    strange, own = slurm.begin_job(function, "7", caller=STRANGER), slurm.begin_job(function, "7", caller=OWNER)
    slurm.finish(strange, own)
    assert (strange.told, own.told) == ([], [key])


def test_a_stranger_learns_nothing_by_naming_a_session(slurm: Slurm) -> None:
    key = ran(slurm)
    answers = [slurm.job("teardown", "7", caller=STRANGER, session=named) for named in ("", key)]
    assert lines(answers[0]) == lines(answers[1])
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}


@pytest.mark.parametrize("hurry", [False, True])
def test_a_repeated_destroy_leaves_the_next_buffer_of_the_name_alone(slurm: Slurm, hurry: bool) -> None:
    assert slurm.create("climate").rc == 0
    reply = slurm.begin_teardown("climate")
    slurm.finish(reply)
    assert slurm.create("climate").rc == 0
    answer = slurm.teardown("climate", hurry=hurry, session=reply.told[0])
    assert (answer.rc, answer.stdout) == (0, "No matching session: token not found: climate\n")
    buffer = slurm.session("climate")
    assert buffer is not None
    assert (buffer.goal.filesystem, buffer.ending) == ("ready", 0.0)
