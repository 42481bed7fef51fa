"""The client of a cluster: calls a method on one member after the other until one responds or the caller's time is over.

The member that responded last is called first. Each attempt gets a slice of the caller's time, so a member that accepts connections and
never responds costs at most :data:`SLICE` seconds, once; one that refuses connections costs about a millisecond. After a whole round
without a response there is a pause.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import KeystoreUnavailable
from ..shared import StoreDeadline
from .failures import AnswerLost, CallFailed, EtcdFailure, Fate, RequestRefused, explain
from .protocol import EtcdChannel, Metadata, ResponseHeader, RpcFailure, TlsCertificates, authenticate_request

log = logging.getLogger("dacc.keystore")

SLICE = 1.5
FIRST_PAUSE = 0.05
LAST_PAUSE = 0.5


class EtcdClient:
    """Calls a cluster. ``revision`` is the highest that any response has shown."""

    def __init__(self, where: str, endpoints: Endpoints, login: Login) -> None:
        self.where, self.endpoints, self.login = where, endpoints, login
        self.revision = 0
        self.closed = threading.Event()
        self._cluster_id = 0
        self._pid = os.getpid()

    def call(self, method: str, request: Any, deadline: StoreDeadline, *, resend: bool = True, refusals: tuple[str, ...] = ()) -> Any:
        """The response of the first member that gives one.

        Raises KeystoreUnavailable when the time is over; RequestRefused when etcd refuses with one of the status codes ``refusals`` (any
        other refusal is KeystoreUnavailable); and, if the request must not be sent twice (not ``resend``), AnswerLost when it may have
        been done.
        """
        failures: dict[str, EtcdFailure] = {}
        pause = FIRST_PAUSE
        while True:
            endpoints = self.endpoints.in_order()
            for index, endpoint in enumerate(endpoints):
                self.require_open()
                if not deadline.remaining():
                    raise self.unavailable(failures, deadline)
                try:
                    return self._call_endpoint(endpoint, method, request, _slice(deadline, len(endpoints) - index))
                except CallFailed as error:
                    self._require_another_try(endpoint, error, resend, refusals)
                    _add_failure(failures, error.failure)
            self.closed.wait(min(pause, deadline.remaining()))
            pause = min(2 * pause, LAST_PAUSE)

    def _call_endpoint(self, endpoint: Endpoint, method: str, request: Any, seconds: float) -> Any:
        try:
            with endpoint.channel() as channel:
                try:
                    response = self.call_once(endpoint, channel, method, request, seconds)
                except CallFailed as error:
                    if error.failure.connection:
                        endpoint.retire(channel)
                    raise
        except RpcFailure as error:  # no channel could be made
            raise CallFailed(explain(error, endpoint.name, seconds)) from error
        self.endpoints.prefer(endpoint)
        return response

    def call_once(self, endpoint: Endpoint, channel: EtcdChannel, method: str, request: Any, seconds: float) -> Any:
        """Call this member only. Raises CallFailed."""
        deadline = StoreDeadline(seconds)
        metadata: Metadata = ()
        for last in (False, True):
            try:
                metadata = self.login.metadata(channel, deadline)
                response = channel.call(method, request, deadline.remaining(), metadata)
            except RpcFailure as error:
                failure = explain(error, endpoint.name, seconds)
                # A cluster whose authentication is enabled says "user name is empty" to those who were there before.
                expired = failure.fate is Fate.LOGIN or "user name is empty" in failure.details
                if last or not expired or not self.login.discard(metadata):
                    raise CallFailed(failure) from error
            else:
                self._check_header(response.header, endpoint)
                return response
        raise AssertionError("the second try returns or raises")

    def _check_header(self, header: ResponseHeader, endpoint: Endpoint) -> None:
        """Note the revision of the store. Raises CallFailed for a response from another cluster than before."""
        self._cluster_id = self._cluster_id or header.cluster_id
        if header.cluster_id != self._cluster_id:
            details = f"cluster {header.cluster_id:x}, not {self._cluster_id:x}"
            reason, advice = "it is of another cluster than before", "correct keystore.endpoints; after a restore, restart every dacd"
            raise CallFailed(EtcdFailure(Fate.REFUSED, endpoint.name, "OTHER_CLUSTER", details, reason, advice))
        self.revision = max(self.revision, header.revision)

    def _require_another_try(self, endpoint: Endpoint, error: CallFailed, resend: bool, refusals: tuple[str, ...]) -> None:
        """Raise what ends the call; return when another member may be called."""
        self.require_open()
        failure = error.failure
        if failure.fate in (Fate.NOT_DONE, Fate.LOST):
            self.endpoints.avoid(endpoint)
        if failure.fate is Fate.REFUSED and failure.code in refusals:
            raise RequestRefused(failure) from error
        if failure.fate in (Fate.REFUSED, Fate.LOGIN):
            raise self.refusal(error) from error
        if failure.fate is Fate.LOST and not resend:
            raise AnswerLost(failure) from error

    def unavailable(self, failures: dict[str, EtcdFailure], deadline: StoreDeadline) -> KeystoreUnavailable:
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

    def require_own_process(self) -> None:
        """Raise KeystoreUnavailable in a forked child, where gRPC's threads are missing."""
        if os.getpid() != self._pid:
            raise KeystoreUnavailable(where=self.where, why="it was opened before a fork: open it anew, in a program executed anew")

    def require_open(self) -> None:
        """Raise KeystoreUnavailable when no call can be made any more."""
        self.require_own_process()
        if self.closed.is_set():
            raise KeystoreUnavailable(where=self.where, why="it is closed")

    def close(self) -> None:
        """End every call; later ones fail. In a forked child the connections are its parent's, so they are left alone."""
        if os.getpid() == self._pid:
            self.closed.set()
            self.endpoints.close()


