"""A simulated cluster in one process: several daemons, one store, one world, one seeded scheduler.

Everything that could happen in any order does: answers arrive late, daemons crash with steps half done whose commands live on, leases end,
daemons stand still and go on, the store fails before or after a write, nodes go down. After each event the rules of the design are checked;
a seed replays exactly.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Generator
from random import Random
from typing import Any

from ..errors import DaccError
from ..keystore.base import Compare, Op, TxnResult
from ..keystore.memory import MemoryKeystore
from ..lifecycle import effects as fx
from ..lifecycle.step_runner import StepEnvironment
from ..registry.transaction import MOST_CHANGES
from ..values import Brick
from ..verbs.frontend import Answer
from ..verbs.operations import Verb
from .daemon import SimulatedDaemon, Task
from .invariants import Invariants, broken_rules
from .world import SimMover, SimProvider, SimRunner, World


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
        self.events = self.crashes = 0
        self.steps: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Task]] = []
        self._checked = -1
        self.store = MemoryKeystore(clock=lambda: self.now.mono)
        self.world = World(self.random, faults=faults, broken=self.violations.append, may_delete=self._may_delete)
        self.runner = SimRunner(self.world)
        provider = SimProvider(self.world)
        self.environment = StepEnvironment(lambda _: provider, self.runner, SimMover(self.world), "/mnt/dac", "/movers")
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
            if node.engine is None:
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
            for node in self.nodes:
                node.runtime.news()
            self.violations.extend(broken_rules(self.rules.records()))
        if self.violations:
            raise AssertionError(f"seed {self.seed}, event {self.events}, t={self.now.mono:.3f}: " + "; ".join(self.violations))


def answered(verb: Generator[Any, Any, Any]) -> Verb[Answer]:
    """A verb of the registry, ended by an empty answer."""
    yield from verb
    return Answer()
