"""What the runners over ssh share: the conversation with a host's helper, how hosts are reached, and messages about those that are not.

The command line that sshd's side sees is a constant, so no shell there ever reads anything of ours. All else goes over standard
input, in this order: a line with two lengths, the helper's text, its arguments, and what the command itself is to read. Nothing is
sent before the far end is ready. So a host on which that never comes has surely started nothing, whatever a login
shell writes is told from what the command writes, and a connection that was dead already can be replaced.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import secrets
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config.load import REMOTE_PYTHON
from ..config.settings import HostsSettings
from ..errors import Cancelled, HostLost, HostUnreachable
from ..names import clean_text, expand
from ..sdk.context import CancelToken
from . import base
from .on_host import fence
from .process import ProcessResult, Streams

START_SECONDS = 10.0
"""How long a host may take from the connection to the helper's start: a login and an interpreter on a busy machine."""

KEEPALIVE_SECONDS = 10
KEEPALIVE_COUNT = 3
"""A connection is lost when so many keepalives in a row have no answer."""

_EXIT_STATUS = re.compile(rb" (\d{1,3})\n", re.ASCII)
_MOST_AFTER = 64
"""Bytes kept of what follows the mark: an exit status. A host that is not ours to trust may send any number."""

READY = b"dacc_ready\n"
BOOTSTRAP = (
    "import os,sys;"
    "print(*dict(dacc_ready=1),flush=True);"
    "r=lambda n,b:[b.extend(c)for c in iter(lambda:os.read(0,n-len(b)),bytes())]and len(b)==n and bytes(b)or os._exit(125);"
    "n=r(20,bytearray()).split();"
    "t=r(int(n[0]),bytearray());"
    "sys.argv+=os.fsdecode(r(int(n[1]),bytearray())).split(chr(0));"
    "exec(t)"
)
"""Reads the helper and its arguments, never a byte more, and runs it; ends when they do not come whole.

It is read by login shells of every kind: no quotes, no backslash, no newline, no ``!`` (csh's, even inside quotes).
"""


def remote_command(python: str) -> str:
    """The command line for every host and every call."""
    return f"{python} -I -S -c '{BOOTSTRAP}'"


