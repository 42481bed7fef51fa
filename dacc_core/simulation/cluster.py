"""A simulated cluster in one process: several cores, one store, one world, one seeded scheduler.

Everything that could happen in any order does: answers arrive late, daemons crash with steps half done whose commands live on, leases end,
daemons stand still and go on, the store fails before or after a write, nodes go down. After each event the rules of the design are checked;
a seed replays exactly.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from .. import sdk
from ..errors import Cancelled, DaccError, KeystoreUnavailable
from ..keystore.base import Compare, Op, TxnResult
from ..keystore.memory import MemoryKeystore
from ..lifecycle import effects as fx
from ..lifecycle.engine import Engine
from ..lifecycle.step_runner import StepEnvironment, run_step
from ..lifecycle.transitions import StepOutcome
from ..registry import keys
from ..registry.transaction import MOST_CHANGES
from ..values import Brick, Progress
from ..verbs.frontend import Answer
from ..verbs.operations import User, Verb
from ..verbs.sessions import VerbContext
from .invariants import Invariants, broken_rules
from .world import Crashed, SimMover, SimProvider, SimRunner, World

RULES = fx.Rules(
    lease_ttl=10.0,
    deadlines={"create": 60.0, "mount": 30.0, "unmount": 30.0, "delete": 60.0, "stage": 600.0},
    teardown_budget=120.0,
    first_wait=0.5,
)
SKEW = 600.0
"""By how many seconds a machine's wall clock is wrong at most. It is set anew when its daemon starts, and now and then."""
CLOCK_STEPS = 0.001
Task = Callable[[], None]


@dataclass
class SimulatedStep:
    """A step whose effect has not happened yet, or whose outcome has not been told."""

    order: fx.StepOrder
    cancel: sdk.CancelToken = field(default_factory=sdk.CancelToken)
    done: bool = False


