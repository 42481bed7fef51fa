"""A pool that is full: calls wait, listed, until bricks are free, their session is torn down, or Slurm would end them."""

from __future__ import annotations

import json

import pytest

from dacc_core.lifecycle.explain import explain
from dacc_core.registry.records import Request
from dacc_core.simulation.cluster import answered
from dacc_core.simulation.operators import OPERATOR
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.forgetting import forget
from dacc_core.verbs.hosts import drain
from dacc_core.verbs.operators import overview

from .driver import NODES, STAGED, STRIPED, Reply, Slurm, cluster, refused, slurm_json, succeeded

USES = "#DW persistentdw name=shared\n"
FULL = "pool default has 1 free of 9 bricks and 2 are needed (200 bytes in units of 100): wait for other jobs to end"


@pytest.fixture
def slurm() -> Slurm:
    """Job 7 has all bricks but one."""
    slurm = cluster()
    assert succeeded(slurm.setup("7", capacity="default:800"))
    return slurm


def waiting(slurm: Slurm, job: str = "8", script: str = STRIPED, **more: object) -> Reply:
    """A setup that has been waiting for a while."""
    reply = slurm.begin_setup(job, script, **more)  # type: ignore[arg-type]
    slurm.sim.run(70.0)
    assert reply.answer is None
    return reply


def why(slurm: Slurm, token: str) -> str:
    slurm.sim.rules.revision()
    view = slurm.sim.rules.records()
    return str(explain(view, view.sessions[token].record, 0.0)["waits_for"])


# --- it waits ---


def test_setup_waits_until_another_jobs_end_frees_its_bricks(slurm: Slurm) -> None:
    reply = waiting(slurm)
    assert succeeded(slurm.teardown("7"))
    (answer,) = slurm.finish(reply, within=10.0)
    assert succeeded(answer)
    assert slurm.status("8").filesystem == "ready"
    assert slurm.free() == 7


def test_meanwhile_its_session_is_listed_and_has_no_instance(slurm: Slurm) -> None:
    waiting(slurm)
    assert slurm.listed() == {"7", "8"}
    assert [row["id"] for row in slurm_json(slurm.call("--function", "show_instances"))["instances"]] == [7]


def test_a_setup_that_waits_writes_once(slurm: Slurm) -> None:
    before = slurm.sim.rules.revision()
    reply = waiting(slurm)
    assert reply.commits == 1
    assert slurm.sim.rules.revision() == before + 1


def test_setups_that_wait_take_the_bricks_that_become_free_one_after_the_other(slurm: Slurm) -> None:
    replies = {str(job): slurm.begin_setup(str(job), node=job % 3) for job in range(10, 30)}
    slurm.teardown("7")
    while replies:
        slurm.until(lambda: any(reply.answer for reply in replies.values()), within=10.0)
        job, (answer,) = next((job, slurm.finish(reply)) for job, reply in replies.items() if reply.answer)
        assert succeeded(answer)
        assert succeeded(slurm.teardown(job))
        del replies[job]
    assert slurm.free() == 9


@pytest.mark.parametrize("size", ["default:1000", "default:10N"])
def test_what_never_fits_fails_at_once_and_leaves_nothing(slurm: Slurm, size: str) -> None:
    (answer,) = slurm.finish(slurm.begin_setup("8", capacity=size), within=1.0)
    assert "pool default has 9 bricks in all (1 free now) and 10 are needed" in refused(answer)
    assert slurm.session("8") is None


def test_an_unknown_pool_fails_at_once(slurm: Slurm) -> None:
    (answer,) = slurm.finish(slurm.begin_setup("8", capacity="nosuch:200"), within=1.0)
    assert "pool 'nosuch' does not exist" in refused(answer)


def test_a_pool_that_becomes_too_small_ends_the_wait(slurm: Slurm) -> None:
    slurm = cluster()
    slurm.cores[2].crash()
    slurm.sim.run(20.0)
    reply = waiting(slurm, capacity="default:900")
    verb = lambda context: answered(forget(context, "s3", OPERATOR, frozenset()))  # noqa: E731
    slurm.cores[0].call(verb, "s3", lambda _: None)
    (answer,) = slurm.finish(reply, within=10.0)
    assert "pool default has 6 bricks in all" in refused(answer)
    assert slurm.session("8") is None


