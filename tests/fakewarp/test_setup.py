"""setup: from a script and what Slurm reserved to a session with its bricks."""

from __future__ import annotations

import pytest

from dacc_core.sdk import Capabilities, Created
from dacc_core.simulation.world import SimProvider

from .driver import STAGED, STRIPED, Slurm, cluster, real_size, refused, slurm_json, succeeded


@pytest.fixture
def slurm() -> Slurm:
    return cluster()


MISSING = frozenset({"job"})


def setup_without_script(capacity: str) -> tuple[str, ...]:
    return ("--function", "setup", "--token", "7", "--user", "1", "--groupid", "1", "--capacity", capacity, "--job", "/gone")


def allocated(slurm: Slurm, job: str) -> int:
    """The bytes that a job's volume has."""
    session = slurm.session(job)
    assert session is not None
    return session.volume.capacity if session.volume else 0


def test_setup_allocates_what_slurm_reserved(slurm: Slurm) -> None:
    slurm.setup("7", capacity="default:300")
    session = slurm.session("7")
    assert session is not None
    assert (allocated(slurm, "7"), session.request.capacity) == (300, 150)


def test_setup_allocates_what_the_script_asks_when_slurm_reserved_less(slurm: Slurm) -> None:
    slurm.setup("7", capacity="default:100")
    assert real_size(slurm, "7") == 200


@pytest.mark.parametrize(("reported", "answered"), [(250, 250), (0, 200)], ids=["reported", "not reported"])
def test_real_size_is_what_the_provider_reported_else_what_is_allocated(
    monkeypatch: pytest.MonkeyPatch, reported: int, answered: int
) -> None:
    monkeypatch.setattr(SimProvider, "create", lambda *_: Created(capacity=reported))
    slurm = cluster()
    slurm.setup("7", capacity="default:100")
    assert real_size(slurm, "7") == answered


def test_a_capacity_that_is_no_number_of_bytes_is_the_providers_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimProvider, "create", lambda *_: Created(capacity=1 << 63))
    assert "the capacity that it returned" in refused(cluster().setup("7", capacity="default:100"))


def test_setup_counts_bricks_of_both_the_script_and_slurm(slurm: Slurm) -> None:
    slurm.setup("7", "#DW jobdw capacity=3N access_mode=striped\n", capacity="default:2N")
    assert allocated(slurm, "7") == 300


@pytest.mark.parametrize(("nodes", "size"), [(None, 1200), ("c1\nc2\nc3\n", 3200), ("\n", 1200)])
def test_setup_adds_swap_for_each_planned_node(monkeypatch: pytest.MonkeyPatch, nodes: str | None, size: int) -> None:
    monkeypatch.setattr(SimProvider, "capabilities", property(lambda _: Capabilities(swap=True)))
    slurm = cluster(bricks=12)
    # 150 and 1000 for each node; Slurm counts "1KB" as one byte a node and rounds that to a brick of 100.
    assert succeeded(slurm.setup("7", STRIPED + "#DW swap 1KB\n", capacity="default:300", nodes=nodes))
    assert real_size(slurm, "7") == size


def test_swap_that_slurm_reserved_enough_for_is_not_allocated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimProvider, "capabilities", property(lambda _: Capabilities(swap=True)))
    slurm = cluster(bricks=12)
    slurm.setup("7", STRIPED + "#DW swap 1KB\n", capacity="default:1300")
    assert real_size(slurm, "7") == 1300


def test_setup_of_a_persistent_only_job_takes_no_brick(slurm: Slurm) -> None:
    slurm.create("shared")
    free = slurm.free()
    assert succeeded(slurm.setup("7", "#DW persistentdw name=shared\n", capacity="default:0"))
    assert slurm.free() == free


def test_setup_records_owner_and_group(slurm: Slurm) -> None:
    slurm.call(
        *("--function", "setup", "--token", "7", "--caller", "SLURM", "--user", "1001", "--groupid", "5000"),
        *("--capacity", "default:200", "--job", "/spool/script"),
        files={"job": STRIPED},
    )
    session = slurm.session("7")
    assert session is not None
    assert (session.request.owner, session.request.group) == (1001, 5000)


