"""A host's name belongs to one living daemon, and a daemon that cannot be sure of its lease acts no more."""

from __future__ import annotations

import pytest

from dacc_core.errors import Cancelled, HostNameTaken
from dacc_core.keystore.base import Batch, Change, Item, PutKey, Snapshot
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.engine import Engine
from dacc_core.lifecycle.states import Committing
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.registry import keys
from dacc_core.registry.records import Alive, Request, Status
from dacc_core.simulation.cluster import Simulation, answered
from dacc_core.simulation.daemon import RULES, SimulatedDaemon, VirtualRuntime
from dacc_core.verbs.claims import Claim, set_up

TTL = RULES.lease_ttl
NOW = fx.Now(1.0, 1.0)


class Rivals(Simulation):
    """One host, and daemons of its name on other machines."""

    def __init__(self, seed: int = 1, *, faults: float = 0.0) -> None:
        super().__init__(seed, hosts=1, faults=faults)

    @property
    def first(self) -> SimulatedDaemon:
        return self.nodes[0]

    def rival(self) -> SimulatedDaemon:
        """A daemon of the same name that starts on another machine."""
        node = SimulatedDaemon(self, "s1", self.first.bricks, machine=f"other{len(self.nodes)}")
        self.nodes.append(node)
        node.start()
        return node

    @property
    def alive(self) -> Alive | None:
        self.rules.revision()
        entry = self.rules.records().alive.get("s1")
        return entry.record if entry else None

    @property
    def holder(self) -> str:
        """The machine whose daemon has the name."""
        return self.alive.incarnation.partition(".")[0] if self.alive else ""


def test_a_daemon_whose_name_another_machine_keeps_is_refused() -> None:
    sim = Rivals()
    sim.run(1.0)
    sim.rival()
    sim.run(3 * TTL)
    ((host, error),) = sim.exits
    assert (host, type(error)) == ("s1", HostNameTaken)
    assert "s1.1" in str(error)


def test_the_daemon_that_has_the_name_goes_on_undisturbed() -> None:
    sim = Rivals()
    sim.run(1.0)
    before = sim.alive
    sim.rival()
    while sim.nodes[1].engine is not None:
        sim.step()
        assert sim.alive == before
    assert sim.first.engine is not None
    assert sim.first.engine.may_act()


def test_a_daemon_is_not_refused_before_the_other_ones_lease_could_end() -> None:
    sim = Rivals()
    sim.run(1.0)
    sim.rival()
    sim.run(1.9 * TTL)
    assert not sim.exits


def test_a_longer_lease_of_the_other_is_waited_for() -> None:
    sim = Rivals()
    long = Alive(host="s1", incarnation="long", boot="other", ttl=6 * TTL)
    sim.store.txn((), [PutKey(keys.key("alive", "s1"), keys.encode(long))])
    sim.run(11 * TTL)
    assert not sim.exits
    sim.run(2 * TTL)
    assert len(sim.exits) == 1


def test_a_restarted_daemon_has_its_name_at_once() -> None:
    sim = Rivals()
    sim.run(1.0)
    sim.first.crash()
    sim.first.start()
    sim.run(1.0)
    assert sim.alive is not None
    assert sim.alive.incarnation == "s1.2"


def test_after_a_reboot_a_daemon_waits_for_its_former_lease_to_end() -> None:
    sim = Rivals()
    sim.run(1.0)
    sim.first.crash()
    sim.first.boot += 1
    sim.first.start()
    sim.run(TTL / 2)
    assert sim.alive is not None
    assert sim.alive.incarnation == "s1.1"
    sim.run(TTL)
    assert sim.alive.incarnation == "s1.2"
    assert not sim.exits


def test_a_dead_daemons_name_goes_to_one_on_another_machine() -> None:
    sim = Rivals()
    sim.run(1.0)
    sim.first.crash()
    sim.rival()
    sim.run(1.5 * TTL)
    assert sim.holder == "other1"
    assert not sim.exits


