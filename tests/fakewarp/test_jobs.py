"""A job's way to its start: job_process, data_in, real_size, paths, pre_run."""

from __future__ import annotations

import msgspec
import pytest

from dacc_core.config import Config
from dacc_core.registry.records import BrickHost, Pool
from dacc_core.values import Brick
from dacc_core.verbs.frontend import PeerCredentials

from .driver import NODES, STAGED, STRIPED, Slurm, ask, cluster, lines, real_size, refused, succeeded, view_of

CREATES = "#!/bin/bash\n#BB create_persistent name=mine capacity=100\n"
POOLS = view_of(
    {
        ("pools", "default"): Pool(name="default", granularity=100, provider="p"),
        ("hosts", "s1"): BrickHost(name="s1", number=1, bricks=(Brick(device="/b1", capacity=100, pool="default"),)),
    }
)


@pytest.fixture
def slurm() -> Slurm:
    return cluster()


def test_a_job_goes_its_whole_way(slurm: Slurm) -> None:
    assert succeeded(slurm.process(STAGED))
    assert succeeded(slurm.setup("7", STAGED))
    assert succeeded(slurm.job("data_in", "7"))
    assert real_size(slurm, "7") == 200
    assert succeeded(slurm.paths("7"))
    assert succeeded(slurm.pre_run("7"))
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}
    assert succeeded(slurm.job("post_run", "7"))
    assert slurm.mounts("/mnt/dac/7_job") == set()
    assert succeeded(slurm.job("data_out", "7"))
    assert succeeded(slurm.teardown("7"))
    assert slurm.session("7") is None
    assert slurm.free() == 9


def test_a_job_that_only_creates_a_buffer_has_a_session_with_nothing(slurm: Slurm) -> None:
    assert succeeded(slurm.setup("2", CREATES, capacity="default:0"))
    assert succeeded(slurm.job("data_in", "2"))
    assert real_size(slurm, "2") == 0
    assert slurm.paths("2").pathfile == ""
    assert succeeded(slurm.job("post_run", "2"))
    assert succeeded(slurm.job("data_out", "2"))
    assert succeeded(slurm.teardown("2"))


# --- job_process ---


def process(script: str, **options: object) -> list[str]:
    answer = ask(POOLS, "--function", "job_process", "--job", "/spool/script", files={"job": script})
    assert bool(answer.rc) == bool(answer.stdout)
    return lines(answer)


def test_job_process_accepts_what_fits_into_the_pool() -> None:
    assert process("#DW jobdw capacity=100 access_mode=striped\n") == []


def test_job_process_refuses_what_never_fits() -> None:
    (line,) = process("#DW jobdw capacity=101 access_mode=striped\n")
    assert line.startswith("line 1, column ")


def test_job_process_shows_each_problem_on_a_line_of_its_own() -> None:
    script = "#!/bin/bash\n#DW jobdw capacity=3.5TB\n#DW stage_in type=bogus source=/a destination=$DW_JOB_STRIPED/a\n"
    assert [line.partition(",")[0] for line in process(script)] == ["line 2", "line 3"]


def test_job_process_says_nothing_about_modifiers_that_have_no_effect() -> None:
    assert process("#DW jobdw capacity=100 access_mode=striped(MFS=10GB) optimization_strategy=wear\n") == []


def test_job_process_refuses_while_no_pool_is_known() -> None:
    answer = ask(view_of({}), "--function", "job_process", "--job", "/spool/script", files={"job": STRIPED})
    assert "no storage node has registered a pool yet" in refused(answer)


def test_job_process_needs_the_script() -> None:
    assert "--job" in refused(ask(POOLS, "--function", "job_process"))
    assert "cannot be read" in refused(ask(POOLS, "--function", "job_process", "--job", "/gone"))


# --- data_in ---


def test_data_in_copies_once(slurm: Slurm) -> None:
    slurm.setup("7", STAGED)
    assert succeeded(slurm.job("data_in", "7"))
    revision = slurm.sim.rules.revision()
    assert succeeded(slurm.job("data_in", "7"))
    assert slurm.status("7").stage_in == "done"
    assert slurm.sim.rules.revision() == revision


