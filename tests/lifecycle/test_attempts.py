"""How often a step is tried: attempts count by kind of step, and waits grow."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dacc_core import sdk
from dacc_core.errors import HostLost, StepFailed, Unavailable
from dacc_core.lifecycle.plan import Step
from dacc_core.lifecycle.policy import resigned
from dacc_core.lifecycle.rules import Rules
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.registry.records import Request
from dacc_core.simulation.cluster import answered
from dacc_core.simulation.world import SimProvider
from dacc_core.values import StageRequest
from dacc_core.verbs import goals
from dacc_core.verbs.claims import Claim
from dacc_core.verbs.sessions import submit_goal

from .quiet import Job

IN = (StageRequest(source="/a", destination="$DW_JOB_STRIPED/a"),)


@pytest.fixture
def staging() -> Job:
    """A job that stages in."""
    job = Job()
    job.claim = Claim("1", "job", Request(owner=1, group=1, pool="default", capacity=200, striped=True, stage_in=IN, digest="d"), 200)
    job.set_up()
    return job


def test_a_copy_whose_mover_mount_fails_is_given_up_after_its_attempts(staging: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unmount that cleans up after each try succeeds; it made the failures of the copy forgotten, 218 of them in 11 minutes."""
    times: list[float] = []
    mount = SimProvider.mount

    def refuse(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        if request.role != "mover":
            return mount(self, request)
        times.append(staging.sim.now.mono)
        return sdk.PerHost(hosts={host: Unavailable(why="no mount today") for host in request.hosts})

    monkeypatch.setattr(SimProvider, "mount", refuse)
    error = staging.call(lambda context: answered(submit_goal(context, "1", goals.DATA_IN, goals.staged_in)))
    assert isinstance(error, Unavailable)
    assert "no mount today" in str(error)
    assert len(times) == 3
    first, second = (later - earlier for earlier, later in pairwise(times))
    assert second > first

    monkeypatch.undo()
    again = staging.call(lambda context: answered(submit_goal(context, "1", goals.DATA_IN, goals.staged_in)))
    assert type(again).__name__ == "Answer"  # a new call has attempts of its own


@pytest.mark.parametrize("kind", ["mount", "create", "delete", "unmount_mover"])
def test_only_an_unmount_gives_up_a_node_that_is_lost_each_time(kind: str) -> None:
    outcome = StepOutcome(error=StepFailed(step=kind, token="1", why="lost"), hosts={"c2": lost()})
    assert resigned(Step(kind), outcome, 99, Rules()) is outcome  # type: ignore[arg-type]


def test_an_unmount_that_also_fails_for_another_reason_still_fails() -> None:
    busy = sdk.Busy(why="somebody works there")
    outcome = StepOutcome(error=StepFailed(step="unmount", token="1", why="busy"), hosts={"c1": busy, "c2": lost()})
    given_up = resigned(Step("unmount", targets="c[1-2]"), outcome, 3, Rules())
    assert given_up.error is outcome.error
    assert given_up.hosts["c1"] is busy


def lost() -> sdk.DaccError:
    return HostLost(host="c2", why="its answer is malformed")