@functools.cache
def helper_program() -> bytes:
    """The helper's text."""
    return inspect.getsource(fence).encode()


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How hosts are reached, by the settings ``hosts``. ``addresses``: the pattern of each host that has one of its own."""

    addresses: Mapping[str, str] = field(default_factory=dict)
    port: int = 22
    user: str = "root"
    identity: str = ""
    known_hosts: str = ""
    connect_timeout: float = 10.0

    def endpoint(self, host: str) -> SshEndpoint:
        """Where a host is."""
        pattern = self.addresses.get(host, "%h")
        return SshEndpoint(host, "%".join(part.replace("%h", host) for part in pattern.split("%%")), self)


def access_of(hosts: HostsSettings) -> SshAccess:
    """By the settings."""
    return SshAccess(
        addresses={host: pattern for nodes, pattern in hosts.addresses.items() for host in expand(nodes)},
        port=hosts.port,
        user=hosts.user,
        identity=hosts.identity,
        known_hosts=hosts.known_hosts,
        connect_timeout=hosts.connect_timeout,
    )


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """A host's address, and in words what can be wrong with it."""

    host: str
    address: str
    access: SshAccess

    @property
    def place(self) -> str:
        """The address as messages have it."""
        return f"{self.address} port {self.access.port}"

    @property
    def files(self) -> str:
        """Where the host's key should be."""
        return self.access.known_hosts or "the known_hosts files of ssh (/etc/ssh/ssh_known_hosts, ~/.ssh/known_hosts)"

    def refused(self) -> str:
        """The machine is there and has no sshd."""
        return f"nothing listens on {self.place}: start sshd there, or correct the settings hosts.addresses and hosts.port"

    def silent(self) -> str:
        """Nobody answers."""
        return f"{self.place} did not answer within {self.access.connect_timeout:g} s: see that the host is up and its sshd works"

    def unknown_address(self) -> str:
        """The address is a name that no name service has."""
        return f"the address {self.address} is not known: correct the setting hosts.addresses, or the name service"

    def unknown_key(self) -> str:
        """The host's key is in no file."""
        return f"no host key of {self.host} (of sshd on {self.place}) is in {self.files}: add a line there that begins with {self.host}"

    def changed_key(self) -> str:
        """The host's key is not the one in the file."""
        return (
            f"the host key of sshd on {self.place} is not that of {self.host} in {self.files}: "
            "if the host was installed anew, replace the line there; otherwise another machine answers in its place"
        )

    def revoked_key(self) -> str:
        """The host's key was taken back."""
        return f"the host key of sshd on {self.place} is marked as revoked in {self.files}: give the host a new one, and put that there"

    def bad_key(self) -> str:
        """Our own key is of no use."""
        return f"the key {self.access.identity} cannot be used: make it a private key without a passphrase that its owner alone may read"

    def denied(self) -> str:
        """The user may not log in."""
        access = self.access
        key = f"the key {access.identity}" if access.identity else "every key of ours"
        return f"sshd on {self.place} refuses {key} for user {access.user}: add the public key to that user's authorized_keys there"

    def no_python(self, python: str) -> str:
        """The interpreter is missing."""
        return f"{python} cannot be started on {self.address}: install python3 there, or correct the setting hosts.python"

    def no_login(self, text: str) -> str:
        """The login worked and nothing was started."""
        return f"user {self.access.user} cannot run commands on {self.place}: {text}"

    def lost(self, text: str) -> str:
        """The connection ended too early."""
        return f"the connection to {self.place} ended" + (f" ({text})" if text else "")


class _Until:
    """Lets a stream through up to a mark that may come in pieces. ``after``: what followed the mark, once it has come."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""
        self.after: bytes | None = None

    def pass_on(self, chunk: bytes) -> bytes:
        """The bytes that are surely before the mark."""
        if self.after is not None:
            self.after += chunk[: max(0, _MOST_AFTER + 1 - len(self.after))]
            return b""
        before, mark, after = (self._held + chunk).partition(self._mark)
        if mark:
            self.after = after
            return before
        kept = next(size for size in range(min(len(self._mark) - 1, len(before)), -1, -1) if before.endswith(self._mark[:size]))
        self._held = before[len(before) - kept :]
        return before[: len(before) - kept]


class HelperSession(Streams):
    """Our side of one call of a helper at the far end; whoever carries the bytes feeds it.

    ``started``: the far end was ready and may have got all it needs. ``finished``: both of its streams have come whole.
    """

    def __init__(self, host: str, call: base.HelperCall, patience: float) -> None:
        super().__init__(None, patience, call.on_output)
        self._host = host
        nonce = secrets.token_hex(16)
        mark = fence.closing(nonce)
        self.started = False
        self._call, self._nonce = call, nonce
        self._before = b""
        self._out, self._error = _Until(mark), _Until(mark)

    def outcome(self) -> ProcessResult:
        """How the helper ended, once it has. Raises HostLost when its answer is not our helper's."""
        match = _EXIT_STATUS.fullmatch(self._error.after or b"")
        status = int(match[1]) if match is not None else -1
        if not 0 <= status <= 255:
            raise HostLost(host=self._host, why="what answers there is not our helper: its answer has no exit status")
        return ProcessResult(status, self.stdout, self.stderr)

    def wait_for_start(self, seconds: float) -> None:
        """A connection is tried, and nothing was sent over another."""
        self.until = time.monotonic() + seconds
        self._before = b""

    def receive(self, chunk: bytes) -> None:
        """A piece of standard output: what a login shell writes first is dropped."""
        if not self.started:
            self._before += chunk
            _, ready, chunk = self._before.partition(READY)
            if not ready:
                self._before = self._before[-65536:]
                return
            self._start()
        super().receive(self._out.pass_on(chunk))
        self._see_end()

    def receive_error(self, chunk: bytes) -> None:
        """A piece of standard error."""
        super().receive_error(self._error.pass_on(chunk))
        self._see_end()

    def end_within(self, seconds: float) -> None:
        """The far end has ended: what it wrote is all that will come."""
        self.until = min(self.until, time.monotonic() + seconds)

    def last_line(self) -> str:
        """The last line that came, of a call that never started."""
        lines = (self.stderr.strip() or self._before.strip()).decode("utf-8", "replace").splitlines()
        return clean_text(lines[-1].strip().rstrip(".")) if lines else ""

    def _start(self) -> None:
        self.started, self._before = True, b""
        self.forget_errors()  # a login shell's
        self.stdin = self._payload()
        self.until = time.monotonic() + self._call.seconds + base.GIVE_UP_SECONDS

    def _payload(self) -> bytes:
        verb, *words = self._call.words
        arguments = b"\0".join(map(os.fsencode, (verb, "--attached", self._nonce, *words)))
        program = helper_program()
        return b"%09d %09d\n" % (len(program), len(arguments)) + program + arguments + self._call.stdin

    def _see_end(self) -> None:
        after = self._error.after or b""
        self.finished = self._out.after is not None and (b"\n" in after or len(after) > _MOST_AFTER)