def test_data_in_is_superseded_by_a_teardown(slurm: Slurm) -> None:
    slurm.setup("7", STAGED)
    staging = slurm.begin_job("data_in", "7")
    slurm.until(lambda: slurm.status("7").stage_in == "running")
    staged, ended = slurm.finish(staging, slurm.begin_teardown("7", hurry=True, node=1))
    assert "superseded by teardown" in refused(staged)
    assert succeeded(ended)


def test_data_in_while_the_session_ends_is_refused(slurm: Slurm) -> None:
    slurm.setup("7", STAGED)
    ending = slurm.ending("7")
    assert slurm.session("7") is not None
    assert "being torn down" in refused(slurm.job("data_in", "7"))
    assert succeeded(slurm.finish(ending)[0])


# --- paths ---


def test_paths_are_key_value_lines(slurm: Slurm) -> None:
    slurm.create("my-data.v2")
    slurm.setup("7", STRIPED + "#DW persistentdw name=my-data.v2\n")
    answer = slurm.paths("7")
    assert succeeded(answer)
    assert answer.pathfile == (
        "DW_JOB_STRIPED=/mnt/dac/7_job/global\n"
        "DW_JOB_PRIVATE=/mnt/dac/7_job_private\n"
        "DW_PERSISTENT_STRIPED_my_data_v2=/mnt/dac/7_persistent_my-data.v2/global\n"
    )


def test_a_job_without_a_buffer_gets_an_empty_path_file(slurm: Slurm) -> None:
    # Not none: the file of a requeued job's former run may be there and must be emptied.
    slurm.setup("2", CREATES, capacity="default:0")
    assert slurm.paths("2").pathfile == ""


def test_paths_needs_a_path_file(slurm: Slurm) -> None:
    slurm.setup("7")
    assert "--pathfile" in refused(slurm.call("--function", "paths", "--token", "7", "--job", "/spool/script"))


def test_paths_refuses_when_a_buffer_has_been_destroyed_meanwhile(slurm: Slurm) -> None:
    slurm.create("shared")
    slurm.setup("7", "#DW persistentdw name=shared\n", capacity="default:0")
    slurm.teardown("shared", hurry=True)
    answer = slurm.paths("7")
    assert "shared does not exist" in refused(answer)
    assert answer.pathfile is None


def test_paths_refuses_a_session_that_is_being_torn_down(slurm: Slurm) -> None:
    slurm.setup("7")
    ending = slurm.ending("7")
    assert "being torn down" in refused(slurm.paths("7", node=1))
    assert succeeded(slurm.finish(ending)[0])


