"""A defect in the handling of one session, or nonsense from a host or a provider, never leaves it hanging until the daemon restarts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from dacc_core import sdk
from dacc_core.errors import DaccError, HostLost, StepFailed, Unavailable
from dacc_core.hosts.base import FencingRunner
from dacc_core.lifecycle import policy, reconciler, transitions
from dacc_core.lifecycle.effects import StepOrder
from dacc_core.lifecycle.membership import Membership
from dacc_core.lifecycle.plan import Step
from dacc_core.lifecycle.step_runner import MAX_ERROR, StepEnvironment, run_step
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.simulation.world import SimProvider, SimRunner
from dacc_core.values import Progress
from dacc_core.verbs import goals
from dacc_core.verbs.sessions import submit_goal

from .quiet import Job


@pytest.fixture
def bugs(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the daemons' cores report as defects, which otherwise end the simulation."""
    seen: list[Exception] = []
    for node in job.sim.nodes:
        assert node.engine is not None
        monkeypatch.setattr(node.engine.reactor, "on_bug", seen.append)
    return seen


def breaking(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The function, which raises at its first calls."""
    calls: list[int] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise KeyError("a defect")
        return function(*args, **kwargs)

    return broken


HANDLERS = [
    "_consider",
    "_pursue",
    "_advance",
    "_act",
    "_step_ended",
    "_settle",
    "_enter",
    "_write",
    "_committed",
    "_follow",
    "_rest",
    "_reach",
    "_reconsider",
]


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_that_raises_once_only_delays_its_session(
    job: Job, bugs: list[Exception], handler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler.SessionReconciler, handler, breaking(getattr(reconciler.SessionReconciler, handler), 1))
    assert type(job.mount()).__name__ == "Answer"
    job.sim.run(1.0)  # it comes to rest
    assert bugs
    monkeypatch.undo()
    job.tear_down()
    assert not job.sim.world.volumes


@pytest.mark.parametrize("handler", ["_fence", "_enforce", "_fenced", "_fence_ended"])
def test_a_defect_in_fencing_only_delays_its_session(
    job: Job, bugs: list[Exception], handler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler.SessionReconciler, handler, breaking(getattr(reconciler.SessionReconciler, handler), 1))
    mount, calls = SimProvider.mount, []

    def lost_once(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        calls.append(1)
        if len(calls) > 1:
            return mount(self, request)
        assert isinstance(request.context.hosts, SimRunner)
        request.context.hosts.unsure = True
        return sdk.PerHost(hosts={host: HostLost(host=host, why="the connection ended") for host in request.hosts})

    monkeypatch.setattr(SimProvider, "mount", lost_once)
    assert type(job.mount()).__name__ == "Answer"
    assert bugs


def test_a_handler_that_always_raises_fails_the_goal_with_the_defect(
    job: Job, bugs: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "finish", breaking(transitions.finish, 1000))
    error = job.mount()
    assert isinstance(error, StepFailed)
    assert "pre_run of session 1 failed: a defect of dacd" in str(error)
    assert len(bugs) == 3
    monkeypatch.undo()
    assert type(job.mount()).__name__ == "Answer"  # a new call tries again


def test_a_defect_after_the_goal_was_reached_does_not_make_it_failed(
    job: Job, bugs: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "coordinates", breaking(policy.coordinates, 5))
    for node in job.sim.nodes:
        assert node.engine is not None
        node.engine.reconcilers.changed(None)
    job.sim.run(100.0)
    assert len(bugs) >= 5
    assert (job.status.failure, job.status.filesystem) == (None, "ready")


def test_an_answer_to_what_was_asked_before_a_defect_is_not_for_what_is_under_way_after_it(
    job: Job, bugs: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts: list[int] = []
    mount = SimProvider.mount

    def counted(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        mounts.append(request.context.generation)
        return mount(self, request)

    monkeypatch.setattr(SimProvider, "mount", counted)
    # Just after a step was asked for.
    monkeypatch.setattr(reconciler.SessionReconciler, "_reconsider", breaking(reconciler.SessionReconciler._reconsider, 1))
    assert type(job.mount()).__name__ == "Answer"
    assert len(set(mounts)) == len(mounts), "each try carries a higher generation than the one that was given up"


def test_a_daemon_whose_registration_meets_a_defect_registers_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Membership, "_registration", breaking(Membership._registration, 1))
    monkeypatch.setattr("dacc_core.simulation.daemon._fatal", lambda bug: None)
    sim = Simulation(1, hosts=1, faults=0.0)
    sim.run(5.0)
    sim.rules.revision()
    assert set(sim.rules.records().alive) == {"s1"}


def test_a_teardown_that_always_meets_a_defect_puts_its_bricks_aside_and_ends(
    job: Job, bugs: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimProvider, "delete", lambda *_: sdk.Created(state={}, capacity=1))
    monkeypatch.setattr(transitions, "finish", breaking(transitions.finish, 1000))
    assert type(job.tear_down()).__name__ == "Answer"
    reasons = [why for entry in job.sim.rules.records().allocations.values() for why in entry.record.quarantined.values()]
    assert len(reasons) == 2
    assert all("a defect of dacd" in why for why in reasons)


# --- texts and answers of strangers ---


@pytest.mark.parametrize("text", ["caf\ud800", "\x1b[31mred\x1b[0m\nsetup done", "x" * 901_558, "\0\u202e", "{braces} %s"])
def test_an_error_whose_text_no_record_could_hold_reaches_the_caller_as_one_clean_line(
    job: Job, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        return sdk.PerHost(hosts={host: Unavailable(why=text) for host in request.hosts})

    monkeypatch.setattr(SimProvider, "mount", fail)
    error = job.mount()
    assert isinstance(error, StepFailed)
    assert str(error).startswith("mount on c1")
    assert str(error).isprintable()
    assert len(str(error)) <= MAX_ERROR
    str(error).encode()


@pytest.mark.parametrize("news", [None, 5, Progress(files="many"), Progress(files=float("nan"))])  # type: ignore[arg-type]
def test_progress_that_no_record_could_hold_is_dropped(job: Job, news: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(self: SimProvider, request: sdk.Create) -> sdk.Created:
        request.context.progress(news)
        request.context.progress(Progress(files=2))
        return sdk.Created(state={}, capacity=1)

    heard: list[Progress] = []
    monkeypatch.setattr(SimProvider, "create", create)
    order = StepOrder(Step("create", seconds=5.0), job.session, job.status)
    environment: StepEnvironment = job.sim.environment
    runner: FencingRunner = environment.runner
    assert runner is job.sim.runner
    assert run_step(order, environment, sdk.CancelToken(), heard.append).error is None
    assert heard == [Progress(files=2)]


@pytest.mark.parametrize("answer", [{"c1": None}, {"c1": None, "c2": "no error of the SDK"}, {"c1": None, "c2": 0}, {}])
def test_a_provider_that_does_not_say_of_every_host_how_it_went_is_named(
    job: Job, answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimProvider, "mount", lambda *_: sdk.PerHost(hosts=answer))
    error = job.mount()
    assert isinstance(error, DaccError)
    assert error.kind == "ProviderBug"


def test_hosts_that_a_provider_was_not_asked_for_are_not_taken_for_mounted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = SimProvider.mount
    monkeypatch.setattr(SimProvider, "mount", lambda self, request: sdk.PerHost(hosts={**mount(self, request).hosts, "c9": None}))
    job.mount()
    assert job.status.mounts == "c[1-2]"


def test_a_node_that_answers_nonsense_each_time_is_dirty_and_holds_nobody_up(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Today's rule for nodes that cannot be reached, after the tries that a lost one gets: four such jobs emptied a pool."""
    job.mount()
    unmount, calls = SimProvider.unmount, []

    def nonsense(self: SimProvider, request: sdk.Unmount) -> sdk.PerHost:
        calls.append(request.hosts)
        assert isinstance(request.context.hosts, SimRunner)
        request.context.hosts.unsure = True
        well = [host for host in request.hosts if host != "c2"]
        lost = {host: HostLost(host=host, why="its answer is malformed") for host in request.hosts if host == "c2"}
        return sdk.PerHost(hosts={**unmount(self, dataclasses.replace(request, hosts=tuple(well))).hosts, **lost})

    monkeypatch.setattr(SimProvider, "unmount", nonsense)
    assert type(job.call(lambda context: answered(submit_goal(context, "1", goals.POST_RUN, goals.unmounted)))).__name__ == "Answer"
    assert (job.status.touched, job.status.dirty) == ("", "c2")
    assert calls == [("c1", "c2"), ("c2",), ("c2",)]
