"""One daemon of the simulation: the product's engine and executor, over a virtual clock and a store that fails.

Work is done late, in part or never; answers arrive late or get lost; the process stands still, or dies while its commands live on.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, Protocol

from ..daemon.executor import Executor, Follower, Inquiry, Lane
from ..errors import Compacted, DaccError, KeystoreUnavailable
from ..keystore.base import DEFAULT_TIMEOUT, Batch, Compare, Keystore, Op, Snapshot, TxnResult, Watch
from ..lifecycle import effects as fx
from ..lifecycle.engine import Engine
from ..lifecycle.step_runner import StepEnvironment, run_step
from ..sdk import CancelToken
from ..values import Brick
from ..verbs.frontend import Answer
from ..verbs.operations import User, Verb
from ..verbs.sessions import VerbContext
from .world import Crashed, World

RULES = fx.Rules(
    lease_ttl=10.0,
    deadlines={"create": 60.0, "mount": 30.0, "unmount": 30.0, "delete": 60.0, "stage": 600.0},
    teardown_budget=120.0,
    first_wait=0.5,
)
SKEW = 600.0
"""By how many seconds a machine's wall clock is wrong at most. It is set anew when its daemon starts, and now and then."""
CALL_SECONDS = 280.0
HEARTBEAT = 1.0
CLOCK_STEPS = 0.005
"""How likely a machine's clock is set whenever its daemon looks for news."""
COMPACTED_FAULTS = 0.1
"""How likely a look for news meets a history that is gone, as a part of the store's faults."""
LONG_STEP = 50.0
MAX_ANSWER_SECONDS = 200.0
"""No effect takes longer to be answered, with all that the simulation may do to it."""
ANSWERS = (fx.Transacted, fx.Granted, fx.Renewed, fx.UserResolved, fx.StepEnded, fx.Fenced)
Task = Callable[[], None]
ReplyTo = Callable[[Answer | Exception | None], None]


class Stage(Protocol):
    """The simulation as its daemons see it."""

    random: Random
    clocks: Random
    now: fx.Now
    world: World
    store_faults: float
    crashes: int
    most_changes: int
    environment: StepEnvironment
    exits: list[tuple[str, DaccError | None]]
    violations: list[str]
    steps: Counter[str]

    @property
    def store(self) -> Keystore:
        """The store of the cluster, which never fails."""
        ...

    def later(self, seconds: float, task: Task) -> None:
        """Do this after some simulated seconds."""
        ...

    def write(self, host: str, incarnation: str, compares: tuple[Compare, ...], ops: tuple[Op, ...]) -> TxnResult:
        """A daemon's transaction."""
        ...