def test_setup_without_a_group_takes_the_users(slurm: Slurm) -> None:
    args = ("--function", "setup", "--token", "7", "--user", "1001", "--capacity", "default:200", "--job", "/spool/script")
    assert succeeded(slurm.call(*args, files={"job": STRIPED}))
    session = slurm.session("7")
    assert session is not None
    assert session.request.group == 1001


def test_a_session_is_listed_before_its_filesystem_is_built(slurm: Slurm) -> None:
    slurm.begin_setup("7")
    slurm.until(lambda: slurm.session("7") is not None)
    assert slurm.status("7").filesystem != "ready"
    slurm.sim.run(0.5)
    assert "7" in slurm.listed()


def test_setup_that_succeeded_lists_its_session_at_once(slurm: Slurm) -> None:
    slurm.setup("7", node=1)
    (answer,) = slurm.finish(slurm.begin("--function", "show_sessions", node=1), within=0.0001)
    assert [row["token"] for row in slurm_json(answer)["sessions"]] == ["7"]


def test_setup_says_on_one_line_what_is_wrong_with_a_script(slurm: Slurm) -> None:
    line = refused(slurm.setup("7", "#DW jobdw capacity=-1\n#DW persistentdw\n"))
    assert "line 1" in line
    assert "line 2" in line


def test_setup_needs_the_script(slurm: Slurm) -> None:
    assert "cannot be read" in refused(slurm.call(*setup_without_script("default:0")))


@pytest.mark.parametrize("capacity", ["default:0", "default:0N"])
def test_a_script_that_does_not_exist_is_an_empty_one_where_no_bricks_are_reserved(slurm: Slurm, capacity: str) -> None:
    """Slurm writes none for ``salloc --bbf`` with nothing but a line that makes a persistent buffer."""
    assert succeeded(slurm.call(*setup_without_script(capacity), missing=MISSING))
    assert allocated(slurm, "7") == 0
    assert succeeded(slurm.job("data_in", "7"))
    assert slurm.paths("7").pathfile == ""
    for function in ("pre_run", "post_run", "data_out", "teardown"):
        assert succeeded(slurm.job(function, "7", missing=MISSING))
    assert slurm.session("7") is None


def test_such_a_setup_can_be_repeated(slurm: Slurm) -> None:
    assert [slurm.call(*setup_without_script("default:0"), missing=MISSING).rc for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("capacity", ["default:200", "default:1N", "default:1"])
def test_a_script_that_does_not_exist_is_refused_where_bricks_are_reserved(slurm: Slurm, capacity: str) -> None:
    assert "cannot be read" in refused(slurm.call(*setup_without_script(capacity), missing=MISSING))
    assert slurm.session("7") is None


def test_other_files_that_do_not_exist_are_no_script(slurm: Slurm) -> None:
    assert "cannot be read" in refused(slurm.call(*setup_without_script("default:0"), missing=frozenset({"nodehostnamefile"})))


def test_a_script_that_does_not_exist_cannot_be_checked_at_submit(slurm: Slurm) -> None:
    assert "cannot be read" in refused(slurm.call("--function", "job_process", "--job", "/gone", missing=MISSING))


def test_setup_refuses_an_unknown_pool(slurm: Slurm) -> None:
    assert "pool 'nosuch' does not exist" in refused(slurm.setup("7", capacity="nosuch:200"))
    assert "pool 'nosuch' does not exist" in refused(slurm.setup("7", "#DW jobdw capacity=1N\n", capacity="nosuch:1N"))


def test_setup_refuses_a_token_that_is_no_job(slurm: Slurm) -> None:
    assert "job name" in refused(slurm.setup("mybuf"))


def test_setup_with_another_script_is_refused(slurm: Slurm) -> None:
    slurm.setup("7")
    assert "different request" in refused(slurm.setup("7", STAGED))


def test_setup_of_a_requeued_job_waits_for_its_teardown(slurm: Slurm) -> None:
    slurm.setup("7")
    ending, again = slurm.ending("7"), slurm.begin_setup("7", STAGED)
    assert [answer.rc for answer in slurm.finish(ending, again)] == [0, 0]
    session = slurm.session("7")
    assert session is not None
    assert session.request.stage_in