# --- how long, and what is said then ---


def test_at_its_deadline_setup_says_what_it_still_waits_for(slurm: Slurm) -> None:
    begun = slurm.sim.now.mono
    (answer,) = slurm.finish(slurm.begin_setup("8"), within=299.0)
    assert 289.0 < slurm.sim.now.mono - begun < 291.0
    assert refused(answer) == f"session 8 still waits for bricks: {FULL}; call setup again"
    assert answer.rc == 75


def test_it_says_what_no_jobs_end_gives_back(slurm: Slurm) -> None:
    slurm.cores[0].call(lambda context: answered(drain(context, "s1,s2", OPERATOR, draining=True)), "s1", lambda _: None)
    reply = slurm.begin_setup("8", capacity="default:400", seconds=30.0)
    assert "bricks and 4 are needed (400 bytes in units of 100): 6 on hosts that are drained: ask" in refused(slurm.finish(reply)[0])


def test_a_repeated_setup_goes_on_from_the_record_of_the_first(slurm: Slurm) -> None:
    refused(slurm.finish(slurm.begin_setup("8", seconds=20.0))[0])
    before = slurm.session("8")
    again = slurm.begin_setup("8")
    slurm.teardown("7")
    assert succeeded(slurm.finish(again)[0])
    after = slurm.session("8")
    assert before is not None
    assert after is not None
    assert (after.created_at, after.claiming, after.wanted) == (before.created_at, False, 0)


def test_a_different_setup_is_refused_and_the_first_goes_on_waiting(slurm: Slurm) -> None:
    reply = waiting(slurm)
    assert "different request" in refused(slurm.setup("8", STAGED))
    slurm.teardown("7")
    assert succeeded(slurm.finish(reply)[0])


@pytest.mark.parametrize("node", [0, 1])
def test_two_setups_of_one_job_wait_for_one_session(slurm: Slurm, node: int) -> None:
    replies = waiting(slurm), waiting(slurm, node=node)
    slurm.teardown("7")
    assert [answer.rc for answer in slurm.finish(*replies)] == [0, 0]
    assert slurm.free() == 7


# --- it is torn down ---


@pytest.mark.parametrize("hurry", [False, True])
@pytest.mark.parametrize("node", [0, 1])
def test_a_teardown_ends_the_wait_and_the_session_is_not_made_anew(slurm: Slurm, hurry: bool, node: int) -> None:
    """Slurm kills the client of a cancelled job, not the call: nobody would ever tear down what that makes later."""
    reply = waiting(slurm)
    assert succeeded(slurm.teardown("8", hurry=hurry, node=node))
    (answer,) = slurm.finish(reply, within=5.0)
    assert "setup of session 8 was superseded by teardown" in refused(answer)
    slurm.teardown("7")
    slurm.sim.run(600.0)
    assert slurm.listed() == set()
    assert slurm.free() == 9


def test_a_teardown_in_the_moment_in_which_bricks_become_free_leaves_nothing(slurm: Slurm) -> None:
    replies = [waiting(slurm)]
    replies += [slurm.begin_teardown("7"), slurm.begin_teardown("8", hurry=True, node=1)]
    slurm.finish(*replies)
    slurm.sim.run(30.0)
    assert slurm.listed() == set()
    assert slurm.free() == 9


def test_the_setup_of_a_requeued_job_is_not_disturbed_by_the_one_that_waited_before(slurm: Slurm) -> None:
    former = waiting(slurm)
    assert succeeded(slurm.teardown("8", hurry=True))
    again = slurm.begin_setup("8", STAGED)
    assert "superseded" in refused(slurm.finish(former)[0])
    slurm.teardown("7")
    assert succeeded(slurm.finish(again)[0])
    session = slurm.session("8")
    assert session is not None
    assert session.request.stage_in


def test_two_setups_of_one_job_are_both_ended_by_its_teardown(slurm: Slurm) -> None:
    replies = waiting(slurm), waiting(slurm, node=1)
    slurm.teardown("8", hurry=True)
    assert ["superseded" in refused(answer) for answer in slurm.finish(*replies)] == [True, True]
    slurm.teardown("7")
    slurm.sim.run(60.0)
    assert slurm.listed() == set()