class SimulatedDaemon:
    """One daemon: an engine and the executor of the product while it runs, nothing while it is dead."""

    def __init__(self, sim: Stage, host: str, bricks: tuple[Brick, ...], machine: str = "") -> None:
        self.sim, self.host, self.bricks, self.machine = sim, host, bricks, machine or host
        self.boot = 1
        self.executor: Executor | None = None
        self.runtime = VirtualRuntime(self)
        self.life = 0
        self.cut_until = 0.0
        self.still_until = 0.0
        self.skew = 0.0
        self._refs = itertools.count()
        self._pending: dict[int, ReplyTo] = {}

    @property
    def engine(self) -> Engine | None:
        """Its engine, while it lives."""
        return self.executor.engine if self.executor is not None else None

    def start(self) -> None:
        """A new incarnation."""
        self.life += 1
        self.set_clock()
        self.still_until = 0.0
        pools = {brick.pool: (brick.capacity, "sim") for brick in self.bricks}
        rules = replace(RULES, most_changes=self.sim.most_changes)
        boot, incarnation = f"{self.machine}.{self.boot}", f"{self.machine}.{self.life}"
        engine = Engine(self.host, incarnation, bricks=self.bricks, pools=pools, rules=rules, boot=boot, on_bug=_fatal)
        self.runtime = VirtualRuntime(self)
        self.executor = Executor(engine, SimKeystore(self), self.sim.environment, self.runtime, users=_user)
        self.executor.start()

    def set_clock(self) -> None:
        """Somebody sets the machine's clock, wrongly."""
        self.skew = self.sim.clocks.uniform(-SKEW, SKEW)

    def crash(self) -> None:
        """Gone, with whatever it had under way; the commands of its steps may live on."""
        if self.executor is None:
            return
        self.executor = None
        self.sim.crashes += 1
        self.runtime.crash()
        pending, self._pending = self._pending, {}
        for reply in pending.values():
            reply(None)

    def exit(self) -> None:
        """It ends itself."""
        if self.executor is not None:
            self.sim.exits.append((self.host, self.executor.error))
            self.crash()

    def give(self, event: fx.Event | Inquiry) -> None:
        """Let the executor take an event; later, when the daemon stands still."""
        if self.still:
            self.when_awake(self.bound(partial(self.give, event)))
        elif self.executor is not None:
            self.runtime.check_awaited(event)
            self.executor.take(event)

    def call(self, verb: Callable[[VerbContext], Verb[Answer]], token: str, reply: ReplyTo) -> None:
        """A client's call; a dead daemon answers ``None`` at once."""
        if self.engine is None:
            reply(None)
        else:
            context = VerbContext(self.engine.view, lambda: self.now.wall, most_changes=self.sim.most_changes)
            self.send(verb(context), CALL_SECONDS, token, reply)

    def send(self, verb: Verb[Answer], seconds: float, token: str, reply: ReplyTo) -> None:
        """A verb of a client; ``None`` is the answer of a daemon that dies meanwhile."""
        assert self.executor is not None
        ref = next(self._refs)
        self._pending[ref] = reply

        def answered(answer: Answer | Exception) -> None:
            if self._pending.pop(ref, None) is not None:
                reply(answer)

        self.executor.call(verb, seconds, token, answered)

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

    def bound(self, task: Task) -> Task:
        """The task, unless the present life is over by then; put off while the daemon stands still."""
        life = self.life

        def run() -> None:
            if self.executor is None or self.life != life:
                return
            if self.still:
                self.when_awake(run)
            else:
                task()

        return run

    def when_awake(self, task: Task) -> None:
        """Do this when it goes on, and has come to this one of the many things that wait for it."""
        self.sim.later(self.still_until - self.sim.now.mono + self.sim.random.uniform(0.0, 0.2), task)


def _fatal(bug: Exception) -> None:
    """Here a defect must be seen, not survived."""
    raise bug


def _user(uid: int, name: str) -> User:
    return User(uid=uid, gid=uid, name=f"u{uid}")


@dataclass
class SimulatedStep:
    """A step that a daemon runs: it is done at one moment of the virtual clock, all of it or a prefix."""

    order: fx.StepOrder
    work: Task
    cancel: CancelToken
    done: bool = False