@dataclass(frozen=True, slots=True)
class ChannelExit:
    """How a connection's part in a call ended. ``code``: the exit status of what ran there, -1 for a signal. ``why``: what is wrong."""

    code: int | None = None
    why: str = ""
    overdue: bool = False


class RemoteRunner(base.HelperRunner):
    """Runs commands on other machines over ssh; see :class:`~dacc_core.hosts.base.HelperRunner`.

    Nothing is installed there: the helper goes over the connection with each call. Host keys are always checked, by the names that
    dacc has for its hosts.
    """

    def __init__(self, access: SshAccess, *, fence_dir: str | os.PathLike[str], python: str = REMOTE_PYTHON) -> None:
        super().__init__(fence_dir=fence_dir, python=python)
        self.access = access
        self.patience = math.ceil(access.connect_timeout) + START_SECONDS

    @abstractmethod
    async def _carry_session(self, endpoint: SshEndpoint, session: HelperSession, cancel: CancelToken | None) -> ChannelExit:
        """Carry a session until it is finished, the connection ends, it is overdue or cancelled."""

    async def _reach(self, host: str, call: base.HelperCall) -> ProcessResult:
        endpoint, session = self.access.endpoint(host), HelperSession(host, call, self.patience)
        end = await self._carry_session(endpoint, session, call.cancel)
        if session.finished:
            return session.outcome()
        if call.cancel is not None and call.cancel.cancelled:
            raise Cancelled(what=call.what)
        if session.started:
            raise HostLost(host=host, why=_why_lost(end, call))
        raise HostUnreachable(host=host, why=self._why_not(endpoint, session, end))

    def _why_not(self, endpoint: SshEndpoint, session: HelperSession, end: ChannelExit) -> str:
        """Why nothing was started."""
        if end.code in (126, 127):
            return endpoint.no_python(self.python)
        if end.code is not None:
            return endpoint.no_login(session.last_line() or f"exit status {end.code}")
        return end.why or endpoint.no_login(f"no command started there within {self.patience:g} s")


def _why_lost(end: ChannelExit, call: base.HelperCall) -> str:
    if end.overdue:
        return f"its helper did not answer within {call.seconds + base.GIVE_UP_SECONDS:g} s"
    if end.code is not None:
        how = "was killed" if end.code < 0 else f"ended with status {end.code}"
        return f"its helper {how} without an answer"
    return end.why
