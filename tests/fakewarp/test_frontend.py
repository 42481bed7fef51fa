"""What holds for every function: who may call it, how long it may take, how it fails."""

from __future__ import annotations

import traceback

import pytest

from dacc_core.config import Config
from dacc_core.config.settings import SlurmSettings
from dacc_core.errors import BufferInUse, DaccError, StepFailed, StillWorking, all_errors
from dacc_core.verbs.frontend import Call, PeerCredentials
from fakewarp.dwstat.frontend import DWSTAT
from fakewarp.frontend import FRONTEND
from fakewarp.functions import FUNCTIONS

from .driver import OWNER, SLURM, STAGED, STRANGER, STRIPED, Slurm, ask, cluster, refused, succeeded, view_of
from .records import host, pool

READS = ["pools", "show_instances", "show_sessions", "show_configurations"]
ARGS = {
    "create_persistent": ("-t", "mine", "-u", "1001", "-C", "default:100"),
    "paths": ("--token", "7", "--pathfile", "/p"),
    "setup": ("--token", "7", "--user", "1001", "--groupid", "1", "--capacity", "default:100", "--job", "/s"),
    "job_process": ("--job", "/s"),
    **dict.fromkeys(("data_in", "real_size", "pre_run", "post_run", "data_out", "teardown"), ("--token", "7")),
}


def deadline(function: str, config: Config) -> float:
    call = Call(("--function", function, *ARGS.get(function, ())), {"job": STRIPED}, SLURM)
    return FRONTEND.parse(call).function.seconds(config)


@pytest.fixture
def slurm() -> Slurm:
    made = cluster()
    made.setup("7", STAGED)
    return made


def test_the_front_ends_have_the_names_that_the_configuration_uses() -> None:
    assert (FRONTEND.name, DWSTAT.name) == ("fakewarp", "dwstat")


def test_every_function_of_the_contract_exists() -> None:
    assert set(FUNCTIONS) == {*READS, *ARGS}


# --- functions that do not exist ---


@pytest.mark.parametrize("name", ["nosuch", "pools ", "POOLS", "'", "\n", "\udcff"])
def test_an_unknown_function_is_answered_as_slurm_tolerates(name: str) -> None:
    answer = ask(view_of({}), f"--function={name}")
    assert answer.rc == 1
    assert refused(answer).startswith("invalid function ")


def test_no_function_is_refused() -> None:
    assert "--function is missing" in refused(ask(view_of({}), "--token", "7"))


# --- who ---


@pytest.mark.parametrize("function", READS)
def test_anyone_may_read(function: str) -> None:
    view = view_of({**pool("default"), **host("s1", "default")})
    assert ask(view, "--function", function, caller=STRANGER).rc == 0


@pytest.mark.parametrize("function", sorted(set(ARGS) - {"teardown", "data_out"}))
@pytest.mark.parametrize("caller", [OWNER, STRANGER, PeerCredentials(uid=-1)])
def test_the_rest_is_slurms(slurm: Slurm, function: str, caller: PeerCredentials) -> None:
    answer = slurm.call("--function", function, *ARGS[function], files={"job": STAGED}, caller=caller)
    assert refused(answer).startswith(f"uid {caller.uid} may not call {function}")


def test_whoever_may_not_ask_learns_nothing_about_a_script(slurm: Slurm) -> None:
    answer = slurm.call("--function", "job_process", "--job", "/s", files={"job": "#DW nonsense\n"}, caller=OWNER)
    assert "may not" in refused(answer)


@pytest.mark.parametrize("function", ["teardown", "data_out"])
def test_a_stranger_may_not_end_a_session(slurm: Slurm, function: str) -> None:
    assert "it belongs to uid 1001" in refused(slurm.job(function, "7", caller=STRANGER))
    session = slurm.session("7")
    assert session is not None
    assert session.goal.verb == "setup"


@pytest.mark.parametrize("function", ["data_out", "teardown"])
def test_an_owner_may_end_his_session(slurm: Slurm, function: str) -> None:
    assert succeeded(slurm.job(function, "7", caller=OWNER))


