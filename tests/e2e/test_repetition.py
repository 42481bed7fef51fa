"""Calls that come twice, and four at once: after success, after failure, and for tokens that nobody knows (peer rows 2 to 5)."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.support.waiting import until

from .slurm import Answer, Job, Slurm, finish, refused, succeeded, together

SITE = {
    "backing": "none",
    "extra": {"retries": {"attempts": 1, "first_wait": 0.05}},
    "provider": {
        "faults": [
            {"call": "create", "token": "9*1", "times": 0, "error": "InvalidRequest", "text": "bad superblock"},
            {"call": "mount", "token": "9*2", "times": 0, "error": "InvalidRequest", "text": "no route"},
        ]
    },
}

CALLS: dict[str, Callable[[Job], tuple[str, ...]]] = {
    "setup": lambda job: ("setup", *job.setup_args),
    "data_in": lambda job: ("data_in", "--token", job.token, "--job", str(job.script)),
    "real_size": lambda job: ("real_size", "--token", job.token),
    "paths": lambda job: ("paths", "--job", str(job.script), "--token", job.token, "--pathfile", f"{job.script}.path"),
    "pre_run": lambda job: ("pre_run", *job.pre_run_args("c1", "c2")),
    "post_run": lambda job: ("post_run", "--token", job.token, "--job", str(job.script)),
    "data_out": lambda job: ("data_out", "--token", job.token, "--job", str(job.script)),
    "teardown": lambda job: ("teardown", "--token", job.token, "--job", str(job.script)),
}
ORDER = tuple(CALLS)


def staged(slurm: Slurm, token: str = "") -> Job:
    return slurm.job("#DW jobdw capacity=32MiB access_mode=striped,private type=scratch", mib=32, token=token)


def up_to(job: Job, verb: str) -> None:
    """Every call before this one, each once."""
    for earlier in ORDER[: ORDER.index(verb)]:
        succeeded(job.slurm.call(*CALLS[earlier](job)))


def twice(job: Job, verb: str) -> list[Answer]:
    return [job.slurm.call(*CALLS[verb](job)) for _ in range(2)]


def at_once(job: Job, verb: str) -> list[Answer]:
    words = CALLS[verb](job)
    return together(*[lambda: job.slurm.start(*words)] * 4)


@pytest.mark.parametrize("repeated", [twice, at_once])
@pytest.mark.parametrize("verb", ORDER)
def test_a_repeated_call_succeeds_with_the_same_answer(slurm: Slurm, verb: str, repeated: Callable[[Job, str], list[Answer]]) -> None:
    job = staged(slurm)
    up_to(job, verb)
    answers = repeated(job, verb)
    succeeded(*answers)
    # Whoever comes late to a teardown finds nothing, which is a success that is explained.
    assert len({answer.output for answer in answers if "token not found" not in answer.output}) <= 1


@pytest.mark.parametrize("repeated", [twice, at_once])
@pytest.mark.parametrize("verb", ORDER)
def test_a_call_for_an_unknown_token_says_so_in_slurms_words(slurm: Slurm, verb: str, repeated: Callable[[Job, str], list[Answer]]) -> None:
    job = staged(slurm)
    for answer in repeated(job, verb) if verb != "setup" else []:
        if verb in ("post_run", "data_out", "teardown"):
            succeeded(answer)
        else:
            refused(answer)
        if verb != "post_run":  # there Slurm looks at the exit code only
            assert answer.output == f"No matching session: token not found: {job.token}\n"
    assert job.token not in slurm.tokens() or verb == "setup"


@pytest.mark.parametrize("repeated", [twice, at_once])
@pytest.mark.parametrize("verb", ORDER)
def test_calls_after_a_failed_setup(slurm: Slurm, verb: str, repeated: Callable[[Job, str], list[Answer]]) -> None:
    job = staged(slurm, f"9{next(slurm.numbers)}1")
    assert "bad superblock" in refused(slurm.call(*CALLS["setup"](job)))
    for answer in repeated(job, verb):
        if verb in ("setup", "data_in", "pre_run"):
            assert "bad superblock" in refused(answer)
        else:
            succeeded(answer) if verb != "data_out" else refused_or_done(answer)
    succeeded(slurm.call(*CALLS["teardown"](job)))
    assert job.token not in slurm.tokens()


def refused_or_done(answer: Answer) -> None:
    """Nothing was staged out of a buffer that never was: both a success and a reason are right."""
    if answer.rc:
        refused(answer)


@pytest.mark.parametrize("repeated", [twice, at_once])
@pytest.mark.parametrize("verb", ["pre_run", "post_run", "data_out", "teardown"])
def test_calls_after_a_failed_pre_run(slurm: Slurm, verb: str, repeated: Callable[[Job, str], list[Answer]]) -> None:
    job = staged(slurm, f"9{next(slurm.numbers)}2")
    up_to(job, "pre_run")
    assert "no route" in refused(slurm.call(*CALLS["pre_run"](job)))
    for answer in repeated(job, verb):
        if verb == "pre_run":
            assert "no route" in refused(answer)
        else:
            succeeded(answer)


@pytest.mark.parametrize("hurry", [False, True])
def test_buffers_are_created_and_destroyed_as_often_as_it_is_asked(slurm: Slurm, hurry: bool) -> None:
    create = ("create_persistent", "-c", "CLI", "-t", "twice", "-u", "65534", "-C", "default:32MiB", "-a", "striped", "-T", "scratch")
    slurm.buffers.append("twice")
    answers = [slurm.call(*create), slurm.call(*create), *together(*[lambda: slurm.start(*create)] * 4)]
    succeeded(*answers)
    assert {answer.output for answer in answers} == {"created\n"}
    (session,) = slurm.read("show_sessions")
    assert session["token"] == "twice"
    destroy = ("teardown", "--token", "twice", "--job", "/nonexistent", *(["--hurry"] if hurry else []))
    succeeded(*together(*[lambda: slurm.start(*destroy)] * 4), slurm.call(*destroy))
    assert slurm.tokens() == set()


def test_a_job_can_be_set_up_again_after_its_teardown(slurm: Slurm) -> None:
    job = staged(slurm)
    for _ in range(3):
        job.begin("c1")
        job.end()
    assert slurm.tokens() == set()


def test_setup_while_the_former_session_is_torn_down_waits_for_its_end(slurm: Slurm) -> None:
    job = staged(slurm)
    for _ in range(5):
        job.begin("c1")
        teardown, setup = together(
            lambda: slurm.start(*CALLS["teardown"](job)),
            lambda: slurm.start(*CALLS["setup"](job)),
        )
        succeeded(teardown)
        if setup.rc:  # the teardown took the session that setup had resumed
            assert "superseded" in refused(setup)
        succeeded(job.setup())
        assert job.token in slurm.tokens()
        succeeded(job.teardown())


@pytest.mark.parametrize("verb", ["post_run", "data_out", "teardown"])
def test_a_repeated_call_of_a_jobs_former_run_leaves_its_next_run_alone(slurm: Slurm, verb: str) -> None:
    """A fakewarp outlives a slurmctld that was killed and goes on asking; the job may have been requeued by then."""
    job, site = staged(slurm), slurm.site
    up_to(job, verb)
    site.stop("ctl")
    site.start("ctl", DACC_FAILPOINT="server.told")
    late = slurm.start(*CALLS[verb](job))
    until(lambda: site.daemons["ctl"].poll() == -signal.SIGKILL, "the daemon is killed as soon as it has said what the call is about")
    for again in ("teardown", *ORDER[: ORDER.index("post_run")]):
        succeeded(slurm.call(*CALLS[again](job), DACC_SOCKET=site.socket("dac1")))
    site.start("ctl")
    answer = finish(late)
    succeeded(answer)
    assert answer.output == ("" if verb == "post_run" else f"No matching session: token not found: {job.token}\n")
    (session,) = site.ask("status")["sessions"]
    assert (session["goal"], session["mounts"]) == ("pre_run", "c[1-2]")


@pytest.mark.parametrize("verb", ["post_run", "data_out", "teardown"])
def test_a_call_that_has_to_be_repeated_still_serves_its_session(slurm: Slurm, verb: str) -> None:
    job, site = staged(slurm), slurm.site
    up_to(job, verb)
    site.stop("ctl")
    site.start("ctl", DACC_FAILPOINT="server.told")
    call = slurm.start(*CALLS[verb](job))
    until(lambda: site.daemons["ctl"].poll() == -signal.SIGKILL, "the daemon is killed as soon as it has said what the call is about")
    site.start("ctl")
    succeeded(finish(call))
    sessions = site.ask("status")["sessions"]
    assert [(one["mounts"], one["met"]) for one in sessions] == ([] if verb == "teardown" else [("", True)])
