"""One engine alone with its store: what it asks of hosts is answered when a test says so, or never."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from dacc_core.keystore.base import PutKey
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.engine import Engine
from dacc_core.lifecycle.transitions import StepOutcome
from dacc_core.registry import keys
from dacc_core.registry.records import Request, Session, Status
from dacc_core.values import Brick
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.frontend import Answer
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import VerbContext, tear_down

E = TypeVar("E", bound=fx.Effect)
CLAIM = Claim(token="1", kind="job", request=Request(owner=1, group=1, pool="default", capacity=200, striped=True, digest="d"), size=200)


def answered(verb: Verb[object]) -> Verb[Answer]:
    """The verb, with an answer."""
    yield from verb
    return Answer()


class Alone:
    """The engine of host s1. ``asked``: every effect so far. While ``holding``, sessions' transactions are not answered."""

    def __init__(self, rules: fx.Rules | None = None) -> None:
        self.mono = 1.0
        self.store = MemoryKeystore(clock=lambda: self.mono)
        bricks = tuple(Brick(device=f"/b{number}", capacity=100, pool="default") for number in range(2))
        self.engine = Engine("s1", "i1", bricks=bricks, pools={"default": (100, "sim")}, rules=rules, on_bug=_fatal)
        self.asked: list[fx.Effect] = []
        self.replies: list[object] = []
        self.holding = False
        self._do(self.engine.start(self.now))
        self.watch = self.store.watch(keys.PREFIX, 0)
        self.advance(0.1)

    @property
    def now(self) -> fx.Now:
        return fx.Now(self.mono, self.mono)

    @property
    def session(self) -> Session | None:
        return self.engine.view.session("1")

    @property
    def status(self) -> Status:
        return self.engine.view.status("1")

    # --- what a test does ---

    def set_up(self) -> None:
        """Ask for a session of two bricks of this host."""
        self.call(set_up(self.context, CLAIM))

    def tear_down(self) -> None:
        """Ask for its end."""
        self.call(tear_down(self.context, "1", hurry=True))

    @property
    def context(self) -> VerbContext:
        return VerbContext(self.engine.view, lambda: self.mono)

    def call(self, verb: Verb[object]) -> None:
        """Have a verb run."""
        self.give(fx.Called(-1, answered(verb), 1000.0, "1"))

    def write(self, session: Session) -> None:
        """Change the session's record, as a verb of another host does."""
        self.store.txn((), [PutKey(keys.key("sessions", "1"), keys.encode(session))])
        self.follow()

    def give(self, event: fx.Event) -> None:
        """Let the engine handle an event, and everything that follows from it at once."""
        self._do(self.engine.handle(event, self.now))
        self.follow()

    def follow(self) -> None:
        """Let the engine see what the store has."""
        while (batch := self.watch.next(0)) is not None and batch.changes:
            self._do(self.engine.handle(fx.Watched(batch), self.now))

    def advance(self, seconds: float) -> None:
        """Let time pass; the watch hears from the store all the while."""
        end = self.mono + seconds
        while self.mono < end:
            self.mono = min(end, max(self.engine.next_wake, self.mono), self.mono + 0.1)
            self._do(self.engine.handle(fx.Tick(), self.now))
            batch = self.watch.next(0)
            if batch is not None:
                self._do(self.engine.handle(fx.Watched(batch), self.now))

    def end_step(self, outcome: StepOutcome) -> None:
        """The last step that was asked for ends."""
        self.give(fx.StepEnded(self.last(fx.RunStep).ref, outcome))

    # --- what the engine asked for ---

    def all(self, kind: type[E]) -> list[E]:
        """Every effect of a kind."""
        return [effect for effect in self.asked if isinstance(effect, kind)]

    def last(self, kind: type[E]) -> E:
        """The last effect of a kind."""
        return self.all(kind)[-1]

    def _do(self, effects: Iterable[fx.Effect]) -> None:
        for effect in effects:
            self.asked.append(effect)
            match effect:
                case fx.Load():
                    self._do(self.engine.handle(fx.Loaded(self.store.range(keys.PREFIX)), self.now))
                case fx.Grant():
                    self._do(self.engine.handle(fx.Granted(effect.ref, self.store.grant(effect.ttl)), self.now))
                case fx.Renew():
                    self._do(self.engine.handle(fx.Renewed(effect.ref, self.store.renew(effect.lease), self.mono), self.now))
                case fx.Transact() if not self.holding:
                    self.commit(effect)
                case fx.Reply():
                    self.replies.append(effect.answer)

    def commit(self, effect: fx.Transact) -> None:
        """Do a transaction and answer it."""
        result = self.store.txn(effect.compares, effect.ops)
        self._do(self.engine.handle(fx.Transacted(effect.ref, result), self.now))


def _fatal(bug: Exception) -> None:
    raise AssertionError("the engine met a defect") from bug
