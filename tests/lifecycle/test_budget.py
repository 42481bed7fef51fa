"""The time that a teardown may take is counted by the host that is at it: what another host's clock says neither ends nor prolongs it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dacc_core import sdk
from dacc_core.errors import DaccError, Unavailable
from dacc_core.registry.records import Request
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.simulation.daemon import RULES, SimulatedDaemon
from dacc_core.simulation.world import SimProvider
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.sessions import tear_down

HOUR = 3600.0
HOURS = pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])


class Teardown:
    """A teardown whose delete fails until it is mended, in a quiet cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sim, self.broken, delete = Simulation(1, faults=0.0), True, SimProvider.delete
        monkeypatch.setattr(SimulatedDaemon, "set_clock", lambda _: None)

        def failing(provider: SimProvider, request: sdk.Delete) -> None:
            if self.broken:
                raise Unavailable(why="the disk is asleep")
            delete(provider, request)

        monkeypatch.setattr(SimProvider, "delete", failing)
        self.sim.run(3.0)
        request = Request(owner=1, group=1, pool="default", capacity=300, striped=True, digest="d")
        claim = Claim(token="1", kind="job", request=request, size=900)  # on bricks of every host
        self._call(lambda context: answered(set_up(context, claim)))
        self.sim.nodes[1].call(lambda context: answered(tear_down(context, "1", hurry=True)), "1", lambda _: None)

    def _call(self, verb: Callable[..., object]) -> None:
        answers: list[object] = []
        self.sim.nodes[0].call(verb, "1", answers.append)  # type: ignore[arg-type]
        while not answers:
            self.sim.step()
        assert not isinstance(answers[0], DaccError)

    @property
    def coordinator(self) -> SimulatedDaemon:
        self.sim.rules.revision()
        name = self.sim.rules.records().status("1").coordinator
        return next(node for node in self.sim.nodes if node.host == name)

    @property
    def quarantined(self) -> bool:
        self.sim.rules.revision()
        return any(entry.record.quarantined for entry in self.sim.rules.records().allocations.values())

    @property
    def ended(self) -> bool:
        self.sim.rules.revision()
        return self.sim.rules.records().session("1") is None

    def hand_over(self, hours: int) -> None:
        """To a host whose clock is wrong by so many hours."""
        former = self.coordinator
        for node in self.sim.nodes:
            node.skew = 0.0 if node is former else hours * HOUR
        former.crash()
        while self.coordinator is former:
            self.sim.step()

    def run_until(self, come: Callable[[], bool]) -> float:
        """Let time pass until something is true, and how much did."""
        before = self.sim.now.mono
        while not come():
            assert self.sim.now.mono < before + HOUR, "it did not come true"
            self.sim.step()
        return self.sim.now.mono - before


@pytest.fixture
def teardown(monkeypatch: pytest.MonkeyPatch) -> Teardown:
    return Teardown(monkeypatch)


@HOURS
def test_a_teardown_is_not_given_up_because_the_next_coordinators_clock_is_wrong(teardown: Teardown, hours: int) -> None:
    teardown.sim.run(5.0)
    teardown.hand_over(hours)
    teardown.sim.run(20.0)
    teardown.broken = False
    teardown.run_until(lambda: teardown.ended)
    assert not teardown.quarantined


@HOURS
def test_a_teardown_ends_although_the_next_coordinators_clock_is_wrong(teardown: Teardown, hours: int) -> None:
    teardown.sim.run(5.0)
    teardown.hand_over(hours)
    assert teardown.run_until(lambda: teardown.ended) < RULES.teardown_budget + 30.0
    assert teardown.quarantined


@HOURS
def test_a_teardown_takes_its_time_although_its_coordinators_clock_is_set_meanwhile(teardown: Teardown, hours: int) -> None:
    teardown.sim.run(5.0)
    teardown.coordinator.skew = hours * HOUR
    spent = 5.0 + teardown.run_until(lambda: teardown.ended)
    assert RULES.teardown_budget - 30.0 < spent < RULES.teardown_budget + 30.0
    assert teardown.quarantined


def test_a_teardown_that_nobody_was_at_for_long_is_tried_before_it_is_given_up(teardown: Teardown) -> None:
    teardown.sim.run(5.0)
    for node in teardown.sim.nodes:
        node.crash()
    teardown.sim.run(2 * RULES.teardown_budget)
    teardown.broken = False
    for node in teardown.sim.nodes:
        node.start()
    teardown.run_until(lambda: teardown.ended)
    assert not teardown.quarantined
