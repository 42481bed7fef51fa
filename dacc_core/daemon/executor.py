"""Runs the core's effects with threads and brings their outcomes back as events.

One thread handles events, one after the other. Keystore calls, steps, fences and look-ups each have workers of their own, so that nothing
slow stands before something quick; the lease has a thread to itself.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import Compacted, DaccError, KeystoreUnavailable, Unavailable
from ..failpoints import failpoint
from ..keystore.base import Keystore, Snapshot
from ..lifecycle import effects as fx
from ..lifecycle.engine import Engine
from ..lifecycle.step_runner import StepEnvironment, run_step
from ..registry import keys
from ..sdk import CancelToken
from ..verbs.users import find_user
from .telemetry.events import Former, takeovers
from .telemetry.events import TelemetryListener as Observer
from .telemetry.events import concerned_sessions as known
from .telemetry.events import notify as tell
from .telemetry.events import session_records as known_of

log = logging.getLogger("dacc.daemon")
STORE_WORKERS = 8
STEP_WORKERS = 256
FENCE_WORKERS = 32
USER_WORKERS = 4
WATCH_SECONDS = 1.0
Reply = Callable[[Any], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """A look at the core, between two events."""

    look: Callable[[], None]


def clock() -> fx.Now:
    """The time, for the core. BOOTTIME counts while the machine sleeps, as leases do."""
    return fx.Now(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


class Executor:
    """Drives one core until it exits."""

    def __init__(
        self,
        core: Engine,
        store: Keystore,
        tools: StepEnvironment,
        *,
        on_exit: Callable[[], None] = lambda: None,
        observer: Observer | None = None,
    ) -> None:
        self.core, self._store, self._tools, self._on_exit = core, store, tools, on_exit
        self._observer = observer or Observer()
        self._events: queue.SimpleQueue[fx.Event | _Inquiry] = queue.SimpleQueue()
        self._workers = {
            "store": ThreadPoolExecutor(STORE_WORKERS, "store"),
            "lease": ThreadPoolExecutor(1, "lease"),
            "step": ThreadPoolExecutor(STEP_WORKERS, "step"),
            "fence": ThreadPoolExecutor(FENCE_WORKERS, "fence"),
            "user": ThreadPoolExecutor(USER_WORKERS, "user"),
        }
        self._cancels: dict[int, CancelToken] = {}
        self._replies: dict[int, Reply] = {}
        self._calls = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.error: DaccError | None = None

    # --- in ---

    def call(self, verb: Any, seconds: float, token: str, reply: Reply) -> None:
        """A front end's call, from any thread; ``reply`` gets its answer or exception, or is never called when the daemon stops."""
        with self._lock:
            self._calls -= 1  # negative: never one of the core's own numbers
            ref = self._calls
            self._replies[ref] = reply
        self._events.put(fx.Called(ref, verb, seconds, token))

    @property
    def silence(self) -> float:
        """Seconds since the keystore was last heard from, at this moment; from any thread."""
        return clock().mono - self.core.heard

    def inquire(self, read: Callable[[Engine], T], seconds: float) -> T | None:
        """What ``read`` finds, on the core's own thread, where nothing changes meanwhile; ``None`` if that takes too long."""
        answer: Future[T | None] = Future()

        def look() -> None:
            try:
                answer.set_result(read(self.core))
            except Exception:
                log.exception("an inquiry failed")
                answer.set_result(None)

        self._events.put(_Inquiry(look))
        try:
            return answer.result(seconds)
        except TimeoutError:
            return None

    def stop(self) -> None:
        """Begin to stop; from any thread or a signal handler."""
        self._events.put(fx.Stopping())

    def run(self) -> DaccError | None:
        """Handle events until the core exits; its reason."""
        self._run_all(self.core.start(clock()))
        while not self._ended.is_set():
            event = self._next()
            if isinstance(event, _Inquiry):
                event.look()
            else:
                self._run_all(self._handle(event))
        self._on_exit()
        for workers in self._workers.values():
            workers.shutdown(wait=False, cancel_futures=True)
        return self.error

    def _handle(self, event: fx.Event) -> list[fx.Effect]:
        before = known(self.core.view, event) if self._observer.following else {}
        effects = self.core.handle(event, clock())
        for token, was in before.items():
            tell(self._observer.changed, was, known_of(self.core.view, token))
        return effects

    def _next(self) -> fx.Event | _Inquiry:
        wait = self.core.next_wake - clock().mono
        try:
            return self._events.get(timeout=max(0.0, min(wait, 60.0)))
        except queue.Empty:
            return fx.Tick()

    # --- out ---

    def _run_all(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self._run(effect)

    def _in(self, workers: str, effect: fx.Asked, work: Callable[[], fx.Event]) -> None:
        """Have the work of an effect done by others. Whatever becomes of it, one event answers the effect."""
        begun = threading.Lock()  # taken by whoever answers

        def run() -> None:
            if begun.acquire(blocking=False):
                self._events.put(_answered(effect, work))

        try:
            self._workers[workers].submit(run)
        except RuntimeError as error:  # no thread can be started; the work is queued all the same, and another thread may come to it
            log.error("an effect cannot be run", extra={"effect": type(effect).__name__, "why": str(error)})
            if begun.acquire(blocking=False):
                self._events.put(fx.broken(effect, Unavailable(why=f"dacd cannot start a thread ({error}): see its limit of processes")))

    def _run(self, effect: fx.Effect) -> None:  # noqa: C901 - a table of the effects
        match effect:
            case fx.Transact():
                former = self._former(effect)
                self._in("store", effect, lambda: fx.Transacted(effect.ref, _answer(lambda: self._transact(effect, former))))
            case fx.Load():
                threading.Thread(target=self._watch, name="watch", daemon=True).start()
            case fx.Grant():
                self._in("lease", effect, lambda: fx.Granted(effect.ref, _answer(lambda: self._store.grant(effect.ttl))))
            case fx.Renew():
                asked = clock().mono
                self._in("lease", effect, lambda: fx.Renewed(effect.ref, _answer(lambda: self._store.renew(effect.lease)), asked))
            case fx.Revoke():
                self._revoke(effect.lease)
            case fx.ResolveUser():
                self._in("user", effect, lambda: fx.UserResolved(effect.ref, find_user(effect.uid, effect.name)))
            case fx.RunStep():
                self._step(effect)
            case fx.CancelStep():
                self._cancels.get(effect.ref, CancelToken()).cancel()
            case fx.FenceHosts():
                self._in("fence", effect, lambda: fx.Fenced(effect.ref, self._fence(effect)))
            case fx.Reply():
                self._reply(effect)
            case fx.Exit():
                self.error = effect.error
                self._ended.set()

    def _reply(self, effect: fx.Reply) -> None:
        try:
            self._replies.pop(effect.ref, _nobody)(effect.answer)
        except Exception:  # one caller's answer: the daemon goes on
            log.exception("an answer could not be given")

    def _former(self, effect: fx.Transact) -> list[Former]:
        """From whom the transaction takes sessions over; found out now, since the view is at what it was made from."""
        found: list[Former] = []
        if self._observer.watching:
            tell(lambda: found.extend(takeovers(self.core.view, self.core.host, effect)))
        return found

    def _transact(self, effect: fx.Transact, former: list[Former]) -> Any:
        failpoint("write.before")
        result = self._store.txn(effect.compares, effect.ops)
        failpoint("write.after")
        if result.ok:
            tell(self._observer.took_over, former)
        return result

    def _revoke(self, lease: int) -> None:
        # Waited for: the next daemon of this host or another one may then act at once. Its end is no event.
        _answer(lambda: self._workers["lease"].submit(self._store.revoke, lease).result(timeout=2.0))

    def _step(self, effect: fx.RunStep) -> None:
        cancel = self._cancels[effect.ref] = CancelToken()

        def work() -> fx.Event:
            begun = clock().mono
            try:
                report = lambda progress: self._events.put(fx.Progressed(effect.ref, progress))  # noqa: E731
                outcome = run_step(effect.order, self._tools, cancel, report)
            finally:
                self._cancels.pop(effect.ref, None)
            tell(self._observer.step, effect.order, outcome, clock().mono - begun)
            return fx.StepEnded(effect.ref, outcome)

        self._in("step", effect, work)

    def _fence(self, effect: fx.FenceHosts) -> dict[str, DaccError]:
        results = self._tools.runner.fence(effect.hosts, effect.key, effect.generation)
        failures = {host: error for host, error in results.items() if error is not None}
        tell(self._observer.fenced, len(effect.hosts), failures)
        return failures

    # --- the watch ---

    def _watch(self) -> None:
        """Read the store, follow it, and begin anew when its history has gone."""
        while not self._ended.is_set():
            try:
                snapshot = self._read()
                if not self._ended.is_set():
                    self._events.put(fx.Loaded(snapshot))
                    self._follow(snapshot.revision)
            except Compacted as error:
                log.warning("the watch begins anew", extra={"why": str(error)})
            except KeystoreUnavailable as error:
                log.error("the store cannot be watched", extra={"why": str(error)})
                self._ended.wait(0.5)
            except Exception:  # a defect of a backend: without its watch a daemon would know nothing more
                log.exception("the watch failed")
                self._ended.wait(0.5)

    def _read(self) -> Snapshot:
        while True:
            try:
                return self._store.range(keys.PREFIX)
            except KeystoreUnavailable as error:
                log.error("the store cannot be read", extra={"why": str(error)})
                if self._ended.wait(1.0):
                    return Snapshot((), 0)

    def _follow(self, revision: int) -> None:
        watch = self._store.watch(keys.PREFIX, revision)
        try:
            while not self._ended.is_set():
                try:
                    batch = watch.next(WATCH_SECONDS)
                except KeystoreUnavailable as error:
                    log.error("the store cannot be watched", extra={"why": str(error)})
                    self._ended.wait(0.5)
                    continue
                if batch is not None:
                    self._events.put(fx.Watched(batch))
        finally:
            watch.close()


def _answer(question: Callable[[], Any]) -> Any:
    """The answer, or the error as a value."""
    try:
        return question()
    except DaccError as error:
        return error
    except Exception as error:  # a defect of a backend must reach the core as an error, not end a worker silently
        log.exception("keystore call raised")
        return KeystoreUnavailable(where="store", why=f"{type(error).__name__}: {error}")


def _answered(effect: fx.Asked, work: Callable[[], fx.Event]) -> fx.Event:
    """What the work answers, or the effect's own answer for work that raised anything at all, be it a provider that calls sys.exit."""
    try:
        return work()
    except BaseException as error:
        log.exception("an effect raised", extra={"effect": type(effect).__name__})
        return fx.broken(effect, Unavailable(why=f"a defect of dacd: {type(error).__name__}: {error}: see its log"))


def _nobody(_: Any) -> None:
    """The client is gone."""
