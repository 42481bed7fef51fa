"""Calls to a cluster: one after the other, its members are asked until one answers or the caller's time is over.

The member that answered last is asked first. Each attempt gets a slice of the caller's time, so that one which takes connections and never
answers costs at most :data:`SLICE` seconds, once; one that refuses connections costs about a millisecond. After a whole round without an
answer there is a pause.

The members of an etcd cluster as we know them: a connection to each, and whom to ask first.

Logging in to etcd: a token for all members, asked for when the first call needs it and again when etcd takes it no more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dacc_core.errors import KeystoreUnavailable

from ..shared import Deadline
from .failures import AnswerLost, CallFailed, Failure, Fate, Refused, explain
from .protocol import Channel, Header, Metadata, RpcFailure, Tls, messages


class _Connection:
    """A channel and how many use it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.uses = 0


class Endpoint:
    """One member. After a failure it gets a new channel, which connects at once and with the certificates as they are now."""

    def __init__(self, name: str, tls: Callable[[], Tls | None]) -> None:
        self.name = name
        self._tls = tls
        self._lock = threading.Lock()
        self._current: _Connection | None = None
        self._open: set[_Connection] = set()

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """The channel, which stays open at least as long as this lasts. Raises RpcFailure when there can be none."""
        connection = self._take()
        try:
            yield connection.channel
        finally:
            self._give_back(connection)

    def retire(self, channel: Channel) -> None:
        """This channel does not work: use it no more. Calls in other threads may still come to an end; the last one closes it."""
        with self._lock:
            if self._current is not None and self._current.channel is channel:
                self._current = None

    def close(self) -> None:
        """End every call."""
        with self._lock:
            for connection in self._open:
                connection.channel.close()

    def _take(self) -> _Connection:
        with self._lock:
            if self._current is None:
                self._current = _Connection(Channel(self.name, self._tls()))
                self._open.add(self._current)
            self._current.uses += 1
            return self._current

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            connection.uses -= 1
            unused = not connection.uses and connection is not self._current
            if unused:
                self._open.discard(connection)
        if unused:
            connection.channel.close()


class Endpoints:
    """All members, the last good one first."""

    def __init__(self, every: Sequence[Endpoint], first: int = 0) -> None:
        self._every = list(every)
        self._first = first

    def in_order(self) -> list[Endpoint]:
        """Each endpoint once, in the order in which to ask them."""
        first = self._first
        return self._every[first:] + self._every[:first]

    def good(self, endpoint: Endpoint) -> None:
        """It answered: ask it first."""
        self._first = self._every.index(endpoint)

    def bad(self, endpoint: Endpoint) -> None:
        """It failed: ask the next one first, unless another is first already."""
        place = self._every.index(endpoint)
        if place == self._first:
            self._first = (place + 1) % len(self._every)

    def close(self) -> None:
        """End every call."""
        for endpoint in self._every:
            endpoint.close()


log = logging.getLogger("dacc.keystore")

# Without it, a member that has lost its leader would let the call wait for one.
_ALWAYS: Metadata = (("hasleader", "true"),)


