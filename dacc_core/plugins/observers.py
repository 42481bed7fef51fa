"""Calling the observers of provider packages so that none can hurt a session, whatever it does.

Events wait in a bounded queue. The observers are called one after the other on one thread, which is given up for a new one when a call
does not come back; a thread of ours waits for each call's end. What ends the whole process at once (``os._exit``, a crash of an
extension module) or never lets go of the interpreter's lock is beyond this.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import pluggy

log = logging.getLogger("dacc.observers")
CAPACITY = 1000
"""Events that may wait."""

PATIENCE_SECONDS = 10.0
"""How long one call may take."""

CLOSE_SECONDS = 2.0
Event = Mapping[str, Any]


class Observers:
    """The observers that are registered with ``manager``. ``dropped`` is called with the hook's name for each event that is dropped."""

    def __init__(
        self,
        manager: pluggy.PluginManager,
        dropped: Callable[[str], None],
        *,
        capacity: int = CAPACITY,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._manager, self._dropped, self._patience = manager, dropped, patience
        self._queue: queue.Queue[tuple[str, Event] | None] = queue.Queue(capacity)
        self._hung: set[str] = set()
        self._overflowing = False
        self._starting = threading.Lock()
        self._dispatcher: threading.Thread | None = None

    def wants(self, hook: str) -> bool:
        """Whether anybody is to be told of this; from any thread."""
        return any(impl.plugin_name not in self._hung for impl in self._impls(hook))

    def tell(self, hook: str, event: Event) -> None:
        """Have the observers called soon, with a copy of ``event``, whose values must not be mutable. Never waits; from any thread."""
        if not self.wants(hook):
            return
        self._start()
        try:
            self._queue.put_nowait((hook, event))
            self._overflowing = False
        except queue.Full:
            if not self._overflowing:
                log.warning("observers are too slow, events are dropped", extra={"hook": hook})
            self._overflowing = True
            self._dropped(hook)

    def close(self) -> None:
        """Let the observers see what waits, for a moment."""
        if self._dispatcher is not None:
            try:
                self._queue.put(None, timeout=CLOSE_SECONDS)
            except queue.Full:
                return
            self._dispatcher.join(CLOSE_SECONDS)

    def _start(self) -> None:
        with self._starting:
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, name="observers-dispatch", daemon=True)
                self._dispatcher.start()

    def _dispatch(self) -> None:
        caller = _Caller()
        while (item := self._queue.get()) is not None:
            hook, event = item
            for impl in self._impls(hook):
                if impl.plugin_name not in self._hung and not self._called(caller, hook, impl, event):
                    self._hung.add(impl.plugin_name)
                    caller.give_up()
                    caller = _Caller()
        caller.give_up()

    def _called(self, caller: _Caller, hook: str, impl: pluggy.HookImpl, event: Event) -> bool:
        """Call one observer; whether it came back."""
        values = {"event": dict(event)}
        done = caller.call(lambda: impl.function(*(values[name] for name in impl.argnames)))
        who = {"hook": hook, "plugin": impl.plugin_name}
        try:
            error = done.exception(self._patience)
        except TimeoutError:
            log.error("an observer hangs and is called no more", extra={**who, "seconds": self._patience})
            return False
        if error is not None:
            log.error("an observer failed", extra={**who, "why": _said(error)})
        return True

    def _impls(self, hook: str) -> list[pluggy.HookImpl]:
        implementations: list[pluggy.HookImpl] = getattr(self._manager.hook, hook).get_hookimpls()
        return implementations


class _Caller:
    """A thread that makes calls, and survives whatever they raise."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[None]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="observers", daemon=True).start()

    def call(self, function: Callable[[], Any]) -> Future[None]:
        """Begin a call."""
        done: Future[None] = Future()
        self._calls.put((function, done))
        return done

    def give_up(self) -> None:
        """Let the thread end when the call that it makes has ended, if it ever does."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, done = call
            try:
                function()
            except BaseException as error:  # sys.exit included
                done.set_exception(error)
            else:
                done.set_result(None)


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception class may raise from its own __str__
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
