"""Runs the engine's effects and brings their outcomes back as events: in a daemon, and in the simulation, over another runtime.

Keystore calls, the lease, steps, fences and look-ups have lanes of their own, so that nothing slow stands before something quick. Every
effect that asks for something is answered by exactly one event, whatever becomes of its work.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, get_args

from ..errors import Compacted, DaccError, KeystoreUnavailable, Unavailable
from ..failpoints import failpoint
from ..keystore.base import Keystore, Watch
from ..lifecycle import effects as fx
from ..lifecycle.engine import Engine
from ..lifecycle.step_runner import StepEnvironment, run_step
from ..registry import keys
from ..sdk import CancelToken
from ..verbs.operations import User
from ..verbs.users import find_user
from .telemetry.events import Former, TelemetryListener, concerned_sessions, notify, session_records, takeovers

log = logging.getLogger("dacc.daemon")
WATCH_SECONDS = 1.0
RETRY_SECONDS = 0.5
"""Before the store is asked again that could not be read or watched."""
REVOKE_SECONDS = 2.0
Lane = Literal["store", "lease", "step", "fence", "user"]
Reply = Callable[[Any], None]
FindUser = Callable[[int, str], User | None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A look at the engine, between two events."""

    look: Callable[[], None]


class Runtime(Protocol):
    """Time, workers and the engine's own thread."""

    def now(self) -> fx.Now:
        """The time, for the engine."""
        ...

    def submit(self, lane: Lane, effect: fx.Asked, work: Callable[[], None]) -> None:
        """Have work done beside the engine. Raises RuntimeError when nothing can be started; it may be done later all the same."""
        ...

    def finish(self, lane: Lane, work: Callable[[], Any], seconds: float) -> None:
        """Have work done, and wait for its end, no longer than so many seconds. Raises what it raises, and TimeoutError."""
        ...

    def cancel_token(self, ref: int) -> CancelToken:
        """What cancels the step ``ref``."""
        ...

    def follow(self, follower: Follower) -> None:
        """Have it advance again and again beside the engine, and close it at the end."""
        ...

    def post(self, event: fx.Event | Inquiry) -> None:
        """Have :meth:`Executor.take` called with this on the engine's thread; from any thread."""
        ...

    def wake_at(self, mono: float) -> None:
        """Post a :class:`~dacc_core.lifecycle.effects.Tick` at this time, if nothing else was posted until then."""
        ...

    def stop(self) -> None:
        """The engine has exited: take no more events."""
        ...