@pytest.mark.parametrize("seed", range(30))
def test_of_daemons_that_start_at_the_same_moment_one_gets_the_name(seed: int) -> None:
    sim = Rivals(seed)
    sim.rival()
    sim.rival()
    holders = set()
    while len(sim.exits) < 2:
        sim.step()
        holders.add(sim.holder)
    assert len(holders - {""}) == 1
    assert {type(error) for _, error in sim.exits} == {HostNameTaken}


def test_a_daemon_that_hears_of_another_while_its_lease_is_granted_does_not_replace_it() -> None:
    core = Engine("s1", "mine", boot="here")
    core.start(NOW)
    (grant,) = core.handle(fx.Loaded(Snapshot((), 1)), NOW)
    assert isinstance(grant, fx.Grant)
    key, value = keys.key("alive", "s1"), keys.encode(Alive(host="s1", incarnation="other", boot="elsewhere"))
    core.handle(fx.Watched(Batch((Change(key, Item(key, value, 2), 2),), 2)), NOW)
    assert core.handle(fx.Granted(grant.ref, 7), NOW) == [fx.Revoke(7)]


@pytest.mark.parametrize("seed", range(10))
def test_a_name_passes_on_only_when_its_lease_has_ended(seed: int) -> None:
    sim = Rivals(seed, faults=0.3)
    sim.rival()
    former = None
    while sim.now.mono < 10 * TTL:
        sim.step()
        alive = sim.alive
        assert former is None or alive is None or alive.incarnation.partition(".")[0] == former.incarnation.partition(".")[0]
        former = alive


def test_a_silent_store_proves_nothing_of_the_other_daemon() -> None:
    """Its leases may get their whole time anew when it is back."""
    sim = Rivals()
    sim.run(1.0)
    rival = sim.rival()
    sim.run(1.5 * TTL)
    rival.cut_until = sim.now.mono + TTL
    sim.run(2 * TTL)
    assert not sim.exits
    sim.run(2 * TTL)
    assert len(sim.exits) == 1


def test_a_daemon_that_was_cut_off_gives_way_to_the_one_that_took_its_name() -> None:
    sim = Rivals()
    sim.run(1.0)
    sim.first.cut_until = sim.now.mono + 2 * TTL
    sim.rival()
    sim.run(2 * TTL)
    assert sim.holder == "other1"
    sim.run(4 * TTL)
    assert sim.holder == "other1"
    assert sim.first.engine is None
    assert [type(error) for _, error in sim.exits] == [HostNameTaken]


# --- a lease that is lost or in doubt ---


