"""How data-acc, which dacc replaces, fails: each row of its reproduced failures, and each defect read in its source, that has a
meaning in the front end. Failures of its directive parser are tested with ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from .driver import NODES, STAGED, STRIPED, Slurm, ask, cluster, lines, refused, slurm_json, succeeded, view_of
from .records import host, pool


@pytest.fixture
def slurm() -> Slurm:
    return cluster()


# --- reproduced failures ---


def test_go_row_1_two_setups_that_race_for_the_last_bricks_do_not_share_them(slurm: Slurm) -> None:
    answers = slurm.finish(*(slurm.begin_setup(job, capacity="default:900", node=node, seconds=60.0) for node, job in enumerate("78")))
    assert sorted(answer.rc for answer in answers) == [0, 75]
    assert slurm.free() == 0


def test_go_row_2_setup_can_be_repeated(slurm: Slurm) -> None:
    assert [slurm.setup("7").rc for _ in range(3)] == [0, 0, 0]
    assert slurm.free() == 7


def test_go_row_2_four_setups_at_once_all_succeed(slurm: Slurm) -> None:
    answers = slurm.finish(*(slurm.begin_setup("7", node=node) for node in (0, 0, 1, 2)))
    assert [answer.rc for answer in answers] == [0] * 4
    assert slurm.free() == 7


@pytest.mark.parametrize("function", ["pre_run", "post_run"])
def test_go_row_3_pre_run_and_post_run_can_be_repeated(slurm: Slurm, function: str) -> None:
    slurm.setup("7")
    call: Callable[[], object] = (lambda: slurm.pre_run("7")) if function == "pre_run" else (lambda: slurm.job("post_run", "7"))
    assert call() == call() == call()


def test_go_row_3_a_repeated_copy_copies_nothing_again(slurm: Slurm) -> None:
    slurm.setup("7", STAGED)
    slurm.job("data_in", "7")
    copies = [event.what for event in slurm.status("7").events].count("stage_in")
    slurm.job("data_in", "7")
    assert [event.what for event in slurm.status("7").events].count("stage_in") == copies == 1


@pytest.mark.parametrize("hurry", [False, True])
def test_go_row_4_teardown_succeeds_twice_and_for_unknown_tokens(slurm: Slurm, hurry: bool) -> None:
    slurm.setup("7")
    assert [slurm.teardown(token, hurry=hurry).rc for token in ("7", "7", "99", "nosuch")] == [0] * 4
    assert slurm.call("--function", "teardown", "--token", "99").rc == 0


@pytest.mark.parametrize("function", ["real_size", "data_in", "paths", "pre_run"])
def test_go_row_5_an_unknown_token_is_told_in_the_words_that_slurm_looks_for(slurm: Slurm, function: str) -> None:
    args = ("--function", function, "--token", "99", "--pathfile", "/p", "--nodehostnamefile", "/n")
    line = refused(slurm.call(*args, files={"nodehostnamefile": NODES}))
    assert "No matching session" in line
    assert "token not found" in line


def test_go_row_6_a_client_killed_in_setup_leaves_nothing_that_others_wait_for(slurm: Slurm) -> None:
    for seconds in (0.001, 0.01, 0.03, 0.1):
        slurm.finish(slurm.begin_setup("7", seconds=seconds))
        (other,) = slurm.finish(slurm.begin_setup("8"), within=10.0)
        assert other.rc == 0
        slurm.teardown("8")
    assert succeeded(slurm.setup("7"))


def test_go_row_7_a_daemon_killed_while_it_creates_makes_the_filesystem_once(slurm: Slurm) -> None:
    reply = slurm.begin_setup("7")
    slurm.until(lambda: slurm.status("7").filesystem == "creating")
    builder = next(core for core in slurm.cores if core.host == slurm.status("7").coordinator)
    builder.crash()
    slurm.sim.later(2.0, builder.start)
    slurm.until(lambda: builder.engine is not None and (reply.answer is not None or reply.lost), within=60.0)
    assert succeeded(slurm.setup("7"))
    slurm.sim.run(30.0)
    assert len(slurm.sim.world.volumes) == 1


def test_go_row_11_no_call_waits_for_ever_for_a_store_that_is_down(slurm: Slurm) -> None:
    slurm.cores[0].cut_until = slurm.sim.now.mono + 1e6
    slurm.sim.run(5.0)
    calls = [slurm.begin("--function", name) for name in ("pools", "show_instances", "show_sessions", "show_configurations")]
    calls.append(slurm.begin("--function", "real_size", "--token", "7"))
    for answer in slurm.finish(*calls, within=3.1):
        refused(answer)
    (answer,) = slurm.finish(slurm.begin_setup("7"), within=291.0)
    assert refused(answer)


SURVIVES = {
    "13: an unknown option beside a misspelt name": "#DW persistentdw nam=foo x=y\n",
    "14: a job's id as a buffer's name": "#DW persistentdw name=7\n",
    "15: an unknown access mode": STRIPED.replace("striped", "bogus") + "#DW stage_in type=file source=/a destination=$DW_JOB_STRIPED/a\n",
    "17: shell text that no shell reads": STRIPED + "#DW stage_in type=file source=$(x) destination=$DW_JOB_STRIPED/a\n",
    "18: an unknown type": STRIPED + "#DW stage_in type=bogus source=/a destination=$DW_JOB_STRIPED/a\n",
    "19: no number": "#DW jobdw capacity=NaNGB access_mode=striped\n",
    "19: no end": "#DW jobdw capacity=InfTB access_mode=striped\n",
    "19: negative": "#DW jobdw capacity=-100GB access_mode=striped\n",
    "19: nothing": "#DW jobdw capacity=0 access_mode=striped\n",
    "19: an unknown kind": "#DW jobdw capacity=100 access_mode=striped type=bogus\n",
    "19: negative swap": STRIPED + "#DW swap -1\n",
}


@pytest.mark.parametrize("script", SURVIVES.values(), ids=SURVIVES.keys())
def test_go_rows_13_to_19_a_bad_script_is_refused_at_submit_and_at_setup(slurm: Slurm, script: str) -> None:
    slurm.setup("7")
    at_submit = slurm.process(script)
    assert at_submit.rc != 0
    assert all(line.startswith("line ") for line in lines(at_submit))
    assert "line " in refused(slurm.setup("8", script))
    assert slurm.session("8") is None
    assert slurm.listed() == {"7"}, "the daemon goes on"


def test_go_row_14_a_job_that_names_another_jobs_id_does_not_get_its_buffer(slurm: Slurm) -> None:
    slurm.setup("7")
    assert refused(slurm.setup("8", '#DW persistentdw name="7"\n', capacity="default:0"))


def test_go_row_16_a_buffer_that_does_not_exist_fails_setup(slurm: Slurm) -> None:
    line = refused(slurm.setup("7", "#DW persistentdw name=nosuch\n", capacity="default:0"))
    assert line.startswith("persistent buffer nosuch does not exist")
    assert slurm.session("7") is None


def test_go_row_17_a_copy_that_was_asked_for_is_never_skipped(slurm: Slurm) -> None:
    script = STRIPED + '#DW stage_in type=file source="/a;reboot x" destination=$DW_JOB_STRIPED/a\n'
    slurm.setup("7", script)
    session = slurm.session("7")
    assert session is not None
    assert [request.source for request in session.request.stage_in] == ["/a;reboot x"]
    assert succeeded(slurm.job("data_in", "7"))
    assert slurm.status("7").stage_in == "done"


def test_go_row_18_a_list_of_paths_is_staged(slurm: Slurm) -> None:
    script = STRIPED + "#DW stage_in type=list source=/home/list\n"
    assert succeeded(slurm.process(script))
    assert succeeded(slurm.setup("7", script))
    assert succeeded(slurm.job("data_in", "7"))


@pytest.mark.parametrize(
    "capacity",
    ["default:-1GiB", "default:NaNGiB", "default:8388608TiB", "default:1e300", "default:", "default", "", "../x:1GiB", "défaut:1GiB", ":1"],
)
def test_go_row_20_a_capacity_that_is_none_is_refused_and_takes_nothing(slurm: Slurm, capacity: str) -> None:
    assert refused(slurm.setup("7", capacity=capacity))
    assert slurm.session("7") is None
    assert slurm.free() == 9


def test_go_row_20_a_capacity_beyond_all_pools_is_refused(slurm: Slurm) -> None:
    assert "has 9 bricks in all" in refused(slurm.setup("7", capacity="default:8388607TiB"))
    assert "has 9 bricks in all" in refused(slurm.setup("7", capacity="default:9223372036854775807N"))


def test_go_row_21_an_underscore_is_part_of_a_name(slurm: Slurm) -> None:
    assert slurm.create("test_buffer").stdout == "created\n"


@pytest.mark.parametrize("nodes", ["c1\nnöde\n", "a;reboot\n", "-oProxyCommand=x\nc1\n", "-e\n", "c1 c2\n", "c[1-3]\n", "\udcff\n", "\0\n"])
def test_go_row_27_a_host_that_is_none_is_refused_with_its_line(slurm: Slurm, nodes: str) -> None:
    slurm.setup("7")
    assert "of the node file" in refused(slurm.pre_run("7", nodes))
    assert slurm.mounts("/mnt/dac/7_job") == set()


def test_go_row_27_blank_lines_repeated_nodes_and_crlf_are_harmless(slurm: Slurm) -> None:
    slurm.setup("7")
    assert succeeded(slurm.pre_run("7", "c1\r\n\r\nc2\r\nc1\r\n"))
    assert slurm.mounts("/mnt/dac/7_job") == {"c1", "c2"}


def test_go_row_29_each_pool_counts_its_own_bricks() -> None:
    view = view_of({**pool("default"), **pool("fast", 10), **host("s1", "default", "default", "fast"), **host("s2", "fast")})
    found = slurm_json(ask(view, "--function", "pools"))["pools"]
    assert [(one["id"], one["granularity"], one["quantity"], one["free"]) for one in found] == [("default", 100, 2, 2), ("fast", 10, 2, 2)]


# --- defects read in its source ---


def test_go_mistake_1_ids_and_links_are_integers(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.create("mybuf")
    numbers = [
        number
        for function in ("show_sessions", "show_instances", "show_configurations")
        for row in next(iter(json.loads(slurm.call("--function", function).stdout).values()))
        for number in (row["id"], *row.get("links", {}).values(), *row.get("capacity", {}).values())
    ]
    assert len(numbers) == 12
    assert all(type(number) is int for number in numbers)


def test_go_mistake_1_each_session_is_charged_its_own_instance(slurm: Slurm) -> None:
    slurm.setup("7", capacity="default:200")
    slurm.create("mybuf", "default:300")
    instances = slurm_json(slurm.call("--function", "show_instances"))["instances"]
    charged = {row["links"]["session"]: row["capacity"]["bytes"] for row in instances}
    names = {row["id"]: row["token"] for row in slurm_json(slurm.call("--function", "show_sessions"))["sessions"]}
    assert {names[number]: size for number, size in charged.items()} == {"7": 200, "mybuf": 300}


def test_go_mistake_2_a_host_does_not_offer_its_bricks_to_every_pool() -> None:
    view = view_of({**pool("default"), **pool("other"), **host("s1", "default")})
    free = {one["id"]: one["free"] for one in slurm_json(ask(view, "--function", "pools"))["pools"]}
    assert free == {"default": 1, "other": 0}


def test_go_mistake_5_pre_run_can_be_called_again_for_other_nodes(slurm: Slurm) -> None:
    slurm.setup("7")
    slurm.pre_run("7")
    assert succeeded(slurm.pre_run("7", "c3\n"))
    assert slurm.mounts("/mnt/dac/7_job") == {"c3"}


def test_go_mistake_6_one_value_does_not_make_the_later_ones_vanish(slurm: Slurm) -> None:
    script = STRIPED + "#DW stage_in type=directory source=~/data:1=2 destination=$DW_JOB_STRIPED/data\n"
    slurm.setup("7", script)
    session = slurm.session("7")
    assert session is not None
    (request,) = session.request.stage_in
    assert (request.source, request.destination, request.kind) == ("~/data:1=2", "$DW_JOB_STRIPED/data", "directory")


@pytest.mark.parametrize("name", ["with_underscore", "with-dash", "with.dot", "W9"])
def test_go_mistake_9_every_name_makes_a_variable_that_a_shell_can_have(slurm: Slurm, name: str) -> None:
    assert slurm.create(name).rc == 0
    slurm.setup("7", f"#DW persistentdw name={name}\n", capacity="default:0")
    text = slurm.paths("7").pathfile
    assert text is not None
    variable, _, path = text.strip().partition("=")
    assert variable.isidentifier()
    assert path == f"/mnt/dac/7_persistent_{name}/global"


def test_go_mistake_15_a_buffer_must_exist_be_ready_and_be_the_users(slurm: Slurm) -> None:
    uses = "#DW persistentdw name=shared\n"
    assert "does not exist" in refused(slurm.setup("7", uses, capacity="default:0"))
    slurm.create("shared", uid=1002)
    assert "may not use" in refused(slurm.setup("7", uses, capacity="default:0"))
    slurm.teardown("shared")
    slurm.sim.world.down.update({"s1", "s2", "s3"})
    assert refused(slurm.create("shared"))
    assert refused(slurm.setup("7", uses, capacity="default:0"))
    assert slurm.session("7") is None


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("#DW jobdw capacity=100 access_mode=striped type=cache\n", "cache"),
        ("#DW jobdw capacity=100 access_mode=striped pool=nosuch\n", "pool nosuch does not exist"),
        ("#DW jobdw capacity=100 access_mode=ldbalance\n", "load-balanced"),
        ("#BB create_persistent name=mine capacity=100 pool=nosuch\n", "pool nosuch does not exist"),
    ],
)
def test_go_mistake_20_what_is_unsupported_or_unknown_is_refused_at_submit(slurm: Slurm, script: str, what: str) -> None:
    assert what in refused(slurm.process(script))


def test_go_mistake_20_a_buffer_needs_no_access_mode_and_has_its_owners_group(slurm: Slurm) -> None:
    assert slurm.create("mybuf").rc == 0
    session = slurm.session("mybuf")
    assert session is not None
    assert session.request.group == 1001
