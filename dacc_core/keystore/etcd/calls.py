"""Calls to a cluster: one after the other, its members are asked until one answers or the caller's time is over.

The member that answered last is asked first. Each attempt gets a slice of the caller's time, so that one which takes connections and never
answers costs at most :data:`SLICE` seconds, once; one that refuses connections costs about a millisecond. After a whole round without an
answer there is a pause.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from dacc_core.errors import KeystoreUnavailable

from ..shared import Deadline
from .endpoints import Endpoint, Endpoints
from .failures import AnswerLost, CallFailed, Failure, Fate, Refused, explain
from .login import Login
from .protocol import Channel, Header, Metadata, RpcFailure

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