def test_a_mount_root_that_would_break_the_path_file_is_refused(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.config = Config(mount_root="/mnt\n\nX=1")
    answer = slurm.paths("7")
    assert "mount_root" in refused(answer)
    assert answer.pathfile is None


def test_paths_answers_from_memory_while_the_store_is_down(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.cores[0].cut_until = slurm.sim.now.mono + 1e6
    (answer,) = slurm.finish(slurm.begin(*("--function", "paths", "--token", "7", "--pathfile", "/p")), within=0.0001)
    assert succeeded(answer)


@pytest.mark.parametrize("args", [("--function", "paths", "--token", "8", "--pathfile", "/p"), ("--function", "real_size", "--token", "8")])
def test_an_unknown_token_is_answered_by_the_deadline_while_the_store_is_down(slurm: Slurm, args: tuple[str, ...]) -> None:
    slurm.cores[0].cut_until = slurm.sim.now.mono + 1e6
    (answer,) = slurm.finish(slurm.begin(*args), within=3.1)
    assert "call again" in refused(answer)


# --- pre_run ---


def test_pre_run_mounts_private_and_persistent_volumes_too(slurm: Slurm) -> None:
    slurm.create("shared")
    slurm.setup("7", STRIPED + "#DW persistentdw name=shared\n")
    assert succeeded(slurm.pre_run("7"))
    assert slurm.mounts("/mnt/dac/7_persistent_shared") == {"c1", "c2"}


def test_pre_run_on_other_nodes_moves_the_mounts(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.pre_run("7")
    assert succeeded(slurm.pre_run("7", "c2\nc3\n"))
    assert slurm.mounts("/mnt/dac/7_job") == {"c2", "c3"}


def test_pre_run_stages_in_first_when_that_is_still_owed(slurm: Slurm) -> None:
    slurm.setup("7", STAGED)
    assert succeeded(slurm.pre_run("7"))
    assert slurm.status("7").stage_in == "done"


def test_pre_run_without_a_node_file_is_refused(slurm: Slurm) -> None:
    slurm.setup("7")
    assert "no node file" in refused(slurm.job("pre_run", "7"))


@pytest.mark.parametrize("nodes", ["", "\n \n"])
def test_pre_run_with_an_empty_node_file_is_refused(slurm: Slurm, nodes: str) -> None:
    slurm.setup("7")
    assert "names no node" in refused(slurm.pre_run("7", nodes))


def test_pre_run_of_a_session_with_nothing_needs_no_nodes(slurm: Slurm) -> None:
    slurm.setup("2", CREATES, capacity="default:0")
    assert succeeded(slurm.job("pre_run", "2"))
    assert succeeded(slurm.pre_run("2"))


def test_pre_run_refuses_when_a_buffer_has_been_destroyed_meanwhile(slurm: Slurm) -> None:
    slurm.create("shared")
    slurm.setup("7", STRIPED + "#DW persistentdw name=shared\n")
    slurm.teardown("shared", hurry=True)
    assert "shared does not exist" in refused(slurm.pre_run("7"))
    assert slurm.mounts("/mnt/dac/7_job") == set()


def test_a_node_that_is_down_fails_pre_run_with_its_name(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.sim.world.down.add("c2")
    assert "c2" in refused(slurm.pre_run("7"))


def test_a_job_whose_pre_run_failed_three_times_is_held_by_setup(slurm: Slurm) -> None:
    slurm.sim.world.down.add("c2")
    for _ in range(3):
        assert succeeded(slurm.setup("7"))
        refused(slurm.pre_run("7"))
        assert succeeded(slurm.teardown("7", hurry=True))
    assert "pre_run failed 3 times" in refused(slurm.setup("7"))


# --- unknown and strange tokens ---


@pytest.mark.parametrize("function", ["data_in", "real_size", "pre_run"])
def test_what_needs_a_session_says_that_there_is_none(slurm: Slurm, function: str) -> None:
    # Slurm looks for these words in the output of data_in.
    assert refused(slurm.job(function, "99")) == "No matching session: token not found: 99"


def test_paths_of_an_unknown_token_fails(slurm: Slurm) -> None:
    answer = slurm.paths("99")
    assert "token not found" in refused(answer)
    assert answer.pathfile is None


@pytest.mark.parametrize("function", ["data_in", "real_size", "paths", "pre_run", "post_run", "data_out"])
@pytest.mark.parametrize("token", ["007", "-1", "99999999999999", "mybuf", "a/b", "\udcff", "7 8"])
def test_the_functions_of_jobs_take_job_ids_only(slurm: Slurm, function: str, token: str) -> None:
    assert refused(slurm.call("--function", function, f"--token={token}", "--pathfile", "/p"))


def test_every_verb_can_be_asked_of_any_daemon(slurm: Slurm) -> None:
    assert succeeded(slurm.setup("7", STAGED, node=2))
    assert succeeded(slurm.job("data_in", "7", node=1))
    assert succeeded(slurm.pre_run("7", NODES, node=0))
    assert succeeded(slurm.teardown("7", node=2))


def test_records_survive_a_large_job(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.sim.world.mounts.clear()
    assert succeeded(slurm.pre_run("7", "".join(f"c{number}\n" for number in range(1, 2001))))
    assert slurm.status("7").mounts == "c[1-2000]"
    assert len(msgspec.json.encode(slurm.status("7"))) < 2000


def test_the_slurm_user_is_trusted_not_one_uid() -> None:
    assert succeeded(cluster().setup("7", caller=PeerCredentials(uid=0, trusted=True)))
