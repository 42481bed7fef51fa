"""What Slurm polls: pools, show_instances, show_sessions, show_configurations."""

from __future__ import annotations

import json

import pytest

from dacc_core.registry.records import FIRST_PERSISTENT_ID, Goal, Status

from .driver import ask, refused, slurm_json, view_of
from .records import host, pool, session, sessions

FUNCTIONS = ["pools", "show_instances", "show_sessions", "show_configurations"]


# --- pools ---


def test_pools_counts_all_bricks_and_those_that_are_free() -> None:
    view = view_of({**pool("default"), **host("s1", "default", "default", taken={"/b1": "7"}), **host("s2", "default")})
    answer = ask(view, "--function", "pools")
    assert slurm_json(answer) == {"pools": [{"id": "default", "units": "bytes", "granularity": 100, "quantity": 3, "free": 2}]}


def test_bricks_of_a_host_that_is_down_draining_or_in_quarantine_are_counted_but_not_free() -> None:
    hosts = {
        **host("s1", "default", alive=False),
        **host("s2", "default", draining=True),
        **host("s3", "default", quarantined={"/b1": "it is broken"}),
    }
    (found,) = slurm_json(ask(view_of({**pool("default"), **hosts}), "--function", "pools"))["pools"]
    assert (found["quantity"], found["free"]) == (3, 0)


def test_the_default_pool_comes_first() -> None:
    # Slurm takes the first one as its default where burst_buffer.conf names none.
    view = view_of({**pool("zz"), **pool("aa"), **pool("default"), **host("s1", "zz", "aa", "default")})
    found = slurm_json(ask(view, "--function", "pools"))["pools"]
    assert [one["id"] for one in found] == ["default", "aa", "zz"]


def test_pools_without_a_pool_prints_no_json() -> None:
    assert "no storage node" in refused(ask(view_of({}), "--function", "pools"))


def test_an_apostrophe_survives_what_slurm_does_to_json() -> None:
    view = view_of({**pool("it's"), **host("s1", "it's")})
    answer = ask(view, "--function", "pools")
    assert "'" not in answer.stdout
    assert slurm_json(answer)["pools"][0]["id"] == "it's"


# --- sessions ---


def test_show_sessions_lists_jobs_and_buffers_with_integers() -> None:
    buffer = session(FIRST_PERSISTENT_ID, token="mybuf", kind="persistent")
    answer = ask(view_of(sessions(buffer, session())), "--function", "show_sessions")
    assert json.loads(answer.stdout) == {
        "sessions": [
            {"id": 7, "created": 1_700_000_000, "owner": 1001, "token": "7"},
            {"id": FIRST_PERSISTENT_ID, "created": 1_700_000_000, "owner": 1001, "token": "mybuf"},
        ]
    }


def test_a_session_is_listed_until_its_last_brick_is_free() -> None:
    ending = session(goal=Goal(verb="teardown", filesystem="absent"))
    view = view_of({**sessions(ending), ("status", "7"): Status(filesystem="absent")})
    assert len(slurm_json(ask(view, "--function", "show_sessions"))["sessions"]) == 1
    assert len(slurm_json(ask(view, "--function", "show_instances"))["instances"]) == 1


@pytest.mark.parametrize("function", FUNCTIONS[1:])
def test_a_session_whose_stage_out_is_owed_is_not_slurms(function: str) -> None:
    kept = session(token="kept-a0010000", kind="kept")
    (rows,) = slurm_json(ask(view_of(sessions(kept)), "--function", function)).values()
    assert rows == []


def test_show_instances_links_each_volume_to_its_session() -> None:
    view = view_of(sessions(session(7), session(8, volume=None), session(9)))
    assert json.loads(ask(view, "--function", "show_instances").stdout) == {
        "instances": [
            {"id": 7, "capacity": {"bytes": 300}, "links": {"session": 7}},
            {"id": 9, "capacity": {"bytes": 300}, "links": {"session": 9}},
        ]
    }


def test_show_configurations_links_each_to_its_instance() -> None:
    view = view_of(sessions(session(7), session(8, volume=None)))
    assert json.loads(ask(view, "--function", "show_configurations").stdout) == {"configurations": [{"id": 7, "links": {"instance": 7}}]}


@pytest.mark.parametrize("function", FUNCTIONS[1:])
def test_when_there_is_nothing_the_list_is_empty(function: str) -> None:
    answer = ask(view_of(pool("default")), "--function", function)
    assert answer.rc == 0
    assert list(slurm_json(answer).values()) == [[]]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_output_is_one_json_object_and_nothing_before_it(function: str) -> None:
    answer = ask(view_of({**pool("default"), **host("s1", "default"), **sessions(session())}), "--function", function)
    assert answer.stdout.startswith('{"')
    assert answer.stdout.endswith("}\n")


# --- a store that is not heard from ---


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("age", "said"), [(3.1, "for 3 s"), (1000.0, "for 1000 s"), (float("inf"), "yet")])
def test_an_old_view_is_no_answer(function: str, age: float, said: str) -> None:
    # An empty or old list would make Slurm forget buffers; without JSON it leaves everything as it is.
    view = view_of({**pool("default"), **host("s1", "default"), **sessions(session())})
    assert f"keystore has not been heard from {said}" in refused(ask(view, "--function", function, age=age))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_view_of_three_seconds_is_fresh_enough(function: str) -> None:
    view = view_of({**pool("default"), **host("s1", "default")})
    assert ask(view, "--function", function, age=3.0).rc == 0