@pytest.mark.parametrize("token", ["99", "nosuch", "a/b"])
def test_others_may_not_end_what_does_not_exist(slurm: Slurm, token: str) -> None:
    assert refused(slurm.teardown(token, caller=STRANGER))


# --- how long ---


@pytest.mark.parametrize(
    ("functions", "seconds"),
    [
        ([*READS, "real_size"], 3.0),
        (["job_process", "paths"], 3.0),
        (["setup", "create_persistent", "pre_run", "post_run", "teardown"], 290.0),
        (["data_in"], 86390.0),
        (["data_out"], 86390.0),
    ],
)
def test_a_deadline_is_before_slurms_own(functions: list[str], seconds: float) -> None:
    assert {function: deadline(function, Config()) for function in functions} == dict.fromkeys(functions, seconds)


def test_deadlines_follow_the_sites_timeouts() -> None:
    config = Config(slurm=SlurmSettings(other_timeout=100.0, validate_timeout=2.0, stage_in_timeout=50.0, stage_out_timeout=8.0))
    assert [deadline(name, config) for name in ("setup", "paths", "data_in", "data_out")] == [90.0, 1.2, 40.0, 4.0]


def test_dwstat_answers_before_slurm_gives_it_up() -> None:
    assert DWSTAT.parse(Call(())).function.seconds(Config()) < 2.0


def test_a_call_that_takes_too_long_says_that_the_work_goes_on() -> None:
    slurm = cluster()
    (answer,) = slurm.finish(slurm.begin_setup("7", seconds=0.05), within=0.1)
    assert "call again" in refused(answer)
    assert succeeded(slurm.setup("7"))


# --- how it fails ---


@pytest.mark.parametrize("cls", all_errors().values(), ids=lambda cls: cls.__name__)
def test_every_error_is_one_line_and_not_a_success(cls: type[DaccError]) -> None:
    answer = FRONTEND.failure(None, cls.from_text("it\nwent wrong:\x1b[31m 'x'\udcff"))
    assert answer.rc == cls.exit_code > 0
    assert refused(answer) == "it; went wrong:\\x1b[31m 'x'\\udcff"


def test_a_text_without_words_is_not_an_empty_output() -> None:
    # Slurm searches the output of a failed call without looking whether there is any (dw.c, _start_stage_in).
    assert refused(FRONTEND.failure(None, StepFailed.from_text(""))) == "StepFailed"


def test_a_long_text_is_cut() -> None:
    assert len(refused(FRONTEND.failure(None, DaccError(why="x" * 100_000)))) == 1000


@pytest.mark.parametrize("frontend", [FRONTEND, DWSTAT])
def test_a_defect_is_one_line_without_its_traceback(frontend: object) -> None:
    try:
        raise KeyError("secret")
    except KeyError as error:
        answer = FRONTEND.failure(None, error)
        assert "secret" in traceback.format_exc()
    assert (answer.rc, answer.stdout) == (1, "internal error: see the log of dacd\n")


def test_exit_codes_are_the_errors_own() -> None:
    assert FRONTEND.failure(None, BufferInUse(name="x", job="7")).rc == 41
    assert FRONTEND.failure(None, StillWorking(doing="x", token="7")).rc == 75


@pytest.mark.parametrize("seed", range(6))
def test_under_faults_every_call_ends_in_success_or_one_line(seed: int) -> None:
    slurm = cluster(seed, faults=0.15)
    for number in range(1, 4):
        job = str(number)
        calls = [
            lambda job=job: slurm.begin_setup(job, STAGED),
            lambda job=job: slurm.begin_job("data_in", job),
            lambda job=job: slurm.begin_pre_run(job),
            lambda job=job: slurm.begin_job("post_run", job),
            lambda job=job: slurm.begin_job("data_out", job),
            lambda job=job: slurm.begin_teardown(job),
        ]
        for begin in calls:
            (answer,) = slurm.finish(begin(), within=86_400)
            assert answer.rc == 0 or refused(answer)
    slurm.sim.calm()
    slurm.sim.run(60)
    for number in range(1, 4):
        assert slurm.teardown(str(number), hurry=True).rc == 0
    assert slurm.listed() == set()