def test_a_teardown_removes_what_a_setup_left_at_its_deadline(slurm: Slurm) -> None:
    refused(slurm.finish(slurm.begin_setup("8", seconds=20.0))[0])
    assert succeeded(slurm.teardown("8"))
    assert slurm.listed() == {"7"}


# --- other calls for a session that waits ---


@pytest.mark.parametrize("function", ["data_in", "real_size", "paths", "pre_run"])
def test_what_needs_the_filesystem_says_that_the_session_still_waits(slurm: Slurm, function: str) -> None:
    waiting(slurm)
    before = slurm.session("8")
    files = {"nodehostnamefile": NODES}
    more = ("--pathfile", "/p", "--nodehostnamefile", "/n")
    (answer,) = slurm.finish(slurm.begin("--function", function, "--token", "8", *more, files=files), within=1.0)
    assert "session 8 still waits for bricks: pool default has 1 free" in refused(answer)
    assert answer.pathfile is None
    assert slurm.session("8") == before


def test_a_session_without_bricks_has_nothing_to_unmount_or_to_copy_out(slurm: Slurm) -> None:
    waiting(slurm)
    assert succeeded(slurm.job("post_run", "8"))
    assert succeeded(slurm.job("data_out", "8"))


def test_tables_say_that_it_waits_and_for_what(slurm: Slurm) -> None:
    waiting(slurm)
    line = next(line for line in slurm.dwstat("sessions").stdout.splitlines() if " 8 " in line)
    assert " C--T- " in line
    assert line.endswith("  setup waits: 1 of 9 bricks of pool default are free")
    assert " 8 " not in slurm.dwstat("instances").stdout
    slurm.sim.rules.revision()
    (found,) = [one for one in overview(slurm.sim.rules.records(), OPERATOR)["sessions"] if one["token"] == "8"]
    assert (found["met"], found["capacity"], found["waits_for"]) == (False, 0, "bricks")
    assert json.dumps(found)


def test_a_timeline_says_what_was_asked_for_and_what_is_in_the_way(slurm: Slurm) -> None:
    waiting(slurm)
    slurm.sim.rules.revision()
    view = slurm.sim.rules.records()
    found = explain(view, view.sessions["8"].record, 0.0)
    assert found["events"][0]["text"] == "asked for 200 of pool default"
    assert found["waits_for"] == f"bricks: {FULL}"


# --- persistent buffers ---


def test_create_persistent_waits_for_bricks_too(slurm: Slurm) -> None:
    reply = slurm.begin_create("shared")
    slurm.sim.run(70.0)
    assert slurm.listed() == {"7", "shared"}
    slurm.teardown("7")
    assert slurm.finish(reply)[0].stdout == "created\n"


def test_a_buffer_whose_time_is_over_waits_no_longer_since_slurm_asks_for_it_only_once(slurm: Slurm) -> None:
    (answer,) = slurm.finish(slurm.begin_create("shared"), within=299.0)
    assert refused(answer) == FULL.replace("200 bytes", "150 bytes")
    assert answer.rc == 50
    assert slurm.session("shared") is None


def test_a_create_that_is_refused_leaves_the_one_that_waits(slurm: Slurm) -> None:
    reply = slurm.begin_create("shared")
    slurm.sim.run(5.0)
    assert "different request" in refused(slurm.create("shared", "default:300"))
    slurm.teardown("7")
    assert slurm.finish(reply)[0].stdout == "created\n"


def test_a_buffer_that_waits_can_be_destroyed(slurm: Slurm) -> None:
    reply = slurm.begin_create("shared")
    slurm.sim.run(5.0)
    assert succeeded(slurm.teardown("shared"))
    assert "superseded" in refused(slurm.finish(reply)[0])
    assert slurm.listed() == {"7"}


def test_a_job_waits_listed_for_a_buffer_that_waits_for_bricks(slurm: Slurm) -> None:
    making = slurm.begin_create("shared")
    slurm.sim.run(1.0)
    using = waiting(slurm, "8", USES, capacity="default:0")
    assert slurm.listed() == {"7", "8", "shared"}
    assert why(slurm, "8") == "persistent buffer shared: it is not ready"
    slurm.teardown("7")
    assert [answer.rc for answer in slurm.finish(making, using)] == [0, 0]
    assert slurm.sim.rules.records().users_of("shared") == ("8",)