class SimulatedDaemon:
    """One daemon: a core while it runs, nothing while it is dead."""

    def __init__(self, sim: Simulation, host: str, bricks: tuple[Brick, ...], machine: str = "") -> None:
        self.sim, self.host, self.bricks, self.machine = sim, host, bricks, machine or host
        self.boot = 1
        self.core: Engine | None = None
        self.life = 0
        self.cut_until = 0.0
        self.still_until = 0.0
        self.steps: dict[int, SimulatedStep] = {}
        self.replies: dict[int, Callable[[Answer | Exception | None], None]] = {}
        self.watch: Any = None
        self.skew = 0.0
        self._tick_at = float("inf")

    def start(self) -> None:
        """A new incarnation."""
        self.life += 1
        self._set_clock()
        self.still_until = 0.0
        self._tick_at = float("inf")
        pools = {brick.pool: (brick.capacity, "sim") for brick in self.bricks}
        rules = replace(RULES, most_changes=self.sim.most_changes)
        boot, incarnation = f"{self.machine}.{self.boot}", f"{self.machine}.{self.life}"
        self.core = Engine(self.host, incarnation, bricks=self.bricks, pools=pools, rules=rules, boot=boot, on_bug=_fatal)
        self._run(self.core.start(self.now))
        self.sim.later(0.1, self.sim.bound(self, self._poll))

    def _set_clock(self) -> None:
        self.skew = self.sim.clocks.uniform(-SKEW, SKEW)

    def crash(self) -> None:
        """Gone, with whatever it had under way; the commands of its steps may live on."""
        if self.core is None:
            return
        self.core = None
        for step in self.steps.values():
            if not step.done and self.sim.random.random() < 0.7:
                self._live_on(step)
        self.steps.clear()
        replies, self.replies = self.replies, {}
        for reply in replies.values():
            reply(None)

    def _live_on(self, step: SimulatedStep) -> None:
        prefix = self.sim.random.choice([0, 1, 2, 3, -1])
        self.sim.later(self.sim.random.uniform(0, 20), partial(self._zombie, step, prefix))

    def _zombie(self, step: SimulatedStep, prefix: int) -> None:
        self.sim.world.crash_after = prefix
        try:
            run_step(step.order, self.sim.tools, step.cancel, lambda _: None)
        except Crashed:
            pass
        finally:
            self.sim.world.crash_after = -1

    def give(self, event: fx.Event) -> None:
        """Let the core handle an event and schedule what it wants done; later, when the daemon stands still."""
        if self.still:
            self.when_awake(self.sim.bound(self, lambda: self.give(event)))
        elif self.core is not None:
            self._run(self.core.handle(event, self.now))

    def call(self, verb: Callable[[VerbContext], Verb[Answer]], token: str, reply: Callable[[Answer | Exception | None], None]) -> None:
        """A client's call; a dead daemon answers ``None`` at once."""
        if self.core is None:
            reply(None)
            return
        ref = next(self.sim.refs)
        self.replies[ref] = reply
        scene = VerbContext(self.core.view, lambda: self.now.wall, most_changes=self.sim.most_changes)
        self.give(fx.Called(ref, verb(scene), 280.0, token))

    # --- effects ---

    def _run(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self._schedule(effect)
        if self.core is not None and self.core.next_wake < self._tick_at:
            self._tick_at = self.core.next_wake
            self.sim.later(max(0.0, self._tick_at - self.sim.now.mono), self.sim.bound(self, self._tick))

    def _tick(self) -> None:
        self._tick_at = float("inf")
        self.give(fx.Tick())

    def _schedule(self, effect: fx.Effect) -> None:  # noqa: C901 - a table of the effects
        sim, delay = self.sim, self.sim.random.uniform(0.0005, 0.02)
        match effect:
            case fx.Load():
                sim.later(delay, sim.bound(self, self._load))
            case fx.Transact():
                sim.later(delay, self._transact(effect))
            case fx.Grant():
                sim.later(delay, sim.bound(self, lambda: self.give(fx.Granted(effect.ref, self._ask(lambda: sim.store.grant(effect.ttl))))))
            case fx.Renew():
                sim.later(delay, sim.bound(self, partial(self._renew, effect, sim.now.mono)))
            case fx.Revoke():
                sim.later(delay, lambda: sim.store.revoke(effect.lease))
            case fx.ResolveUser():
                user = User(uid=effect.uid, gid=effect.uid, name=f"u{effect.uid}")
                sim.later(delay, sim.bound(self, lambda: self.give(fx.UserResolved(effect.ref, user))))
            case fx.RunStep():
                self._step(effect)
            case fx.CancelStep() if effect.ref in self.steps:
                self.steps[effect.ref].cancel.cancel()
                sim.later(delay, sim.bound(self, lambda: self._perform(effect.ref)))
            case fx.FenceHosts():
                sim.later(delay, sim.bound(self, lambda: self._fence(effect)))
            case fx.Reply():
                sim.later(0.0, sim.bound(self, lambda: self._reply(effect)))
            case fx.Exit():
                sim.exits.append((self.host, effect.error))
                self.crash()

    def _renew(self, effect: fx.Renew, asked: float) -> None:
        self.give(fx.Renewed(effect.ref, self._ask(lambda: self.sim.store.renew(effect.lease)), asked))

    def _ask(self, question: Callable[[], Any]) -> Any:
        if self.cut or self.sim.random.random() < self.sim.store_faults:
            return KeystoreUnavailable(where="simulation", why="it is cut off")
        return question()

    @property
    def now(self) -> fx.Now:
        """The time as this machine's clocks tell it."""
        return fx.Now(self.sim.now.mono, self.sim.now.wall + self.skew)

    @property
    def cut(self) -> bool:
        """Whether this daemon cannot reach the store now."""
        return self.sim.now.mono < self.cut_until

    @property
    def still(self) -> bool:
        """Whether this daemon's process stands still now; what it had sent and what runs elsewhere goes on."""
        return self.sim.now.mono < self.still_until

    def when_awake(self, task: Task) -> None:
        """Do this when it goes on, and has come to this one of the many things that wait for it."""
        self.sim.later(self.still_until - self.sim.now.mono + self.sim.random.uniform(0.0, 0.2), task)

    def _load(self) -> None:
        if self.cut:
            self.sim.later(0.5, self.sim.bound(self, self._load))
            return
        snapshot = self.sim.store.range(keys.PREFIX)
        self.watch = self.sim.store.watch(keys.PREFIX, snapshot.revision)
        self.give(fx.Loaded(snapshot))

    def _poll(self) -> None:
        if self.sim.clocks.random() < CLOCK_STEPS:
            self._set_clock()
        if self.watch is not None and not self.cut:
            batch = self.watch.next(0)
            if batch is not None:
                self.give(fx.Watched(batch))
        self.sim.later(self.sim.random.choice([0.002, 0.01, 0.05, 0.3]), self.sim.bound(self, self._poll))

    def _transact(self, effect: fx.Transact) -> Task:
        core, life = self.core, self.life

        def run() -> None:
            if core is not self.core and self.sim.random.random() < 0.5:
                return  # the request never left
            if self.still and self.sim.random.random() < 0.5:
                self.when_awake(run)  # nor did this one, yet
                return
            chance = self.sim.random.random()
            lost: TxnResult | DaccError = KeystoreUnavailable(where="simulation", why="no answer")
            if self.cut or chance < self.sim.store_faults:
                answer = lost
            else:
                result = self.sim.write(self.host, f"{self.machine}.{life}", effect.compares, effect.ops)
                answer = lost if chance < 2 * self.sim.store_faults else result
            self.sim.later(
                self.sim.random.uniform(0.0005, 0.01), lambda: self.give(fx.Transacted(effect.ref, answer)) if core is self.core else None
            )

        return run

    def _step(self, effect: fx.RunStep) -> None:
        self.steps[effect.ref] = SimulatedStep(effect.order)
        slow = self.sim.random.random() < self.sim.world.faults
        self.sim.later(self.sim.random.uniform(0.01, 50.0 if slow else 0.5), self.sim.bound(self, lambda: self._perform(effect.ref)))

    def _perform(self, ref: int) -> None:
        step = self.steps.get(ref)
        if step is None or step.done:
            return
        step.done = True
        cut = step.cancel.cancelled
        outcome = self._cancelled(step) if cut else run_step(step.order, self.sim.tools, step.cancel, partial(self._progress, ref))
        if outcome.unsure:
            self._live_on(step)
        self.sim.later(self.sim.random.uniform(0.0, 0.2), self.sim.bound(self, lambda: self._tell(ref, outcome)))

    def _progress(self, ref: int, progress: Progress) -> None:
        if ref in self.steps:
            self.give(fx.Progressed(ref, progress))

    def _cancelled(self, step: SimulatedStep) -> StepOutcome:
        """Cancelled after some prefix of its effects."""
        self.sim.world.crash_after = self.sim.random.choice([0, 1, 2])
        try:
            run_step(step.order, self.sim.tools, sdk.CancelToken(), lambda _: None)
        except Crashed:
            pass
        finally:
            self.sim.world.crash_after = -1
        return StepOutcome(error=Cancelled(what=step.order.step.kind), mover_left=True)

    def _tell(self, ref: int, outcome: StepOutcome) -> None:
        if self.steps.pop(ref, None) is not None:
            self.give(fx.StepEnded(ref, outcome))

    def _fence(self, effect: fx.FenceHosts) -> None:
        results = self.sim.runner.fence(effect.hosts, effect.key, effect.generation)
        self.give(fx.Fenced(effect.ref, {host: error for host, error in results.items() if error}))

    def _reply(self, effect: fx.Reply) -> None:
        reply = self.replies.pop(effect.ref, None)
        if reply is not None:
            reply(effect.answer)


class Simulation:
    """The cluster, its clock and its scheduler. ``faults`` is how likely each effect is to fail.

    ``most_changes``: of how many hosts a transaction may change the bricks; few, and claims and endings take several.
    """

    def __init__(self, seed: int, *, hosts: int = 3, bricks: int = 3, faults: float = 0.03, most_changes: int = MOST_CHANGES) -> None:
        self.random = Random(seed)  # noqa: S311 (a replayable choice, no secret)
        self.clocks = Random(seed)  # noqa: S311 (the same; apart, so that a seed's other choices stay as they were)
        self.seed, self.store_faults, self._faults, self.most_changes = seed, faults / 3, faults, most_changes
        self.now = fx.Now(0.0, 1_700_000_000.0)
        self.refs = itertools.count(1_000_000)
        self.violations: list[str] = []
        self.exits: list[tuple[str, DaccError | None]] = []
        self.events = 0
        self._heap: list[tuple[float, int, Task]] = []
        self._checked = -1
        self.store = MemoryKeystore(clock=lambda: self.now.mono)
        self.world = World(self.random, faults=faults, broken=self.violations.append, may_delete=self._may_delete)
        self.runner = SimRunner(self.world)
        provider = SimProvider(self.world)
        self.tools = StepEnvironment(lambda _: provider, self.runner, SimMover(self.world), "/mnt/dac", "/movers")
        offered = tuple(Brick(device=f"/b{number}", capacity=100, pool="default") for number in range(bricks))
        self.nodes = [SimulatedDaemon(self, f"s{number}", offered) for number in range(1, hosts + 1)]
        self.rules = Invariants(self.store, self.world)
        self.world.owned, self.world.dirty = self.rules.is_owned, self.rules.dirty
        for node in self.nodes:
            node.start()

    # --- time ---

    def later(self, seconds: float, task: Task) -> None:
        """Do this after some simulated seconds."""
        heapq.heappush(self._heap, (self.now.mono + seconds, next(self.refs), task))

    def bound(self, node: SimulatedDaemon, task: Task) -> Task:
        """The task, unless the node's present incarnation is dead by then."""
        life = node.life

        def run() -> None:
            if node.core is None or node.life != life:
                return
            if node.still:
                node.when_awake(run)
            else:
                task()

        return run

    def step(self) -> None:
        """One event; then the rules are checked."""
        at, _, task = heapq.heappop(self._heap)
        self.now = fx.Now(max(at, self.now.mono), 1_700_000_000.0 + max(at, self.now.mono))
        self.store.expire()
        task()
        self.events += 1
        self._check()

    def run(self, seconds: float) -> None:
        """Let that much simulated time pass."""
        end = self.now.mono + seconds
        while self._heap and self._heap[0][0] <= end:
            self.step()

    def boot(self, host: str) -> None:
        """A machine that was down or is reset comes up, and what it served is dark; its daemon starts with it."""
        self.world.down.discard(host)
        self.world.boot(host)
        for node in self.nodes:
            if node.machine == host:
                node.crash()
                node.boot += 1
                node.start()

    def calm(self) -> None:
        """No more faults; every host and daemon up."""
        self.store_faults = self.world.faults = 0.0
        for host in tuple(self.world.down):
            self.boot(host)
        for node in self.nodes:
            node.cut_until = node.still_until = 0.0
            if node.core is None:
                node.start()

    # --- the store, watched ---

    def write(self, host: str, incarnation: str, compares: tuple[Compare, ...], ops: tuple[Op, ...]) -> TxnResult:
        """A daemon's transaction; one that succeeds is checked against rules 3 and 5."""
        breaks = [*self.rules.check_writer(host, incarnation, ops), *self.rules.check_owed(ops)]
        result = self.store.txn(compares, ops)
        if sum("/allocations/" in op.key for op in ops) > self.most_changes:
            self.violations.append(f"{host} wrote more than {self.most_changes} hosts at once")
        if result.ok:
            self.violations.extend(breaks)
        return result

    def _may_delete(self, name: str) -> bool:
        return self.rules.may_delete(name)

    def _check(self) -> None:
        revision = self.rules.revision()
        if revision != self._checked:
            self._checked = revision
            self.violations.extend(broken_rules(self.rules.records()))
        if self.violations:
            raise AssertionError(f"seed {self.seed}, event {self.events}, t={self.now.mono:.3f}: " + "; ".join(self.violations))


def _fatal(bug: Exception) -> None:
    """Here a defect must be seen, not survived."""
    raise bug


def answered(verb: Generator[Any, Any, Any]) -> Verb[Answer]:
    """A verb of the registry, ended by an empty answer."""
    yield from verb
    return Answer()