class VirtualRuntime:
    """The runtime of one life of a simulated daemon. What it had sent when it died may be done all the same."""

    def __init__(self, daemon: SimulatedDaemon) -> None:
        self._daemon, self._sim = daemon, daemon.sim
        self.steps: dict[int, SimulatedStep] = {}
        self._asked: dict[int, tuple[float, fx.Asked]] = {}
        self.dead = False
        self._tokens: dict[int, CancelToken] = {}
        self._tick_at = self._look_at = float("inf")
        self._follower: Follower | None = None

    # --- for the executor ---

    def now(self) -> fx.Now:
        """The time as this machine's clocks have it."""
        return self._daemon.now

    def submit(self, lane: Lane, effect: fx.Asked, work: Task) -> None:
        """Done a little later; steps may take long. The work is handed over once more, sometimes: it is done at most once."""
        self._asked[effect.ref] = self._sim.now.mono, effect
        if self._sim.random.random() < self._sim.store_faults:
            self._later(2 * LONG_STEP, work)
        match effect:
            case fx.RunStep():
                self._begin(effect, work)
            case fx.Transact():
                self._sim.later(self._delay(), partial(self._send, work))
            case _:
                self._later(self._delay(), work)

    def finish(self, lane: Lane, work: Callable[[], Any], seconds: float) -> None:
        """Done a little later, although the daemon ends."""
        self._sim.later(self._delay(), work)

    def cancel_token(self, ref: int) -> CancelToken:
        """A token that ends the step a little later."""
        token = self._tokens[ref] = CancelToken()
        token.on_cancel(lambda: self._later(self._delay(), partial(self._do, ref)))
        return token

    def follow(self, follower: Follower) -> None:
        """Look when there is news, and now and then."""
        self._follower = follower
        self._look_in(self._delay())

    def post(self, event: fx.Event | Inquiry) -> None:
        """Handled at once, except for the answers that travel some more."""
        if self.dead:
            return
        match event:
            case fx.Transacted():
                self._later(self._sim.random.uniform(0.0005, 0.01), partial(self._daemon.give, event))
            case fx.StepEnded():
                if event.outcome.unsure:
                    self._live_on(self.steps[event.ref])
                self._later(self._sim.random.uniform(0.0, 0.2), partial(self._ended, event))
            case fx.Called():
                self._later(0.0, partial(self._daemon.give, event))
            case _:
                self._daemon.give(event)

    def wake_at(self, mono: float) -> None:
        """A tick at this time."""
        if mono < self._tick_at:
            self._tick_at = mono
            self._later(max(0.0, mono - self._sim.now.mono), partial(self._tick, mono))

    def stop(self) -> None:
        """The daemon exits."""
        self._daemon.exit()

    # --- for the cluster ---

    def check_awaited(self, event: fx.Event | Inquiry) -> None:
        """An effect is answered once."""
        if isinstance(event, ANSWERS) and self._asked.pop(event.ref, None) is None:
            self._sim.violations.append(f"{self._daemon.host} is answered twice: {event}")

    def unanswered(self) -> list[fx.Asked]:
        """The effects that should have been answered long ago."""
        return [effect for at, effect in self._asked.values() if self._sim.now.mono > at + MAX_ANSWER_SECONDS]

    def crash(self) -> None:
        """The process is gone; the commands of its steps may live on."""
        self.dead = True
        for step in self.steps.values():
            if not step.done and self._sim.random.random() < 0.7:
                self._live_on(step)
        self.steps.clear()

    def news(self) -> None:
        """Something was written to the store."""
        if self._follower is not None:
            self._look_in(self._sim.random.choice([0.002, 0.01, 0.05, 0.3]))

    # --- time ---

    def _delay(self) -> float:
        return self._sim.random.uniform(0.0005, 0.02)

    def _later(self, seconds: float, task: Task) -> None:
        self._sim.later(seconds, self._daemon.bound(task))

    def _tick(self, at: float) -> None:
        if at == self._tick_at:  # else there was an earlier one
            self._tick_at = float("inf")
            self._daemon.give(fx.Tick())

    # --- the store ---

    def _send(self, work: Task) -> None:
        if self.dead and self._sim.random.random() < 0.5:
            return  # the request never left
        if self._daemon.still and not self.dead and self._sim.random.random() < 0.5:
            self._daemon.when_awake(partial(self._send, work))  # nor did this one, yet
            return
        work()

    def _look_in(self, seconds: float) -> None:
        at = self._sim.now.mono + seconds
        if at < self._look_at:
            self._look_at = at
            self._later(seconds, partial(self._look, at))

    def _look(self, at: float) -> None:
        if at != self._look_at or self._follower is None:
            return  # looked earlier
        self._look_at = float("inf")
        if self._sim.clocks.random() < CLOCK_STEPS:
            self._daemon.set_clock()
        self._look_in(self._follower.advance() or HEARTBEAT)

    # --- steps ---

    def _begin(self, effect: fx.RunStep, work: Task) -> None:
        ref = effect.ref
        self.steps[ref] = SimulatedStep(effect.order, work, self._tokens.pop(ref))
        self._sim.steps[effect.order.step.kind] += 1
        slow = self._sim.random.random() < self._sim.world.faults
        self._later(self._sim.random.uniform(0.01, LONG_STEP if slow else 0.5), partial(self._do, ref))

    def _do(self, ref: int) -> None:
        """The step is done now. One that was cancelled gets so far that it learns of it after some of its effects."""
        step = self.steps.get(ref)
        if step is None or step.done:
            return
        step.done = True
        self._sim.world.deaf_for = self._sim.random.choice([0, 1, 2]) if step.cancel.cancelled else 0
        try:
            step.work()
        finally:
            self._sim.world.deaf_for = 0

    def _ended(self, event: fx.StepEnded) -> None:
        if self.steps.pop(event.ref, None) is not None:
            self._daemon.give(event)

    def _live_on(self, step: SimulatedStep) -> None:
        prefix = self._sim.random.choice([0, 1, 2, 3, -1])
        self._sim.later(self._sim.random.uniform(0, 20), partial(self._zombie, step, prefix))

    def _zombie(self, step: SimulatedStep, prefix: int) -> None:
        """Commands of a step that nobody waits for any more."""
        self._sim.world.crash_after = prefix
        try:
            run_step(step.order, self._sim.environment, CancelToken(), lambda _: None)
        except Crashed:
            pass
        finally:
            self._sim.world.crash_after = -1


