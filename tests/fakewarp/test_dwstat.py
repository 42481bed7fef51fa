"""The tables of dwstat: DataWarp's columns, and what a session does in words that any user may read."""

from __future__ import annotations

import time

import pytest

from dacc_core.registry.records import Attachment, Event, Failure, Goal, Running, Session, Status, VolumeUsage
from dacc_core.values import Progress
from dacc_core.verbs.frontend import Answer
from fakewarp.dwstat.frontend import DWSTAT

from .driver import STAGED, STRANGER, ask, cluster, refused, view_of
from .records import Records, host, pool, session, sessions

CREATED = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(1_700_000_000))
UP = {**pool("default"), **host("s1", "default", "default", taken={"/b1": "7"})}
READY = Status(filesystem="ready", observed_revision=1)


def dwstat(records: Records, *args: str, age: float = 0.0) -> Answer:
    return ask(view_of(records), *args, frontend=DWSTAT, age=age, caller=STRANGER)


def rows(records: Records, *args: str) -> list[list[str]]:
    """The words of each line of a table."""
    answer = dwstat(records, *args)
    assert answer.rc == 0
    return [line.split() for line in answer.stdout.splitlines()]


def words(one: Session, status: Status, more: Records | None = None) -> str:
    """What is said of one session, and its state."""
    _, line = rows({**UP, **sessions(one), ("status", one.token): status, **(more or {})}, "sessions")
    return f"{line[1]} {' '.join(line[8:])}"


# --- tables ---


@pytest.mark.parametrize("args", [(), ("pools",)])
def test_pools_in_binary_units(args: tuple[str, ...]) -> None:
    records = {**pool("wlm_pool", 8 << 40), **host("s1", "wlm_pool", "wlm_pool", taken={"/b1": "7"})}
    assert dwstat(records, *args).stdout == "    pool units quantity free gran\nwlm_pool bytes    16TiB 8TiB 8TiB\n"


def test_sessions() -> None:
    buffer = session(1 << 27, token="mybuf", kind="persistent")
    status = {("status", token): READY for token in ("7", "mybuf")}
    table = rows({**UP, **sessions(session(), buffer), **status}, "sessions")
    assert [line[:8] for line in table] == [
        ["sess", "state", "token", "creator", "owner", "created", "expiration", "nodes"],
        ["7", "CA---", "7", "SLURM", "1001", CREATED, "never", "0"],
        ["134217728", "CA---", "mybuf", "CLI", "1001", CREATED, "never", "0"],
    ]


def test_instances() -> None:
    buffer = session(8, token="mybuf", kind="persistent")
    broken = Status(filesystem="quarantined")
    usage = VolumeUsage(capacity=300, used=120, at=1.0)
    statuses = {("status", "7"): READY, ("status", "mybuf"): broken, ("usage", "7"): usage}
    records = {**sessions(session(), buffer, session(9, volume=None)), **statuses}
    assert rows(records, "instances") == [
        ["inst", "state", "sess", "bytes", "nodes", "created", "expiration", "intact", "label", "public", "confs"],
        ["7", "CA---", "7", "300", "1", CREATED, "never", "true", "I7-0", "false", "1", "120", "used"],
        ["8", "C-FT-", "8", "300", "1", CREATED, "never", "false", "mybuf", "true", "1", "usage", "unknown"],
    ]


def test_configurations() -> None:
    buffer = session(8, token="mybuf", kind="persistent")
    records = {
        **sessions(session(), buffer),
        ("status", "7"): Status(filesystem="ready", mounts="c[1-2]", touched="c[1-2]"),
        ("attachments", "mybuf/7"): Attachment(persistent="mybuf", token="7"),
        ("attachments", "mybuf/9"): Attachment(persistent="mybuf", token="9"),
    }
    table = rows(records, "configurations")
    assert table[0] == ["conf", "state", "inst", "type", "activs"]
    assert [(line[0], *line[2:]) for line in table[1:]] == [("7", "7", "scratch", "1"), ("8", "8", "scratch", "2")]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("pools", "no pools"),
        ("sessions", "no sessions"),
        ("instances", "no instances"),
        ("configurations", "no scratch, cache, swap configurations"),
    ],
)
def test_an_empty_table_is_one_line(table: str, line: str) -> None:
    answer = dwstat({}, table)
    assert (answer.rc, answer.stdout) == (0, line + "\n")


def test_columns_are_aligned_to_the_right() -> None:
    first, second, *_ = dwstat(UP).stdout.splitlines()
    assert len(first) == len(second)


