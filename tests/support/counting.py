"""Counts what calls ask of the keystore: a cluster without faults over a registry of any size, and the fallback over the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dacc_core.config import Config
from dacc_core.keystore.base import DEFAULT_TIMEOUT, Compare, Op, Snapshot, TxnResult
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.simulation.cluster import Simulation
from dacc_core.verbs.frontend import Answer, Call, FrontEnd, FrontEndContext, PeerCredentials
from dacc_core.verbs.sessions import VerbContext
from dacc_core.verbs.standalone import StandaloneRunner

from .registries import Registry, write

CALLER = PeerCredentials(uid=0, trusted=True)
CONFIG = Config(mount_root="/mnt/dac")


def busy_hosts(hosts: int, sessions: int = 0) -> Registry:
    """Other hosts and sessions in the simulated hosts' pool; a new session gets simulated bricks only."""
    return Registry(hosts, sessions, draining=True, granularity=100, provider="sim")


class CountedCluster(Simulation):
    """Three simulated daemons beside the hosts of a registry. ``transactions`` is how many all of them have asked for.

    A daemon asks nothing else for a call: it reads its own memory.
    """

    def __init__(self, registry: Registry, frontend: FrontEnd) -> None:
        self.transactions, self._frontend = 0, frontend
        super().__init__(seed=1, faults=0.0)
        write(self.store, registry)
        self.run(3.0)

    def write(self, host: str, incarnation: str, compares: tuple[Compare, ...], ops: tuple[Op, ...]) -> TxnResult:
        """A daemon's transaction."""
        self.transactions += 1
        return super().write(host, incarnation, compares, ops)

    def ask(self, *args: str, files: Mapping[str, str] | None = None) -> tuple[Answer, int]:
        """A call's answer, and the transactions that it and the steps that it led to have cost."""
        node, before = self.nodes[0], self.transactions
        answers: list[Answer | Exception | None] = []
        assert node.engine is not None
        parsed = self._frontend.parse(Call(args, files or {}, CALLER))
        context = FrontEndContext(VerbContext(node.engine.view, lambda: self.now.wall), CONFIG)
        node.send(self._frontend.run(parsed, context), 60.0, "", answers.append)
        while not answers:
            self.step()
        self.run(1.0)  # whatever is still written after the answer
        answer = answers[0]
        return answer if isinstance(answer, Answer) else Answer(rc=1, stdout=str(answer)), self.transactions - before


class CountingStore(MemoryKeystore):
    """A store that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()

    def read(self, *keys: str, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Counted as ``read``."""
        self.requests["read"] += 1
        return super().read(*keys, timeout=timeout)

    def range(self, prefix: str, *, timeout: float = DEFAULT_TIMEOUT) -> Snapshot:
        """Counted as ``range``."""
        self.requests["range"] += 1
        return super().range(prefix, timeout=timeout)

    def txn(self, compares: Sequence[Compare], ops: Sequence[Op], *, timeout: float = DEFAULT_TIMEOUT) -> TxnResult:
        """Counted as ``txn``."""
        self.requests["txn"] += 1
        return super().txn(compares, ops, timeout=timeout)


def ask_without_daemon(registry: Registry, frontend: FrontEnd, *args: str) -> tuple[Answer, Counter[str]]:
    """The answer of a call that only reads, as the fallback of the thin client gives it, and what that asked of the store."""
    store = CountingStore()
    write(store, registry)
    store.requests.clear()
    driver = StandaloneRunner(store, CONFIG, 3.0)
    answer = driver.run(frontend.run(frontend.parse(Call(args, {}, CALLER)), driver.context))
    return answer, store.requests
