"""A property of the real executor: whatever becomes of an effect, exactly one event answers it."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dacc_core.daemon import executor as module
from dacc_core.daemon.executor import Executor, Follower, Inquiry, Lane
from dacc_core.errors import Busy, DaccError, HostLost
from dacc_core.keystore.base import Keystore
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.engine import Engine
from dacc_core.lifecycle.step_runner import StepEnvironment
from dacc_core.registry.view import View
from dacc_core.sdk import CancelToken

KINDS = typing.get_args(fx.Asked)
"""Every effect that an event answers, and each that is added."""


class Ended(BaseException):
    """Something that nobody catches by its name."""


RAISED: tuple[BaseException, ...] = (
    Busy(why="it is busy"),
    HostLost(host="c1", why="it is away"),
    RuntimeError("a defect"),
    MemoryError(),
    RecursionError(),
    StopIteration(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    Ended(),
)
VALUES: dict[str, Any] = {"ref": 1, "hosts": ("c1", "c2"), "key": "key", "compares": (), "ops": (), "name": "", "order": None}


def an_effect(kind: type[Any], ref: int) -> fx.Asked:
    """An effect of a kind, whatever fields it has."""
    effect: fx.Asked = kind(**{name: VALUES.get(name, 1) for name in kind.__dataclass_fields__} | {"ref": ref})
    return effect


class Asking:
    """An engine that asks for what it is told to ask for."""

    host, view, next_wake, heard = "h1", View(), float("inf"), 0.0

    def __init__(self) -> None:
        self.effects: list[fx.Effect] = []

    def handle(self, _: fx.Event, __: fx.Now) -> list[fx.Effect]:
        effects, self.effects = self.effects, []
        return effects


class Deciding:
    """A store, host runner, step and passwd of which each call does what the case decides."""

    def __init__(self, outcomes: Iterator[BaseException | None]) -> None:
        self._outcomes = outcomes
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.calls += 1
        error = next(self._outcomes)
        if error is not None:
            raise error
        return {"c1": None, "c2": Busy(why="it is busy")}


class Pile:
    """A runtime that piles work up; the case chooses what is done next, how often, and what cannot be begun."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []
        self.events: list[Any] = []
        self.fails = self.queues = False

    def now(self) -> fx.Now:
        return fx.Now(0.0, 0.0)

    def post(self, event: fx.Event | Inquiry) -> None:
        self.events.append(event)

    def submit(self, lane: Lane, effect: fx.Asked, work: Callable[[], None]) -> None:
        if self.queues or not self.fails:
            self.work.append(work)
        if self.fails:
            raise RuntimeError("can't start new thread")

    def finish(self, lane: Lane, work: Callable[[], Any], seconds: float) -> None:
        raise NotImplementedError

    def cancel_token(self, ref: int) -> CancelToken:
        return CancelToken()

    def follow(self, follower: Follower) -> None:
        raise NotImplementedError

    def wake_at(self, mono: float) -> None:
        """Time does not pass here."""

    def stop(self) -> None:
        """Nothing ends here but what the case ends."""


Cases = st.tuples(st.sampled_from(KINDS), st.sampled_from([None, *RAISED]), st.sampled_from(["begins", "cannot", "is queued"]))
Moves = st.lists(st.tuples(st.sampled_from(["do", "again", "cancel", "stop"]), st.integers(0, 7)), max_size=20)


@settings(max_examples=300, deadline=None)
@given(cases=st.lists(Cases, min_size=1, max_size=8), moves=Moves)
def test_every_effect_is_answered_exactly_once_and_done_at_most_once(cases: list[Any], moves: list[tuple[str, int]]) -> None:
    site = Case(cases)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_step", site.called)
        for ref, (kind, _, start) in enumerate(cases):
            site.ask(an_effect(kind, ref), start)
        for move, number in moves:
            site.move(move, number)
        for work in tuple(site.pile.work):  # late, and what was done already once more
            work()
            work()
    answers = Counter(event.ref for event in site.pile.events if not isinstance(event, fx.Stopping))  # type: ignore[union-attr]
    assert answers == Counter(range(len(cases)))
    assert site.called.calls <= len(cases)
    site.check_errors(cases)


class Case:
    """An executor, and what the case does to it."""

    def __init__(self, cases: list[Any]) -> None:
        self.pile, self.engine = Pile(), Asking()
        self.outcome: BaseException | None = None
        self.called = Deciding(iter(lambda: self.outcome, self))
        environment = StepEnvironment(cast("Any", None), cast("Any", self.called), cast("Any", None), "/m", "/n")
        self.executor = Executor(cast(Engine, self.engine), cast(Keystore, self.called), environment, self.pile, users=self.called)
        self._errors = [error for _, error, _ in cases]

    def ask(self, effect: fx.Asked, start: str) -> None:
        self.pile.fails, self.pile.queues = start != "begins", start == "is queued"
        self.engine.effects = [effect]
        before = len(self.pile.work)
        self.executor.take(fx.Tick())
        self.pile.work[before:] = [self._with(self._errors[effect.ref], work) for work in self.pile.work[before:]]

    def _with(self, error: BaseException | None, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self.outcome = error
            work()

        return run

    def move(self, move: str, number: int) -> None:
        if move == "cancel":
            self.engine.effects = [fx.CancelStep(number)]
            self.executor.take(fx.Tick())
        elif move == "stop":
            self.executor.stop()
        elif number < len(self.pile.work):
            for _ in range(1 + (move == "again")):
                self.pile.work[number]()

    def check_errors(self, cases: list[Any]) -> None:
        """An effect that was not done, or whose handler raised, is answered with an error."""
        for event in self.pile.events:
            if isinstance(event, fx.Stopping):
                continue
            _, raised, start = cases[event.ref]  # type: ignore[union-attr]
            if raised is not None or start != "begins":
                assert any(isinstance(error, DaccError) for error in _errors(event)), event


def _errors(event: Any) -> list[object]:
    if isinstance(event, fx.StepEnded):
        return [event.outcome.error]
    values = [getattr(event, name) for name in event.__dataclass_fields__]
    return [*values, *(error for value in values if isinstance(value, dict) for error in value.values())]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_effect_of_each_kind_has_a_broken_answer_of_its_own(kind: type[Any]) -> None:
    event = fx.broken(an_effect(kind, 5), Busy(why="it is busy"))
    assert event.ref == 5  # type: ignore[union-attr]