class Executor:
    """Drives one engine until it exits. ``error`` is the reason of a failure."""

    def __init__(
        self,
        engine: Engine,
        store: Keystore,
        environment: StepEnvironment,
        runtime: Runtime,
        *,
        users: FindUser = find_user,
        listener: TelemetryListener | None = None,
    ) -> None:
        self.engine, self._store, self._environment, self._runtime, self._users = engine, store, environment, runtime, users
        self._listener = listener or TelemetryListener()
        self._cancels: dict[int, CancelToken] = {}
        self._replies: dict[int, Reply] = {}
        self._calls = itertools.count(-1, -1)  # negative: never one of the engine's own numbers
        self.error: DaccError | None = None

    # --- in ---

    def call(self, verb: Any, seconds: float, token: str, reply: Reply) -> None:
        """A front end's call, from any thread; ``reply`` gets its answer or exception, or is never called when the daemon stops."""
        ref = next(self._calls)
        self._replies[ref] = reply
        self._runtime.post(fx.Called(ref, verb, seconds, token))

    @property
    def silence(self) -> float:
        """Seconds since the keystore was last heard from, at this moment; from any thread."""
        return self._runtime.now().mono - self.engine.heard

    def inquire(self, read: Callable[[Engine], T], seconds: float) -> T | None:
        """What ``read`` returns, on the engine's own thread, where nothing changes meanwhile; ``None`` if that takes too long."""
        answer: Future[T | None] = Future()

        def look() -> None:
            try:
                answer.set_result(read(self.engine))
            except Exception:
                log.exception("an inquiry failed")
                answer.set_result(None)

        self._runtime.post(Inquiry(look))
        try:
            return answer.result(seconds)
        except TimeoutError:
            return None

    def stop(self) -> None:
        """Begin to stop; from any thread or a signal handler."""
        self._runtime.post(fx.Stopping())

    def start(self) -> None:
        """The engine's first effects; on its thread, as :meth:`take`."""
        self._run_all(self.engine.start(self._runtime.now()))

    def take(self, event: fx.Event | Inquiry) -> None:
        """Let the engine handle one event, and run the effects."""
        if isinstance(event, Inquiry):
            event.look()
            return
        before = concerned_sessions(self.engine.view, event) if self._listener.following else {}
        effects = self.engine.handle(event, self._runtime.now())
        for token, was in before.items():
            notify(self._listener.changed, was, session_records(self.engine.view, token))
        self._run_all(effects)

    # --- out ---

    def _run_all(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            try:
                self._run(effect)
            except Exception as error:
                log.exception("an effect could not be begun", extra={"effect": type(effect).__name__})
                if isinstance(effect, get_args(fx.Asked)):
                    self._runtime.post(_defect(effect, error))
        self._runtime.wake_at(self.engine.next_wake)

    def _ask(self, lane: Lane, effect: fx.Asked, work: Callable[[], fx.Event]) -> None:
        """Have the work of an effect done. Whatever becomes of it, one event answers the effect."""
        answering = threading.Lock()  # taken by whoever answers

        def run() -> None:
            if answering.acquire(blocking=False):
                self._runtime.post(_answered(effect, work))

        try:
            self._runtime.submit(lane, effect, run)
        except RuntimeError as error:  # the work may be queued all the same, and be come to later
            log.error("an effect cannot be run", extra={"effect": type(effect).__name__, "why": str(error)})
            if answering.acquire(blocking=False):
                why = f"dacd cannot start a thread ({error}): see its limit of processes"
                self._runtime.post(fx.broken(effect, Unavailable(why=why)))

    def _run(self, effect: fx.Effect) -> None:  # noqa: C901 - a table of the effects
        match effect:
            case fx.Transact():
                former = self._former(effect)
                self._ask("store", effect, lambda: fx.Transacted(effect.ref, _value(lambda: self._transact(effect, former))))
            case fx.Load():
                self._runtime.follow(Follower(self._store, self._runtime.post))
            case fx.Grant():
                self._ask("lease", effect, lambda: fx.Granted(effect.ref, _value(lambda: self._store.grant(effect.ttl))))
            case fx.Renew():
                asked = self._runtime.now().mono
                self._ask("lease", effect, lambda: fx.Renewed(effect.ref, _value(lambda: self._store.renew(effect.lease)), asked))
            case fx.Revoke():
                # Waited for: the next daemon of this host or another one may then act at once. Its end is no event.
                _value(lambda: self._runtime.finish("lease", partial(self._store.revoke, effect.lease), REVOKE_SECONDS))
            case fx.ResolveUser():
                self._ask("user", effect, lambda: fx.UserResolved(effect.ref, self._users(effect.uid, effect.name)))
            case fx.RunStep():
                self._step(effect)
            case fx.CancelStep():
                self._cancels.get(effect.ref, CancelToken()).cancel()
            case fx.FenceHosts():
                self._ask("fence", effect, lambda: fx.Fenced(effect.ref, self._fence(effect)))
            case fx.Reply():
                self._reply(effect)
            case fx.Exit():
                self.error = effect.error
                self._runtime.stop()

    def _reply(self, effect: fx.Reply) -> None:
        try:
            self._replies.pop(effect.ref, _nobody)(effect.answer)
        except Exception:  # one caller's answer: the daemon goes on
            log.exception("an answer could not be given")

    def _former(self, effect: fx.Transact) -> list[Former]:
        """From whom the transaction takes sessions over; looked up now, while the view is what the transaction was made from."""
        former: list[Former] = []
        if self._listener.watching:
            notify(lambda: former.extend(takeovers(self.engine.view, self.engine.host, effect)))
        return former

    def _transact(self, effect: fx.Transact, former: list[Former]) -> Any:
        failpoint("write.before")
        result = self._store.txn(effect.compares, effect.ops)
        failpoint("write.after")
        if result.ok:
            notify(self._listener.took_over, former)
        return result

    def _step(self, effect: fx.RunStep) -> None:
        cancel = self._cancels[effect.ref] = self._runtime.cancel_token(effect.ref)

        def work() -> fx.Event:
            begun = self._runtime.now().mono
            try:
                outcome = run_step(
                    effect.order, self._environment, cancel, lambda progress: self._runtime.post(fx.Progressed(effect.ref, progress))
                )
            finally:
                self._cancels.pop(effect.ref, None)
            notify(self._listener.step, effect.order, outcome, self._runtime.now().mono - begun)
            return fx.StepEnded(effect.ref, outcome)

        self._ask("step", effect, work)

    def _fence(self, effect: fx.FenceHosts) -> dict[str, DaccError]:
        results = self._environment.runner.fence(effect.hosts, effect.key, effect.generation)
        failures = {host: error for host, error in results.items() if error is not None}
        notify(self._listener.fenced, len(effect.hosts), failures)
        return failures


class Follower:
    """Reads the store, follows its watch, and begins anew when its history has gone. ``post`` gets the events."""

    def __init__(self, store: Keystore, post: Callable[[fx.Event], None]) -> None:
        self._store, self._post = store, post
        self._watch: Watch | None = None

    def advance(self) -> float:
        """Take in what comes next; after how many seconds to go on. Never raises: without its watch a daemon would learn nothing more."""
        try:
            if self._watch is None:
                self._load()
            elif (batch := self._watch.next(WATCH_SECONDS)) is not None:
                self._post(fx.Watched(batch))
            return 0.0
        except Compacted as error:
            log.warning("the watch begins anew", extra={"why": str(error)})
            self.close()
            return 0.0
        except KeystoreUnavailable as error:
            log.error("the store cannot be watched" if self._watch else "the store cannot be read", extra={"why": str(error)})
        except Exception:  # a defect of a backend
            log.exception("the watch failed")
            self.close()
        return RETRY_SECONDS

    def _load(self) -> None:
        snapshot = self._store.range(keys.PREFIX)
        self._post(fx.Loaded(snapshot))
        self._watch = self._store.watch(keys.PREFIX, snapshot.revision)

    def close(self) -> None:
        """End the watch."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()


def _value(question: Callable[[], Any]) -> Any:
    """The answer, or the error as a value."""
    try:
        return question()
    except DaccError as error:
        return error
    except Exception as error:  # a defect of a backend must reach the engine as an error, not end a worker silently
        log.exception("keystore call raised")
        return KeystoreUnavailable(where="store", why=f"{type(error).__name__}: {error}")


def _answered(effect: fx.Asked, work: Callable[[], fx.Event]) -> fx.Event:
    """What the work answers, or the effect's own answer for work that raised anything at all, be it a provider that calls sys.exit."""
    try:
        return work()
    except BaseException as error:
        log.exception("an effect raised", extra={"effect": type(effect).__name__})
        return _defect(effect, error)


def _defect(effect: fx.Asked, error: BaseException) -> fx.Event:
    return fx.broken(effect, Unavailable(why=f"a defect of dacd: {type(error).__name__}: {error}: see its log"))


def _nobody(_: Any) -> None:
    """The client is gone."""
