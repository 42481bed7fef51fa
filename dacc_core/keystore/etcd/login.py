"""Logging in to etcd: a token for all members, asked for when the first call needs it and again when etcd takes it no more."""

from __future__ import annotations

import logging
import threading

from ..shared import Deadline
from .protocol import Channel, Metadata, RpcFailure
from .types import messages

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