def _add_failure(failures: dict[str, EtcdFailure], failure: EtcdFailure) -> None:
    """Keep the last failure of each endpoint; but a timeout explains less than whatever came before it."""
    if failure.code == "DEADLINE_EXCEEDED":
        failures.setdefault(failure.endpoint, failure)
    else:
        failures[failure.endpoint] = failure


def _slice(deadline: StoreDeadline, members: int) -> float:
    """The timeout of the next call if so many members of this round are left."""
    remaining = deadline.remaining()
    return remaining if members == 1 else min(remaining / members, SLICE)


# --- members ---


class Endpoints:
    """All endpoints of the cluster, the one that responded last first."""

    def __init__(self, endpoints: Sequence[Endpoint], first: int = 0) -> None:
        self._endpoints = list(endpoints)
        self._first = first

    def in_order(self) -> list[Endpoint]:
        """Each endpoint once, in the order in which to call them."""
        first = self._first
        return self._endpoints[first:] + self._endpoints[:first]

    def prefer(self, endpoint: Endpoint) -> None:
        """It responded: call it first."""
        self._first = self._endpoints.index(endpoint)

    def avoid(self, endpoint: Endpoint) -> None:
        """It failed: call the next one first, unless another is first already."""
        index = self._endpoints.index(endpoint)
        if index == self._first:
            self._first = (index + 1) % len(self._endpoints)

    def close(self) -> None:
        """End every call."""
        for endpoint in self._endpoints:
            endpoint.close()


class Endpoint:
    """Where one member serves clients. After a failure it gets a new channel, made at once and with the certificates as they are then."""

    def __init__(self, name: str, read_certificates: Callable[[], TlsCertificates | None]) -> None:
        self.name = name
        self._read_certificates = read_certificates
        self._lock = threading.Lock()
        self._current: _SharedChannel | None = None
        self._open: set[_SharedChannel] = set()

    @contextmanager
    def channel(self) -> Iterator[EtcdChannel]:
        """The channel, which stays open at least as long as this lasts. Raises RpcFailure when none can be made."""
        shared = self._acquire()
        try:
            yield shared.channel
        finally:
            self._release(shared)

    def retire(self, channel: EtcdChannel) -> None:
        """Begin no more calls on this channel, which does not work. Those of other threads may still end well; the last one closes it."""
        with self._lock:
            if self._current is not None and self._current.channel is channel:
                self._current = None

    def close(self) -> None:
        """End every call."""
        with self._lock:
            for shared in self._open:
                shared.channel.close()

    def _acquire(self) -> _SharedChannel:
        with self._lock:
            if self._current is None:
                self._current = _SharedChannel(EtcdChannel(self.name, self._read_certificates()))
                self._open.add(self._current)
            self._current.users += 1
            return self._current

    def _release(self, shared: _SharedChannel) -> None:
        with self._lock:
            shared.users -= 1
            unused = not shared.users and shared is not self._current
            if unused:
                self._open.discard(shared)
        if unused:
            shared.channel.close()


class _SharedChannel:
    """A channel and how many calls and watches use it."""

    def __init__(self, channel: EtcdChannel) -> None:
        self.channel = channel
        self.users = 0


# --- authentication ---

# Without it, a member that has lost its leader would let the call wait for one.
_REQUIRE_LEADER: Metadata = (("hasleader", "true"),)


class Login:
    """One user's token, valid on all members: requested by the first call that needs it, and again when etcd rejects it.

    There is none without a user, nor in a cluster whose authentication is not enabled.
    """

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._lock = threading.Lock()
        self._token: str | None = None if user else ""

    def metadata(self, channel: EtcdChannel, deadline: StoreDeadline) -> Metadata:
        """The metadata of each call. Raises RpcFailure when the login fails."""
        token = self._token
        if token is None:
            token = self._log_in(channel, deadline)
        return (*_REQUIRE_LEADER, ("token", token)) if token else _REQUIRE_LEADER

    def discard(self, metadata: Metadata) -> bool:
        """etcd rejected the token in this metadata; whether another login may help."""
        if not self._user:
            return False
        if dict(metadata).get("token", "") == self._token:
            self._token = None
        return True

    def _log_in(self, channel: EtcdChannel, deadline: StoreDeadline) -> str:
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise RpcFailure("DEADLINE_EXCEEDED", "")
        try:
            if self._token is None:
                self._token = self._authenticate(channel, deadline)
            return self._token
        finally:
            self._lock.release()

    def _authenticate(self, channel: EtcdChannel, deadline: StoreDeadline) -> str:
        request = authenticate_request(self._user, self._password)
        try:
            return str(channel.call("Authenticate", request, deadline.remaining(), _REQUIRE_LEADER).token)
        except RpcFailure as error:
            if "authentication is not enabled" not in error.details:
                raise
            log.info("etcd asks for no login, although keystore.user is set")
            return ""