class SimKeystore(Keystore):
    """The store as one life of a daemon reaches it: cut off at times, and answers get lost."""

    def __init__(self, daemon: SimulatedDaemon) -> None:
        self._daemon, self._sim, self._store = daemon, daemon.sim, daemon.sim.store
        self._writer = f"{daemon.machine}.{daemon.life}"
        self.where = "simulation"

    def _reach(self) -> None:
        if self._daemon.cut or self._sim.random.random() < self._sim.store_faults:
            raise KeystoreUnavailable(where=self.where, why="it is cut off")

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """Perhaps not done, perhaps done without an answer."""
        self._reach()
        result = self._sim.write(self._daemon.host, self._writer, tuple(compares), tuple(ops))
        if self._sim.random.random() < self._sim.store_faults:
            raise KeystoreUnavailable(where=self.where, why="no answer")
        return result

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Some keys."""
        self._reach()
        return self._store.read(*keys)

    def close(self) -> None:
        """Nothing to close: the store is shared."""

    def grant(self, ttl: float, *, timeout: float = DEFAULT_TIMEOUT) -> int:
        """A lease."""
        self._reach()
        return self._store.grant(ttl)

    def renew(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Whether it still lives."""
        self._reach()
        return self._store.renew(lease)

    def revoke(self, lease: int, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Given back."""
        self._store.revoke(lease)

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Everything below a prefix."""
        self._check_cut()
        return self._store.range(prefix)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """The changes from then on."""
        return SimWatch(self._store.watch(prefix, after_revision), self._check_watch)

    def _check_watch(self) -> None:
        self._check_cut()
        if self._sim.random.random() < COMPACTED_FAULTS * self._sim.store_faults:
            raise Compacted(wanted=1, oldest=2)

    def _check_cut(self) -> None:
        if self._daemon.cut:
            raise KeystoreUnavailable(where=self.where, why="it is cut off")


class SimWatch:
    """A watch that never blocks, fails while the daemon is cut off, and whose history may be gone."""

    def __init__(self, watch: Watch, check_cut: Callable[[], None]) -> None:
        self._watch, self._check_cut = watch, check_cut

    def next(self, timeout: float) -> Batch | None:
        """What is there."""
        self._check_cut()
        return self._watch.next(0)

    def close(self) -> None:
        """End it."""
        self._watch.close()