class Working(Simulation):
    """A cluster in which a daemon has recorded that it begins a step, which takes long; ``told`` has what it did since."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hosts: int = 2) -> None:
        super().__init__(1, hosts=hosts, faults=0.0)
        monkeypatch.setattr(VirtualRuntime, "_do", lambda *_: None)
        self.run(1.0)
        claim = Claim(token="1", kind="job", request=Request(owner=1, group=1, pool="default", capacity=100), size=100)
        self.nodes[0].call(lambda context: answered(set_up(context, claim)), "1", lambda _: None)
        while not self.status.running:
            self.step()
        (self.node,) = (node for node in self.nodes if node.host == self.status.coordinator)
        self.told: list[tuple[float, fx.Effect]] = []
        assert self.node.executor is not None
        begin = self.node.executor._run

        def noted(effect: fx.Effect) -> None:
            self.told.append((self.now.mono, effect))
            begin(effect)

        monkeypatch.setattr(self.node.executor, "_run", noted)

    def begin(self) -> None:
        """The daemon hears that it may begin its step."""
        while not self.node.runtime.steps:
            self.step()
        ((self.ref, _),) = self.node.runtime.steps.items()
        self.told.clear()

    def until(self, kind: type[fx.Effect]) -> float:
        """The time of the first effect of a kind."""
        end = self.now.mono + 3 * TTL
        while self.now.mono < end:
            for at, effect in self.told:
                if isinstance(effect, kind):
                    return at
            self.step()
        raise AssertionError(f"no {kind.__name__} within {3 * TTL} s")

    def stand_still(self) -> None:
        """The daemon stands still for longer than its lease; then it has a new one before it hears anything else."""
        core = self.node.engine
        assert core is not None
        former, end = core.incarnation, self.now.mono + 4 * TTL
        self.node.still_until = self.now.mono + 2 * TTL
        while core.incarnation == former or not core.may_act():
            assert self.now.mono < end, "it got no new lease"
            self.step()

    def end(self, outcome: StepOutcome) -> None:
        """The daemon hears how its step ended."""
        self.node.runtime.post(fx.StepEnded(self.ref, outcome))
        self.run(1.0)

    @property
    def status(self) -> Status:
        self.rules.revision()
        return self.rules.records().status("1")


def test_a_daemon_that_cannot_renew_its_lease_stops_its_steps_after_half_its_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Working(monkeypatch)
    sim.begin()
    cut = sim.now.mono
    sim.node.cut_until = cut + 10 * TTL
    assert sim.until(fx.CancelStep) <= cut + TTL / 2 + 0.1


def test_a_daemon_in_doubt_of_its_lease_begins_nothing_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Working(monkeypatch)
    sim.begin()
    sim.node.cut_until = sim.now.mono + 10 * TTL
    sim.until(fx.CancelStep)
    sim.run(5 * TTL)
    began = [effect for _, effect in sim.told if isinstance(effect, fx.RunStep | fx.FenceHosts | fx.Transact)]
    assert began == []


def test_a_daemon_whose_lease_is_gone_stops_its_steps_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Working(monkeypatch)
    sim.begin()
    sim.rules.revision()
    lost = sim.now.mono
    (lease,) = {item.lease for item in sim.store.read(keys.key("alive", sim.node.host)).items}
    sim.store.revoke(lease)
    assert sim.until(fx.CancelStep) <= lost + 0.5  # the watch looks that often here


def test_a_daemon_that_lost_its_lease_comes_back_as_a_new_incarnation(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Working(monkeypatch)
    sim.begin()
    (lease,) = {item.lease for item in sim.store.read(keys.key("alive", sim.node.host)).items}
    sim.store.revoke(lease)
    sim.run(2.0)
    sim.rules.revision()
    assert sim.rules.records().alive[sim.node.host].record.incarnation == f"{sim.node.host}.1.1"


OUTCOMES = [StepOutcome(error=Cancelled(what="create")), StepOutcome(state={"volume": "a0010000"})]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=["cancelled", "done"])
def test_how_a_step_ended_is_not_written_over_what_the_next_coordinator_does(monkeypatch: pytest.MonkeyPatch, outcome: StepOutcome) -> None:
    sim = Working(monkeypatch)
    sim.begin()
    sim.stand_still()
    taken = sim.status
    assert (taken.coordinator, taken.generation) == ("s2", 2)
    sim.end(outcome)
    assert sim.status == taken


@pytest.mark.parametrize("outcome", OUTCOMES, ids=["cancelled", "done"])
def test_a_step_of_a_lost_lease_is_fenced_and_done_again_where_nobody_else_took_over(
    monkeypatch: pytest.MonkeyPatch, outcome: StepOutcome
) -> None:
    sim = Working(monkeypatch, hosts=1)
    sim.begin()
    sim.stand_still()
    sim.told.clear()
    sim.end(outcome)
    assert [type(effect) for _, effect in sim.told if isinstance(effect, fx.FenceHosts | fx.RunStep)] == [fx.FenceHosts, fx.RunStep]
    assert (sim.status.generation, sim.status.incarnation) == (2, "s1.1.1")


def test_a_step_whose_beginning_was_recorded_under_a_lost_lease_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = Working(monkeypatch)
    assert sim.node.engine is not None
    (reconciler,) = sim.node.engine.reconcilers
    assert isinstance(reconciler.state, Committing)
    beginning, late, give = reconciler.state.ref, list[fx.Event](), sim.node.give
    monkeypatch.setattr(
        sim.node,
        "give",
        lambda event: late.append(event) if isinstance(event, fx.Transacted) and event.ref == beginning else give(event),
    )
    sim.stand_still()
    assert sim.status.coordinator == "s2"
    for event in late:
        give(event)
    sim.run(1.0)
    assert not [effect for _, effect in sim.told if isinstance(effect, fx.RunStep)]