def test_help_tells_the_tables() -> None:
    for word in ("help", "-h", "--help"):
        answer = dwstat({}, word, age=float("inf"))
        assert answer.rc == 0
        assert "pools|sessions|instances|configurations" in answer.stdout


# --- what a session does ---


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (READY, "CA--- ready"),
        (Status(filesystem="ready", stage_in="done"), "CA--- staged in"),
        (Status(filesystem="ready", stage_out="done"), "CA--- staged out"),
        (Status(filesystem="creating", running=Running(step="create", started=1_700_000_088.0)), "C--T- create for 12 s"),
        (Status(filesystem="creating", running=Running(step="create", started=1_699_999_900.0)), "C--T- create for 3 min 20 s"),
        (Status(filesystem="creating", running=Running(step="create", started=1_699_990_000.0)), "C--T- create for 2 h 48 min"),
        (Status(), "C--T- setup begins"),
        (Status(events=(Event(at=1.0, what="create", error="secret /path"),)), "C--T- setup tries create again"),
        (
            Status(failed_revision=1, failure=Failure(kind="StepFailed", text="secret /path", step="create")),
            "C-F-- setup failed in create: StepFailed",
        ),
    ],
)
def test_the_words_of_a_session(status: Status, said: str) -> None:
    assert words(session(), status) == said


def test_a_copy_tells_how_far_it_is() -> None:
    progress = Progress(files=10, bytes=1 << 30, total_files=20, total_bytes=3 << 30)
    status = Status(filesystem="ready", stage_in="running", progress=progress, running=Running(step="stage_in", started=1_700_000_090.0))
    assert words(session(goal=Goal(verb="data_in", stage_in=True)), status).endswith("stage_in for 10 s, 10 of 20 files, 1GiB of 3GiB")


def test_a_mounted_session_tells_on_how_many_nodes() -> None:
    mounted = Status(filesystem="ready", mounts="c[1-3]", touched="c[1-3]")
    assert words(session(goal=Goal(verb="pre_run", hosts="c[1-3]")), mounted) == "CA--- mounted on 3 nodes"


def test_a_session_that_some_nodes_have_is_mixed() -> None:
    half = Status(filesystem="ready", mounts="c1", touched="c[1-2]")
    assert words(session(goal=Goal(verb="pre_run", hosts="c[1-2]")), half) == "CA-TM pre_run begins"


def test_a_session_that_ends_is_being_destroyed() -> None:
    assert words(session(goal=Goal(verb="teardown", filesystem="absent")), READY) == "DA-T- teardown begins"


def test_a_buffer_tells_how_many_jobs_use_it() -> None:
    attached: Records = {("attachments", "mybuf/9"): Attachment(persistent="mybuf", token="9")}
    assert words(session(8, token="mybuf", kind="persistent"), READY, attached) == "CA--- used by 1 job"


def test_a_kept_session_tells_why_it_is_there() -> None:
    assert words(session(token="kept-a0010000", kind="kept", goal=Goal(verb="keep")), READY).endswith("kept: its stage_out is owed")


def test_a_session_that_waits_for_a_storage_node_says_so() -> None:
    _, line = dwstat(sessions(session()), "sessions").stdout.splitlines()
    assert line.endswith("  setup waits: no storage node is up")


# --- who asks, and how ---


@pytest.mark.parametrize(
    "args",
    [
        ("most",),
        ("all",),
        ("--function", "teardown", "--token", "7"),
        ("teardown", "--token", "7"),
        ("sessions", "instances"),
        ("pools", "--hurry"),
        ("",),
        ("a\nb",),
        ("\x1b[2J",),
        ("\udcff",),
        ("x" * 10_000,),
    ],
)
def test_anything_else_is_refused_on_one_line(args: tuple[str, ...]) -> None:
    line = refused(dwstat(UP, *args))
    assert line.startswith("dwstat shows one of pools, sessions, instances, configurations, not ")
    assert len(line) < 200


def test_an_old_view_is_no_answer() -> None:
    assert "keystore has not been heard from" in refused(dwstat(UP, "pools", age=3.5))


def test_only_tokens_of_what_users_wrote_are_shown() -> None:
    slurm = cluster()
    slurm.setup("7", STAGED.replace("/home/in", "/home/secret"))
    slurm.sim.world.down.add("c1")
    slurm.job("data_in", "7")
    slurm.pre_run("7")
    text = "".join(slurm.dwstat(table, caller=STRANGER).stdout for table in ("pools", "sessions", "instances", "configurations"))
    assert "pre_run failed in mount" in text
    assert "/" not in text
    assert "c1" not in text
