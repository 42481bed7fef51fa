"""Every effect is answered exactly once, whatever becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from dacc_core.daemon import executor as module
from dacc_core.daemon.executor import Executor
from dacc_core.daemon.runtime import ThreadRuntime
from dacc_core.errors import Busy, DaccError, KeystoreUnavailable, Unavailable
from dacc_core.keystore.base import Keystore
from dacc_core.keystore.memory import MemoryKeystore
from dacc_core.lifecycle import effects as fx
from dacc_core.lifecycle.engine import Engine
from dacc_core.lifecycle.plan import Step
from dacc_core.lifecycle.step_runner import StepEnvironment
from dacc_core.registry.records import Request, Session, Status
from dacc_core.registry.view import View
from dacc_core.verbs.frontend import Answer

REF = 7
SESSION = Session(token="1", id=1, kind="job", created_at=0.0, request=Request(owner=1, group=1))
ORDER = fx.StepOrder(Step("create", seconds=5.0), SESSION, Status())
EFFECTS: list[fx.Asked] = [
    fx.Transact(REF, (), ()),
    fx.Grant(REF, 10.0),
    fx.Renew(REF, 1),
    fx.ResolveUser(REF, 0, ""),
    fx.RunStep(REF, ORDER),
    fx.FenceHosts(REF, "key", 3, ("c1", "c2")),
]
ANSWERS = (fx.Transacted, fx.Granted, fx.Renewed, fx.UserResolved, fx.StepEnded, fx.Fenced)
START = threading.Thread.start
RAISED = (RuntimeError("a defect"), Busy(why="it is busy"), SystemExit(3), KeyboardInterrupt(), RecursionError())


class Asking:
    """A core that asks for something, and for nothing more until it has waited for a second answer."""

    next_wake = float("inf")
    view = View()

    def __init__(self, *effects: fx.Effect) -> None:
        self.effects = list(effects)
        self.heard: list[fx.Event] = []

    def start(self, _: fx.Now) -> list[fx.Effect]:
        return self.effects

    def handle(self, event: fx.Event, _: fx.Now) -> list[fx.Effect]:
        self.heard.append(event)
        if isinstance(event, ANSWERS):  # a second answer would be queued before this
            return [fx.ResolveUser(REF + 1, 0, "")] if event.ref == REF else [fx.Exit()]
        return []


class Broken:
    """A store, runner and provider of which everything raises the same."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_: Any, **__: Any) -> Any:
            raise self.error

        return fail


def make(engine: Asking, store: object, runner: object) -> tuple[Executor, ThreadRuntime]:
    environment = StepEnvironment(cast("Any", None), cast("Any", runner), cast("Any", None), "/m", "/n")
    runtime = ThreadRuntime()
    return Executor(cast(Engine, engine), cast(Keystore, store), environment, runtime, users=lambda *_: module.find_user()), runtime


def run(engine: Asking, store: object, runner: object) -> None:
    drive(*make(engine, store, runner))


def drive(executor: Executor, runtime: ThreadRuntime) -> None:
    """Run it to its end, which does not come if an effect is not answered."""

    def work() -> None:
        executor.start()
        runtime.run(executor.take)

    thread = threading.Thread(target=work, daemon=True)
    START(thread)
    thread.join(60.0)
    runtime.close()
    assert not thread.is_alive()


def error_of(event: fx.Event) -> object:
    match event:
        case fx.Transacted():
            return event.result
        case fx.Granted():
            return event.lease
        case fx.Renewed():
            return event.alive
        case fx.UserResolved():
            return event.user
        case fx.StepEnded():
            return event.outcome.error
        case fx.Fenced():
            assert set(event.failures) == {"c1", "c2"}
            return event.failures["c2"]
    raise AssertionError(event)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_an_effect_whose_handler_raises_anything_is_answered_once_with_an_error(
    effect: fx.Asked, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def find_user(*_: object) -> None:
        calls.append(1)
        if len(calls) == 1 and isinstance(effect, fx.ResolveUser):
            raise error

    monkeypatch.setattr(module, "find_user", find_user)
    core = Asking(effect)
    run(core, Broken(error), Broken(error))
    answers = [event for event in core.heard if isinstance(event, ANSWERS) and event.ref == REF]
    assert len(answers) == 1
    assert isinstance(error_of(answers[0]), DaccError)


def test_a_step_that_broke_may_have_left_commands_that_run() -> None:
    core = Asking(EFFECTS[4])
    run(core, MemoryKeystore(), Broken(SystemExit(3)))
    ended = core.heard[0]
    assert isinstance(ended, fx.StepEnded)
    assert ended.outcome.unsure


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
def test_an_effect_for_which_no_thread_can_start_is_answered_once_and_never_done(
    effect: fx.Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ThreadPoolExecutor queues the work before it fails to start a thread; another thread may come to it later."""
    done: list[object] = []
    start = threading.Thread.start
    failed: list[int] = []

    def start_later(thread: threading.Thread) -> None:
        if not failed:
            failed.append(1)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    monkeypatch.setattr(module, "find_user", lambda *_: done.append("user"))
    monkeypatch.setattr(module, "run_step", lambda *_: done.append("step"))
    core = Asking(effect)
    store = Recording(done)
    run(core, store, store)
    answers = [event for event in core.heard if isinstance(event, ANSWERS) and event.ref == REF]
    assert len(answers) == 1
    assert isinstance(error_of(answers[0]), Unavailable)
    assert done in ([], ["user"])  # the second effect's


class Recording:
    """A store and runner that notes what it is asked."""

    def __init__(self, done: list[object]) -> None:
        self.done = done

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_, **__: self.done.append(name)


def test_a_caller_who_cannot_be_answered_does_not_end_the_daemon() -> None:
    core = Asking(fx.Reply(-1, Answer()), fx.Reply(-2, Answer()), fx.Grant(REF, 1.0))
    given: list[int] = []

    def reply(answer: object) -> None:
        given.append(1)
        raise OSError("it hung up")

    executor, runtime = make(core, MemoryKeystore(), None)
    executor.call(None, 1.0, "1", reply)
    executor.call(None, 1.0, "1", reply)
    drive(executor, runtime)
    assert len(given) == 2


def test_a_watch_that_breaks_is_begun_anew() -> None:
    """A defect of a keystore used to end the thread that reads it, and with it all that the daemon knew."""

    class Store(MemoryKeystore):
        reads = 0

        def range(self, *args: Any, **kwargs: Any) -> Any:
            self.reads += 1
            if self.reads == 1:
                raise ValueError("a defect of the backend")
            if self.reads == 2:
                raise KeystoreUnavailable(where="here", why="it is away")
            return super().range(*args, **kwargs)

    class Loading(Asking):
        def handle(self, event: fx.Event, _: fx.Now) -> list[fx.Effect]:
            self.heard.append(event)
            return [fx.Exit()] if isinstance(event, fx.Loaded) else []

    core, store = Loading(fx.Load()), Store()
    run(core, store, None)
    assert store.reads == 3


def test_a_watch_for_which_no_thread_can_start_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to end the daemon."""
    failed: list[str] = []

    def start(thread: threading.Thread) -> None:
        if thread.name == "watch" and not failed:
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        START(thread)

    class Loading(Asking):
        def handle(self, event: fx.Event, _: fx.Now) -> list[fx.Effect]:
            return [fx.Exit()] if isinstance(event, fx.Loaded) else []

    monkeypatch.setattr(threading.Thread, "start", start)
    run(Loading(fx.Load()), MemoryKeystore(), None)
    assert failed
