"""Runs the verbs of front ends: generators that commit, wait and answer. One of the engine's parts."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from ..errors import DaccError, StillWorking
from ..registry.transaction import Commit
from ..verbs.frontend import Answer
from ..verbs.operations import AcquireClaimSlot, LookupUser, Sleep, Wait, grace
from . import effects as fx
from .reactor import Reactor

log = logging.getLogger("dacc.call")


class PendingCall:
    """One call under way."""

    def __init__(self, owner: PendingCalls, reactor: Reactor, event: fx.Called) -> None:
        self.ref, self.verb, self.token = event.ref, event.verb, event.token
        self._owner, self._reactor = owner, reactor
        self._wait: Wait | None = None
        self._done = False
        self._operations = 0
        self._grace = grace(event.seconds)
        self._deadline = self._reactor.after(event.seconds, self._overdue)

    def step(self, reply: Any = None, error: Exception | None = None) -> None:
        """Resume the verb and do what it asks next."""
        if self._done:
            return
        self._wait = None
        self._operations += 1
        try:
            operation = self.verb.throw(error) if error else self.verb.send(reply)
        except StopIteration as stop:
            self._end(stop.value)
        except DaccError as failure:
            self._end(failure)
        except Exception as bug:  # a verb's defect must cost one call, never the daemon
            log.exception("verb failed", extra={"token": self.token})
            self._end(bug)
        else:
            if not isinstance(operation, Commit):
                self._owner.leave(self)
            self._do(operation)

    def _do(self, operation: Any) -> None:
        match operation:
            case Commit():
                self._reactor.transact(operation, self._unless_late(self._committed), self._unless_late(self._refused))
            case Wait():
                self._wait = operation
                self._owner.park(self, operation.token)
                self.look()
            case Sleep():
                resume = self._unless_late(self.step)
                self._reactor.after(operation.seconds, lambda: resume(None))
            case AcquireClaimSlot():
                self._owner.queue(self, self._unless_late(self.step))
            case LookupUser():
                self._reactor.ask(lambda ref: fx.ResolveUser(ref, operation.uid, operation.name), self._unless_late(self._user_resolved))

    def _unless_late(self, resume: Callable[[Any], None]) -> Callable[[Any], None]:
        """What resumes the verb, unless its deadline came first and it is at something else by then."""
        asked = self._operations
        return lambda reply: resume(reply) if self._operations == asked else None

    def _committed(self, result: Any) -> None:
        self._owner.leave(self)
        self.step(result)

    def _refused(self, error: DaccError) -> None:
        self._owner.leave(self)
        self.step(error=error)

    def _user_resolved(self, event: fx.UserResolved) -> None:
        if isinstance(event.user, DaccError):
            self.step(error=event.user)
        else:
            self.step(event.user)

    def look(self) -> None:
        """If it waits: has what it waits for come true?"""
        if self._wait is None or self._done:
            return
        try:
            result = self._wait.ready()
        except Exception as failure:  # the verb raises it on, and so answers its caller
            self._unpark()
            self.step(error=failure)
            return
        if result is not None:
            self._unpark()
            self.step(result)

    def _unpark(self) -> None:
        if self._wait is not None:
            self._owner.unpark(self, self._wait.token)
            self._wait = None

    def _overdue(self) -> None:
        if self._done:
            return
        late = StillWorking(doing=self._wait.doing if self._wait else "writing", token=self.token)
        self._unpark()
        self._owner.leave(self)
        self._deadline = self._reactor.after(self._grace, lambda: self._cut_off(late))
        self.step(error=late)

    def _cut_off(self, late: StillWorking) -> None:
        """It went on asking for things; its time is over all the same."""
        if not self._done:
            self._unpark()
            self._end(late)

    def abandon(self) -> None:
        """Never answer."""
        self._done = True
        self._deadline.cancel()

    def _end(self, answer: Answer | Exception) -> None:
        self._done = True
        self._deadline.cancel()
        self._owner.leave(self)
        self._owner.ended(self)
        self._reactor.emit(fx.Reply(self.ref, answer))


class PendingCalls:
    """All calls under way, by what they wait for."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiting: dict[str, list[PendingCall]] = defaultdict(list)
        self._turns: deque[tuple[PendingCall, Callable[[Any], None]]] = deque()
        self._early: list[PendingCall] = []
        self.active: set[PendingCall] = set()

    def begin(self, event: fx.Called) -> None:
        """Start a verb; before the store was first read it only waits for that."""
        call = PendingCall(self, self._reactor, event)
        self.active.add(call)
        if self._reactor.loaded:
            call.step()
        else:
            self._early.append(call)

    def changed(self, tokens: set[str] | None) -> None:
        """These sessions changed (``None``: anything may have)."""
        early, self._early = self._early, []
        for call in early:
            call.step()
        for token in list(self._waiting) if tokens is None else sorted(tokens):
            for call in tuple(self._waiting.get(token, ())):
                call.look()

    def park(self, call: PendingCall, token: str) -> None:
        """Look again whenever this session changes."""
        self._waiting[token].append(call)

    def unpark(self, call: PendingCall, token: str) -> None:
        """It no longer waits."""
        waiting = self._waiting.get(token, [])
        if call in waiting:
            waiting.remove(call)
        if not waiting:
            self._waiting.pop(token, None)

    def queue(self, call: PendingCall, resume: Callable[[Any], None]) -> None:
        """Wait for the turn to claim; the first in the queue has it."""
        self._turns.append((call, resume))
        if self._turns[0][0] is call:
            resume(None)

    def leave(self, call: PendingCall) -> None:
        """Give up the turn, or the place in the queue for it."""
        turns = [turn for turn in self._turns if turn[0] is call]
        if not turns:
            return
        first = self._turns[0][0] is call
        self._turns.remove(turns[0])
        if first and self._turns:
            following = self._turns[0][1]
            self._reactor.after(0.0, lambda: following(None))

    def ended(self, call: PendingCall) -> None:
        """It was answered."""
        self.active.discard(call)

    def stop(self) -> None:
        """The daemon stops: calls are left unanswered, so that their clients repeat them with the next one."""
        for call in tuple(self.active):
            call.abandon()
        self.active.clear()
        self._waiting.clear()