class Login:
    """One user's token. Without a user there is none, as with a user in a cluster that asks for no login."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._lock = threading.Lock()
        self._token: str | None = None if user else ""

    def metadata(self, channel: Channel, deadline: Deadline) -> Metadata:
        """What each call carries. Raises RpcFailure when logging in fails."""
        token = self._token
        if token is None:
            token = self._log_in(channel, deadline)
        return (*_ALWAYS, ("token", token)) if token else _ALWAYS

    def forget(self, metadata: Metadata) -> bool:
        """etcd takes this token no more; whether logging in again may help."""
        if not self._user:
            return False
        if dict(metadata).get("token", "") == self._token:
            self._token = None
        return True

    def _log_in(self, channel: Channel, deadline: Deadline) -> str:
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise RpcFailure("DEADLINE_EXCEEDED", "")
        try:
            if self._token is None:
                self._token = self._ask(channel, deadline)
            return self._token
        finally:
            self._lock.release()

    def _ask(self, channel: Channel, deadline: Deadline) -> str:
        request = messages.AuthenticateRequest(name=self._user, password=self._password)
        try:
            return str(channel.call("Authenticate", request, deadline.remaining(), _ALWAYS).token)
        except RpcFailure as error:
            if "authentication is not enabled" not in error.details:
                raise
            log.info("etcd asks for no login, although keystore.user is set")
            return ""


SLICE = 1.5
FIRST_PAUSE = 0.05
LAST_PAUSE = 0.5


class EtcdClient:
    """Asks a cluster. ``revision`` is the highest that any answer has shown."""

    def __init__(self, where: str, endpoints: Endpoints, login: Login) -> None:
        self.where, self.endpoints, self.login = where, endpoints, login
        self.revision = 0
        self.closed = threading.Event()
        self._cluster = 0
        self._pid = os.getpid()

    def ask(self, method: str, request: Any, deadline: Deadline, *, resend: bool = True, refusals: tuple[str, ...] = ()) -> Any:
        """The answer of the first member that gives one.

        Raises KeystoreUnavailable when the time is over; Refused when etcd answers with one of the codes ``refusals`` (any other refusal
        is KeystoreUnavailable); and, if the request must not be sent twice (not ``resend``), AnswerLost when it may have been done.
        """
        failures: dict[str, Failure] = {}
        pause = FIRST_PAUSE
        while True:
            order = self.endpoints.in_order()
            for place, endpoint in enumerate(order):
                self.require_open()
                if not deadline.remaining():
                    raise self.unavailable(failures, deadline)
                try:
                    return self._ask_one(endpoint, method, request, _slice(deadline, len(order), place))
                except CallFailed as error:
                    self._decide(endpoint, error, resend, refusals)
                    failures[endpoint.name] = error.failure
            self.closed.wait(min(pause, deadline.remaining()))
            pause = min(2 * pause, LAST_PAUSE)

    def once(self, endpoint: Endpoint, channel: Channel, method: str, request: Any, seconds: float) -> Any:
        """Ask this member only. Raises CallFailed."""
        deadline = Deadline(seconds)
        metadata: Metadata = ()
        for last in (False, True):
            try:
                metadata = self.login.metadata(channel, deadline)
                reply = channel.call(method, request, deadline.remaining(), metadata)
            except RpcFailure as error:
                failure = explain(error, endpoint.name, seconds)
                # A cluster that is switched to logging in says "user name is empty" to those who came before.
                expired = failure.fate is Fate.LOGIN or "user name is empty" in failure.details
                if last or not expired or not self.login.forget(metadata):
                    raise CallFailed(failure) from error
            else:
                self.note(reply.header, endpoint)
                return reply
        raise AssertionError("the second try returns or raises")

    def note(self, header: Header, endpoint: Endpoint) -> None:
        """Take in what every answer says: whose it is, and how far the store is. Raises CallFailed for one from a strange cluster."""
        self._cluster = self._cluster or header.cluster_id
        if header.cluster_id != self._cluster:
            details = f"cluster {header.cluster_id:x}, not {self._cluster:x}"
            reason, advice = "it is of another cluster than before", "correct keystore.endpoints; after a restore, restart every dacd"
            raise CallFailed(Failure(Fate.REFUSED, endpoint.name, "OTHER_CLUSTER", details, reason, advice))
        self.revision = max(self.revision, header.revision)

    def unavailable(self, failures: dict[str, Failure], deadline: Deadline) -> KeystoreUnavailable:
        """The error for a call whose time is over."""
        if self.closed.is_set():
            return KeystoreUnavailable(where=self.where, why="it is closed")
        if not failures:
            return KeystoreUnavailable(where=self.where, why=f"no answer within {deadline.timeout:g} s")
        *_, last = failures.values()
        return KeystoreUnavailable(where=self.where, why=f"{'; '.join(map(str, failures.values()))}: {last.advice}")

    def refusal(self, error: CallFailed) -> KeystoreUnavailable:
        """The error for a call that etcd refused."""
        return KeystoreUnavailable(where=self.where, why=f"{error.failure}: {error.failure.advice}")

    def close(self) -> None:
        """End every call; later ones fail. In a forked child the connections are its parent's, so they are left alone."""
        if os.getpid() == self._pid:
            self.closed.set()
            self.endpoints.close()

    def _ask_one(self, endpoint: Endpoint, method: str, request: Any, seconds: float) -> Any:
        try:
            with endpoint.channel() as channel:
                try:
                    reply = self.once(endpoint, channel, method, request, seconds)
                except CallFailed as error:
                    if error.failure.connection:
                        endpoint.retire(channel)
                    raise
        except RpcFailure as error:  # there can be no channel
            raise CallFailed(explain(error, endpoint.name, seconds)) from error
        self.endpoints.good(endpoint)
        return reply

    def _decide(self, endpoint: Endpoint, error: CallFailed, resend: bool, refusals: tuple[str, ...]) -> None:
        """Raise what ends the call; return when another member may be asked."""
        self.require_open()
        failure = error.failure
        if failure.fate in (Fate.NOT_DONE, Fate.LOST):
            self.endpoints.bad(endpoint)
        if failure.fate is Fate.REFUSED and failure.code in refusals:
            raise Refused(failure) from error
        if failure.fate in (Fate.REFUSED, Fate.LOGIN):
            raise self.refusal(error) from error
        if failure.fate is Fate.LOST and not resend:
            raise AnswerLost(failure) from error

    def require_own_process(self) -> None:
        """Raise KeystoreUnavailable in a forked child, where gRPC's threads are missing."""
        if os.getpid() != self._pid:
            raise KeystoreUnavailable(where=self.where, why="it was opened before a fork: open it anew, in a program executed anew")

    def require_open(self) -> None:
        """Raise KeystoreUnavailable when no call can be made any more."""
        self.require_own_process()
        if self.closed.is_set():
            raise KeystoreUnavailable(where=self.where, why="it is closed")


def _slice(deadline: Deadline, members: int, place: int) -> float:
    """How long to wait for the answer of the next member of a round."""
    left = deadline.remaining()
    return left if members == 1 else min(left / (members - place), SLICE)
