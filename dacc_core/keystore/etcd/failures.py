"""What a failed call to etcd means: whether the request may have been done, whether another member may do it, and what operators read."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .protocol import RpcFailure


class Fate(enum.Enum):
    """What became of the request of a failed call."""

    NOT_DONE = "not done; another endpoint may do it"
    LOST = "done, not done, or still to be done: the answer did not come"
    LOGIN = "not done; log in anew and ask again"
    REFUSED = "not done, and no endpoint would do it"


@dataclass(frozen=True, slots=True)
class EtcdFailure:
    """One endpoint's failure. ``connection``: whether the connection is at fault, so that the next call should make a new one."""

    fate: Fate
    endpoint: str
    code: str
    details: str
    reason: str
    advice: str
    connection: bool = False

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.reason}"


class CallFailed(Exception):
    """A call failed."""

    def __init__(self, failure: EtcdFailure) -> None:
        super().__init__(failure)
        self.failure = failure


class AnswerLost(CallFailed):
    """No response came to a request that must not simply be repeated."""


class RequestRefused(CallFailed):
    """etcd refused the request, and no other member would accept it."""


NO_CHANNEL = "NO_CHANNEL"
"""In place of gRPC's status code: no channel could be made."""

ENDPOINTS = "start etcd there, or correct keystore.endpoints"
CERTIFICATES = "correct keystore.cacert, or the member's certificate"
SEE_LOG = "see etcd's log there"

# The details of UNAVAILABLE that prove that nothing was sent, or that etcd did not start on it.
_NOT_STARTED = (
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
    "etcdserver: no leader",
    "etcdserver: not capable",
)

# Words of gRPC's and etcd's details, and the reason and advice for operators. The first match counts.
_EXPLANATIONS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not of the CA that we trust", CERTIFICATES),
    ("Hostname Verification", "its certificate is for another name", CERTIFICATES),
    ("not in peer certificate", "its certificate is for another name", CERTIFICATES),
    ("Failed to create security handshaker", "the certificates cannot be used", "correct keystore.cacert, keystore.cert and keystore.key"),
    ("TSI_DATA_CORRUPTED", "it does not take our certificate", "set keystore.cert and keystore.key to one that its CA signed"),
    ("Handshake read failed", "it does not speak TLS", "write http:// in keystore.endpoints"),
    ("http1.x server", "no etcd listens there", ENDPOINTS),
    ("Connection refused", "connection refused", ENDPOINTS),
    ("No route to host", "no route to host", ENDPOINTS),
    ("Network is unreachable", "network is unreachable", ENDPOINTS),
    ("resolv", "its name cannot be resolved", "correct keystore.endpoints, or the name service"),
    ("Socket closed", "it closes the connection", f"use https:// if it wants TLS; {SEE_LOG}"),
    ("Connection reset", "it closes the connection", f"use https:// if it wants TLS; {SEE_LOG}"),
    ("no leader", "its cluster has no leader", "start more members of etcd"),
    ("request timed out", "its cluster has no quorum", "start more members of etcd"),
    ("future revision", "it has lost revisions that it had", "after a restore, restart every dacd"),
    ("permission denied", "permission denied", "grant the user's role read and write on the prefix /dacc/"),
    ("user name is empty", "it wants a user", "set keystore.user and keystore.password_file"),
    ("invalid user ID or password", "wrong user or password", "correct keystore.user and keystore.password_file"),
    ("space exceeded", "its database is full", "compact and defragment it, then: etcdctl alarm disarm"),
)
_REFUSING = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"}


def explain(error: RpcFailure, endpoint: str, seconds: float) -> EtcdFailure:
    """The meaning of a call's failure; ``seconds`` is the timeout that it had."""
    fate = _fate(error)
    reason, advice = _reason_and_advice(error, seconds)
    by_etcd = error.details.startswith("etcdserver:") or fate is Fate.REFUSED
    return EtcdFailure(fate, endpoint, error.code, error.details, reason, advice, connection=not by_etcd)


def _fate(error: RpcFailure) -> Fate:
    code, details = error.code, error.details
    if code == "UNAUTHENTICATED" or "auth store is old" in details:
        return Fate.LOGIN
    if details.startswith(_NOT_STARTED) or "too many requests" in details or code in ("UNIMPLEMENTED", NO_CHANNEL):
        return Fate.NOT_DONE
    return Fate.REFUSED if code in _REFUSING else Fate.LOST


def _reason_and_advice(error: RpcFailure, seconds: float) -> tuple[str, str]:
    for words, reason, advice in _EXPLANATIONS:
        if words in error.details:
            return reason, advice
    if error.code == "DEADLINE_EXCEEDED":
        return f"no answer within {seconds:.2g} s", SEE_LOG
    return _one_line(error.details.removeprefix("etcdserver: ")) or error.code.lower(), SEE_LOG


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:157] + "..."