def test_a_teardown_of_a_job_that_waits_for_a_buffer_ends_it(slurm: Slurm) -> None:
    making = slurm.begin_create("shared")
    slurm.sim.run(1.0)
    using = waiting(slurm, "8", USES, capacity="default:0")
    assert succeeded(slurm.teardown("8", hurry=True))
    assert "superseded" in refused(slurm.finish(using)[0])
    slurm.teardown("7")
    assert slurm.finish(making)[0].rc == 0
    slurm.sim.run(30.0)
    assert slurm.listed() == {"shared"}


def test_a_job_that_waits_for_a_buffer_fails_with_it(slurm: Slurm) -> None:
    making = slurm.begin_create("shared", seconds=80.0)
    slurm.sim.run(1.0)
    using = waiting(slurm, "8", USES, capacity="default:0")
    _, answer = slurm.finish(making, using)
    assert "shared does not exist" in refused(answer)
    assert slurm.listed() == {"7"}


def test_a_job_is_listed_while_it_waits_for_a_buffer_that_does_not_exist_yet(slurm: Slurm) -> None:
    slurm.buffer_wait = 100.0
    reply = waiting(slurm, "8", USES, capacity="default:0")
    assert "8" in slurm.listed()
    assert why(slurm, "8") == "persistent buffer shared: it does not exist yet"
    slurm.create("shared", "default:100")
    assert succeeded(slurm.finish(reply)[0])


def test_a_job_whose_buffer_never_comes_leaves_nothing(slurm: Slurm) -> None:
    slurm.buffer_wait = 45.0
    assert "shared does not exist" in refused(slurm.setup("8", USES, capacity="default:0"))
    assert slurm.listed() == {"7"}


def test_a_buffer_is_in_use_by_a_job_that_waits_for_bricks_of_its_own(slurm: Slurm) -> None:
    slurm.create("shared", "default:100")
    waiting(slurm, "8", STRIPED + USES)
    assert "is used by job 8" in refused(slurm.teardown("shared"))
    assert succeeded(slurm.teardown("8"))
    assert succeeded(slurm.teardown("shared"))


def test_a_buffer_that_is_destroyed_in_a_hurry_ends_the_wait_of_its_user(slurm: Slurm) -> None:
    slurm.create("shared", "default:100")
    reply = waiting(slurm, "8", STRIPED + USES)
    assert succeeded(slurm.teardown("shared", hurry=True))
    assert "shared does not exist" in refused(slurm.finish(reply)[0])
    assert slurm.listed() == {"7"}


def test_a_job_that_waits_may_not_use_a_buffer_that_another_user_has_made_meanwhile(slurm: Slurm) -> None:
    slurm.buffer_wait = 100.0
    reply = waiting(slurm, "8", USES, capacity="default:0")
    slurm.create("shared", "default:100", uid=1002)
    assert "may not use persistent buffer shared" in refused(slurm.finish(reply)[0])
    assert slurm.listed() == {"7", "shared"}


# --- daemons that die ---


def test_a_setup_that_is_repeated_through_another_daemon_goes_on_waiting(slurm: Slurm) -> None:
    reply = waiting(slurm, node=2)
    slurm.cores[2].crash()
    assert reply.lost
    again = slurm.begin_setup("8", node=1)
    slurm.teardown("7")
    assert succeeded(slurm.finish(again)[0])


def test_a_setup_that_came_before_the_teardown_and_saw_its_session_through_another_daemon_does_not_make_it_anew(slurm: Slurm) -> None:
    """Two calls for one job, one of which only joins."""
    first = waiting(slurm)
    joined = waiting(slurm, node=2)
    slurm.teardown("8", node=1)
    slurm.finish(first, joined)
    claim = Claim(token="9", kind="job", request=Request(owner=1, group=1, pool="default", capacity=100), size=100)
    slurm.cores[0].call(lambda context: answered(set_up(context, claim)), "9", lambda _: None)
    slurm.sim.run(30.0)
    assert slurm.listed() == {"7", "9"}
