"""A step of which a command may still be running: its hosts are fenced with a raised generation before anything else is done."""

from __future__ import annotations

import dataclasses

import pytest

from dacc_core import sdk
from dacc_core.errors import DaccError, HostLost, StepFailed
from dacc_core.lifecycle import transitions
from dacc_core.lifecycle.plan import Step
from dacc_core.registry.records import Running, Status
from dacc_core.simulation.cluster import Simulation
from dacc_core.simulation.world import SimProvider, SimRunner, World

from .quiet import Job

LOST = HostLost(host="c1", why="the connection ended")


def runner(request: sdk.Mount | sdk.Unmount) -> SimRunner:
    assert isinstance(request.context.hosts, SimRunner)
    return request.context.hosts


def test_a_step_that_lost_a_host_is_tried_again_under_a_higher_generation(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, dict[tuple[str, str], int]]] = []
    mount = SimProvider.mount

    def once(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        seen.append((request.context.generation, dict(self.world.fences)))
        if len(seen) > 1:
            return mount(self, request)
        runner(request).unsure = True
        return sdk.PerHost(hosts={"c1": StepFailed(step="mount", token="1", why="whatever the provider made of it"), "c2": None})

    monkeypatch.setattr(SimProvider, "mount", once)
    assert type(job.mount()).__name__ == "Answer"
    (first, _), (second, fences) = seen
    assert second == first + 1
    assert {host for (host, _), generation in fences.items() if generation == second} >= {"c1", "c2"}


def test_a_step_that_succeeds_and_is_unsure_is_fenced_and_counts(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts: list[int] = []
    mount = SimProvider.mount

    def careless(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        mounts.append(request.context.generation)
        runner(request).unsure = True
        return mount(self, request)

    monkeypatch.setattr(SimProvider, "mount", careless)
    assert type(job.mount()).__name__ == "Answer"
    job.sim.run(5.0)
    assert len(mounts) == 1
    assert (job.status.generation, job.status.running) == (mounts[0] + 1, None)
    assert set(job.sim.world.fences.values()) == {mounts[0] + 1}


def test_a_goal_whose_steps_lose_their_host_each_time_fails(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    generations: list[int] = []

    def never(self: SimProvider, request: sdk.Mount) -> sdk.PerHost:
        generations.append(request.context.generation)
        runner(request).unsure = True
        return sdk.PerHost(hosts=dict.fromkeys(request.hosts, LOST))

    monkeypatch.setattr(SimProvider, "mount", never)
    assert isinstance(job.mount(), DaccError)
    assert generations == [generations[0] + tries for tries in range(3)]


def test_an_unmount_that_lost_its_host_is_made_again(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.mount()
    calls: list[tuple[str, ...]] = []
    unmount = SimProvider.unmount

    def once(self: SimProvider, request: sdk.Unmount) -> sdk.PerHost:
        calls.append(request.hosts)
        if len(calls) > 1:
            return unmount(self, request)
        runner(request).unsure = True
        done = unmount(self, dataclasses.replace(request, hosts=("c2",)))
        return sdk.PerHost(hosts={**done.hosts, "c1": LOST})

    monkeypatch.setattr(SimProvider, "unmount", once)
    job.tear_down()
    assert calls == [("c1", "c2"), ("c1",)]
    assert not job.sim.world.volumes


def test_a_host_that_was_lost_is_not_taken_for_one_that_is_gone() -> None:
    status = Status(touched="c[1-2]", mounts="c[1-2]", running=Running(step="unmount"))
    outcome = transitions.StepOutcome(error=LOST, hosts={"c1": LOST, "c2": None}, unsure=True)
    known = transitions.finish(Step("unmount", targets="c[1-2]"), status, outcome, at=2.0)
    assert (known.touched, known.dirty) == ("c1", "")


def test_the_simulation_sees_commands_that_outlive_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Simulation(1).random, faults=1.0)
    sim_runner = SimRunner(world).fenced("key", 1, sdk.CancelToken())
    while not sim_runner.unsure:
        with pytest.raises(DaccError):
            sim_runner.touch("s1")
