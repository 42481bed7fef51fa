"""A brick host was booted: what it served is dark until the provider has restored it, and the core sees to that by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import pytest

from dacc_core.errors import DaccError, InvalidRequest, Unavailable
from dacc_core.lifecycle import plan
from dacc_core.lifecycle.plan import Surroundings
from dacc_core.registry.records import Request, Session, Status
from dacc_core.simulation.cluster import answered
from dacc_core.simulation.world import SimProvider
from dacc_core.verbs import goals
from dacc_core.verbs.claims import Claim, set_up
from tests.simulation.test_simulation import Checked, run_until_caught

from .test_plan import COPY, VOLUME, choice, session

READY = Status(filesystem="ready", used=True, stage_out="pending", boots={"s1": "one"})

BOOTED = Surroundings(rebooted="s1")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "dacc")


# --- what is planned ---


def owing(goal: object) -> Session:
    return session(Request(owner=1, group=1, stage_in=COPY, stage_out=COPY), goal, VOLUME)  # type: ignore[arg-type]


@pytest.mark.parametrize("goal", [goals.SETUP, goals.DATA_IN, goals.pre_run("c1"), goals.POST_RUN, goals.DATA_OUT])
def test_it_comes_before_anything_else_that_needs_the_filesystem(goal: object) -> None:
    assert choice(owing(goal), READY, BOOTED) == ("restore", "s1")


def test_a_teardown_restores_only_what_it_still_has_to_copy_out() -> None:
    assert choice(owing(goals.gone(hurry=False)), READY, BOOTED) == ("restore", "s1")
    assert choice(owing(goals.gone(hurry=True)), READY, BOOTED) == ("delete", "")


def test_a_filesystem_that_was_not_finished_is_created_instead() -> None:
    assert choice(owing(goals.SETUP), Status(filesystem="creating"), BOOTED) == ("create", "")


# --- what happens ---


class Restores:
    """How often a simulated provider was asked to restore; the first so many times it fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int = 0, error: Callable[[], DaccError] | None = None) -> None:
        self.number, self._failing = 0, failing
        self._error = error or (lambda: Unavailable(why="the servers do not start"))
        genuine = SimProvider.restore

        def counted(provider: SimProvider, request: object) -> None:
            self.number += 1
            if self.number <= self._failing:
                raise self._error()
            genuine(provider, request)  # type: ignore[arg-type]

        monkeypatch.setattr(SimProvider, "restore", counted)


def built() -> Checked:
    """A session whose filesystem is built on two bricks; of which host the first is, its bricks say."""
    job = Checked(stage_in=COPY, stage_out=COPY)
    job.set_up()
    return job


def boot(job: Checked, seconds: float = 60.0) -> str:
    assert job.session is not None
    host = job.session.brick_hosts[0]
    job.sim.boot(host)
    job.sim.run(job.sim.now.mono + seconds)
    return host


def dark(job: Checked) -> list[str]:
    assert job.session is not None
    return job.sim.world.dark(job.session)


def test_a_filesystem_nobody_waits_for_is_restored_when_its_host_is_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    restores, job = Restores(monkeypatch), built()
    boot(job)
    assert (restores.number, dark(job)) == (1, [])
    assert [event.what for event in job.status.events] == ["create", "restore"]


def test_the_filesystem_of_a_running_job_is_restored_and_its_mounts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    restores, job = Restores(monkeypatch), built()
    job.wish(goals.DATA_IN, goals.staged_in)
    job.wish(goals.pre_run("c[1-2]"), goals.mounted_on("c[1-2]"))
    boot(job)
    assert (restores.number, dark(job), job.status.mounts) == (1, [], "c[1-2]")
    job.wish(goals.POST_RUN, goals.unmounted)
    job.wish(goals.DATA_OUT, goals.staged_out)
    assert job.status.stage_out == "done"


def test_a_daemon_that_is_only_started_again_restores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    restores, job = Restores(monkeypatch), built()
    for node in job.sim.nodes:
        node.crash()
        node.start()
    job.sim.run(job.sim.now.mono + 60)
    assert restores.number == 0


def test_a_host_that_does_not_tell_its_boot_is_taken_as_it_is() -> None:
    job = built()
    view = job.sim.nodes[0].engine.view  # type: ignore[union-attr]
    assert job.session is not None
    for host in job.session.brick_hosts:
        entry = view.alive[host]
        view.alive[host] = entry.__class__(msgspec.structs.replace(entry.record, boot=""), entry.revision)
    assert plan.look_around(view, job.session, job.status).rebooted == ""


def test_a_restore_that_nobody_waits_for_is_tried_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    restores, job = Restores(monkeypatch, failing=7), built()
    boot(job, seconds=300.0)
    assert (restores.number, dark(job)) == (8, [])


def test_a_call_that_needs_the_filesystem_fails_when_it_cannot_be_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    Restores(monkeypatch, failing=1000)
    job = built()
    boot(job)
    answer = job.wish(goals.DATA_IN, goals.staged_in)
    assert "the servers do not start" in str(answer)
    assert job.status.failure is not None
    assert job.status.failure.step == "restore"


def test_the_next_call_tries_a_restore_anew_that_was_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    restores, job = Restores(monkeypatch, failing=1, error=lambda: InvalidRequest(why="no such disk")), built()
    boot(job)
    assert (restores.number, dark(job) != []) == (1, True)
    job.wish(goals.DATA_IN, goals.staged_in)
    assert (job.status.stage_in, dark(job)) == ("done", [])


def test_a_host_that_boots_while_the_filesystem_is_built_is_restored_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    restores, job = Restores(monkeypatch), Checked()
    claim = Claim(token="1", kind="job", request=job.request, size=200)
    job.sim.nodes[0].call(lambda context: answered(set_up(context, claim)), "1", lambda _: None)
    while job.status.running is None:
        job.sim.step()
    assert job.session is not None
    other = next(host for host in job.session.brick_hosts if host != job.status.coordinator)
    job.sim.boot(other)
    job.sim.run(job.sim.now.mono + 60)
    assert [event.what for event in job.status.events if not event.error] == ["create", "restore"]
    assert (restores.number, dark(job)) == (1, [])


def test_the_simulation_notices_a_filesystem_that_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "rebooted_hosts", lambda *_: "")
    assert "not served again" in run_until_caught(range(20))
