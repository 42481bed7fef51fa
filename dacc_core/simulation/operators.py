"""What operators do to a simulated cluster: they drain hosts, forget dead ones, and release their bricks when they are back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ..errors import DaccError
from ..verbs.forgetting import forget, losses
from ..verbs.frontend import Answer, PeerCredentials
from ..verbs.hosts import drain
from ..verbs.operations import Verb
from ..verbs.operators import release
from ..verbs.sessions import VerbContext
from .cluster import Simulation, answered
from .daemon import SimulatedDaemon

OPERATOR = PeerCredentials(uid=0, trusted=True)
LEASE_SECONDS = 12.0
CLEANING_SECONDS = 70.0
"""An operator cleans a brick when no command of a dead daemon can act on it any more."""


class Operators:
    """Operators who work while ``busy()``. ``forgotten`` counts hosts that were, ``released`` bricks that were given back."""

    def __init__(self, sim: Simulation, busy: Callable[[], bool]) -> None:
        self.sim, self.busy = sim, busy
        self.random = Random(sim.seed)  # noqa: S311 (a replayable choice, no secret)
        self.forgotten = self.released = 0
        self._away: set[str] = set()
        sim.later(20.0, self._act)

    def _act(self) -> None:
        if self.busy():
            node = self.random.choice(self.sim.nodes)
            self.random.choice([self._drain, self._forget])(node)
            self.sim.later(self.random.expovariate(1 / 60), self._act)

    def _drain(self, node: SimulatedDaemon) -> None:
        self._set_draining(node.host, True)
        self.sim.later(self.random.uniform(5, 60), lambda: self._set_draining(node.host, False))

    def _set_draining(self, host: str, draining: bool) -> None:
        self._ask(lambda context: answered(drain(context, host, OPERATOR, draining=draining)), lambda _: None)

    def _forget(self, node: SimulatedDaemon) -> None:
        if node.host in self._away or len(self.sim.nodes) == 1:
            return
        self._away.add(node.host)
        node.crash()
        self.sim.later(self.random.uniform(LEASE_SECONDS, 2 * LEASE_SECONDS), lambda: self._ask(_forgets(node.host), self._counted))
        self.sim.later(self.random.uniform(LEASE_SECONDS, CLEANING_SECONDS), lambda: node.start() if node.engine is None else None)
        self.sim.later(2 * CLEANING_SECONDS, lambda: self._clean(node.host))

    def _counted(self, ok: bool) -> None:
        self.forgotten += ok

    def _clean(self, host: str) -> None:
        """Clean and release what came back in quarantine, and nothing else."""
        self._away.discard(host)
        self.sim.rules.revision()
        held = self.sim.rules.records().allocations.get(host)
        if held is None or held.record.forgotten:
            return
        for device, reason in held.record.quarantined.items():
            if reason.startswith("forgotten on"):
                self.sim.world.clean(f"{host}:{device}")
                self._release(host, device)

    def _release(self, host: str, device: str) -> None:
        def done(ok: bool) -> None:
            self.released += ok

        self._ask(lambda context: answered(release(context, host, device, OPERATOR)), done)

    def _ask(self, verb: Callable[[VerbContext], Verb[Answer]], then: Callable[[bool], None]) -> None:
        """One call to any daemon; a dead one answers nothing."""

        def reply(answer: Answer | Exception | None) -> None:
            if isinstance(answer, Exception) and not isinstance(answer, DaccError):
                self.sim.violations.append(f"an operator's verb raised {answer!r}")
            then(isinstance(answer, Answer))

        self.random.choice(self.sim.nodes).call(verb, "", reply)


def _forgets(host: str) -> Callable[[VerbContext], Verb[Answer]]:
    def verb(context: VerbContext) -> Verb[Answer]:
        lost = losses(context.view, host, OPERATOR)
        yield from forget(context, host, OPERATOR, {session["token"] for session in lost["sessions"]})
        return Answer()

    return verb
