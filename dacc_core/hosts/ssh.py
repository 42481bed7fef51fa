"""Hosts reached with asyncssh, over connections that are kept for the next command."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh

from ..config.load import REMOTE_PYTHON
from ..names import clean_text
from ..sdk.context import CancelToken
from .engine import ENGINE, loop_time
from .remote import KEEPALIVE_COUNT, KEEPALIVE_SECONDS, ChannelExit, HelperSession, RemoteRunner, SshAccess, SshEndpoint, remote_command

SESSIONS = 8
"""Commands that share a connection: sshd allows ten (MaxSessions), unless its configuration has another number."""

IDLE_SECONDS = 60.0
"""How long a connection is kept for the next command."""

KEPT = 256
"""Hosts whose connections are kept: a service may usually have 1024 files open."""

LAST_SECONDS = 5.0
"""How long the last words of what has ended may take; a command that its helper does not end would hold the streams open for ever."""

REUSE_SECONDS = 5.0
"""How long a kept connection may take to begin a command before another is opened: it may be dead, and keepalives not have shown it."""

_SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

asyncssh.set_log_level("ERROR")  # it logs every connection and channel


class SshRunner(RemoteRunner):
    """Runs commands over connections that are kept open between them."""

    def __init__(self, access: SshAccess, *, fence_dir: str | os.PathLike[str], python: str = REMOTE_PYTHON) -> None:
        super().__init__(access, fence_dir=fence_dir, python=python)
        self.connections = ConnectionPool(remote_command(python), self.patience)

    def close(self) -> None:
        """Close all connections; a runner that is closed while commands run loses them."""
        if self.connections.hosts:
            ENGINE.run(self.connections.close)

    async def _carry_session(self, endpoint: SshEndpoint, session: HelperSession, cancel: CancelToken | None) -> ChannelExit:
        carried = asyncio.ensure_future(self.connections.carry(endpoint, session))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(carried.cancel)

        cancel = cancel or CancelToken()
        cancel.on_cancel(stop)
        try:
            return await carried
        except asyncio.CancelledError:
            if not cancel.cancelled:  # our caller was interrupted
                raise
            return ChannelExit()
        finally:
            cancel.forget(stop)


class Connection(asyncssh.SSHClient):
    """A connection that is being opened or is open. ``room``: commands that may share it."""

    def __init__(self, endpoint: SshEndpoint, room: int) -> None:
        self.endpoint = endpoint
        self.lost = False
        self.opening = asyncio.ensure_future(connect(endpoint, self))
        self.opening.add_done_callback(_retrieve)
        self.room, self.users = room, 0
        self.idle: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether it is open and was not lost."""
        opened = self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None
        return opened and not self.lost

    @property
    def usable(self) -> bool:
        """Whether one more command may try it."""
        return self.users < self.room and (self.open or not self.opening.done())

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, or was never there."""
        self.lost = True

    async def close(self) -> None:
        """End it."""
        self.room = 0
        self.opening.cancel()
        if self.open:
            connection = self.opening.result()
            connection.abort()
            await connection.wait_closed()


class ConnectionPool:
    """The connections of one runner. Everything here happens in its event loop."""

    def __init__(self, command: str, patience: float) -> None:
        self.idle_seconds = IDLE_SECONDS
        self.opened = 0
        self._command, self._patience = command, patience
        self._connections: dict[str, list[Connection]] = {}

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts with connections."""
        return tuple(self._connections)

    async def carry(self, endpoint: SshEndpoint, session: HelperSession) -> ChannelExit:
        """Carry a session over a connection that is there, or else over a new one."""
        with self._borrowed(endpoint, SESSIONS) as connection:
            kept = connection.open
            if kept:
                session.wait_for_start(REUSE_SECONDS)
            end = await self._carry(connection, session)
            full = connection.open and connection.users > 1
            if session.started or end.code is not None or not (kept or full):
                return end
            # It was dead without a sign, or sshd allows fewer commands on it: nothing was started.
            connection.room = connection.users - 1 if full and not end.overdue else 0
        session.wait_for_start(self._patience)
        with self._borrowed(endpoint, 1, anew=True) as connection:
            return await self._carry(connection, session)

    async def close(self) -> None:
        """End all connections."""
        for connection in [connection for connections in self._connections.values() for connection in connections]:
            await connection.close()
        self._connections.clear()

    async def _carry(self, connection: Connection, session: HelperSession) -> ChannelExit:
        channel = _Channel(session, connection.endpoint.lost)
        try:
            async with asyncio.timeout_at(loop_time(session.until)):
                opened = await asyncio.shield(connection.opening)
                # Not cut off by a timeout or a cancellation: a channel that opens later would stay for ever.
                begun = opened.create_session(lambda: channel, self._command, encoding=None, request_pty=False)
                opening = asyncio.ensure_future(begun)
                opening.add_done_callback(_retrieve)
                await asyncio.shield(opening)
            return await channel.end()
        except TimeoutError:
            return ChannelExit(overdue=True) if connection.open else ChannelExit(why=connection.endpoint.silent())
        except (OSError, ValueError, RuntimeError, asyncssh.Error) as error:  # RuntimeError: no thread for a look-up
            return ChannelExit(why=explain(connection.endpoint, error))
        finally:
            channel.abandon()

    @contextmanager
    def _borrowed(self, endpoint: SshEndpoint, room: int, *, anew: bool = False) -> Iterator[Connection]:
        connections = self._connections.setdefault(endpoint.host, [])
        connection = None if anew else next((kept for kept in connections if kept.usable), None)
        if connection is None:
            connection = Connection(endpoint, room)
            connections.append(connection)
            self.opened += 1
        if connection.idle is not None:
            connection.idle.cancel()
        connection.users += 1
        try:
            yield connection
        finally:
            connection.users -= 1
            if not connection.users:
                wait = self.idle_seconds if connection.open and connection.room and len(self._connections) <= KEPT else 0
                connection.idle = asyncio.get_running_loop().call_later(wait, self._drop, connection)

    def _drop(self, connection: Connection) -> None:
        connections = self._connections.get(connection.endpoint.host, [])
        if connection.users or connection not in connections:
            return
        connections.remove(connection)
        if not connections:
            del self._connections[connection.endpoint.host]
        if connection.open:
            connection.opening.result().close()


class _Channel(asyncssh.SSHClientSession[bytes]):
    """One command's channel, which feeds its session."""

    def __init__(self, session: HelperSession, lost: Callable[[str], str]) -> None:
        self._session = session
        self._lost = lost
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._abandoned = False
        self._news = asyncio.Event()
        self._code: int | None = None
        self._why = ""
        self._closed = False
        self._fed = False

    async def end(self) -> ChannelExit:
        """How it ended, once it has or its time is over."""
        while not (self._session.finished or self._closed):
            try:
                async with asyncio.timeout_at(loop_time(self._session.until)):
                    await self._news.wait()
            except TimeoutError:
                return ChannelExit(self._code, overdue=self._code is None)
            self._news.clear()
        return ChannelExit(self._code, self._why)

    def abandon(self) -> None:
        """Close the channel at once, or as soon as it opens; the session, which may go on elsewhere, is fed no more."""
        self._abandoned = True
        if self._channel is not None:
            self._channel.abort()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is there."""
        self._channel = chan

    def session_started(self) -> None:
        """The command is being started."""
        if self._abandoned:
            self.abandon()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """A piece of either stream."""
        if self._abandoned:
            return
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._session.receive_error(data)
        else:
            self._session.receive(data)
        if self._session.stdin is not None and not self._fed:
            self._feed(self._session.stdin)
        if self._session.finished:
            self._news.set()

    def _feed(self, stdin: bytes) -> None:
        self._fed = True
        self._news.set()  # another time limit holds now
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(stdin)
            self._channel.write_eof()

    def eof_received(self) -> bool:
        """Its streams have ended, the command perhaps not."""
        return True

    def exit_status_received(self, status: int) -> None:
        """What was started there has ended; what it wrote may still be on its way."""
        self._code = status
        if not self._abandoned:
            self._session.end_within(LAST_SECONDS)
            self._news.set()

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """What was started there was killed."""
        self.exit_status_received(-1)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, with or without its connection."""
        self._why = self._lost(reason(exc) if exc is not None else "")
        self._closed = True
        self._news.set()


def _retrieve(done: asyncio.Future[Any]) -> None:
    """Take its exception, which whoever waited has had: asyncio would log it as never retrieved."""
    if not done.cancelled():
        done.exception()


async def connect(endpoint: SshEndpoint, owner: asyncssh.SSHClient) -> asyncssh.SSHClientConnection:
    """A connection with a host whose key is known. Nothing but the settings counts: no configuration file, no agent, no password."""
    access = endpoint.access
    return await asyncssh.connect(
        endpoint.address,
        access.port,
        client_factory=lambda: owner,
        config=None,
        username=access.user,
        client_keys=[access.identity] if access.identity else (),
        agent_path=None,
        agent_forwarding=False,
        host_key_alias=endpoint.host,
        known_hosts=lambda *_: trusted_keys(endpoint),
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        x509_trusted_certs=None,
        connect_timeout=access.connect_timeout,
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVE_COUNT,
    )


def trusted_keys(endpoint: SshEndpoint) -> tuple[Sequence[asyncssh.SSHKey], Sequence[asyncssh.SSHKey], Sequence[asyncssh.SSHKey]]:
    """The keys of a host, of authorities for it, and the revoked ones; by its name only, never by its address."""
    lines = [line for file in key_files(endpoint.access) for line in _read(file) if _may_name(line, endpoint.host)]
    host, authorities, revoked, *_ = asyncssh.import_known_hosts("\n".join(lines)).match(endpoint.host, "", None)
    return host, authorities, revoked


def key_files(access: SshAccess) -> list[str]:
    """The files that hold host keys: the configured one alone, else the system's and the user's, as for ssh."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    return [access.known_hosts] if access.known_hosts else [*_SYSTEM_KNOWN_HOSTS, f"{home}/.ssh/known_hosts", f"{home}/.ssh/known_hosts2"]


def _read(file: str) -> list[str]:
    try:
        return Path(file).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def _may_name(line: str, host: str) -> bool:
    """Whether a line of a known_hosts file is worth reading for a host: reading all keys of a large cluster takes seconds."""
    names = line.split(None, 1)[0] if line.strip() else ""
    return host in names.split(",") or any(mark in names for mark in "*?|@!")


def explain(endpoint: SshEndpoint, error: Exception) -> str:
    """Why a host could not be reached."""
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return _key_problem(endpoint)
        case asyncssh.PermissionDenied():
            return endpoint.denied()
        case TimeoutError():
            return endpoint.silent()
        case socket.gaierror():
            return endpoint.unknown_address()
        case OSError() if error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error):
            return endpoint.refused()
        case OSError(filename=str(name)):
            return f"{name} cannot be read: {error.strerror}"
        case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError():
            return endpoint.bad_key()
    return f"{endpoint.place}: {reason(error)}"


def _key_problem(endpoint: SshEndpoint) -> str:
    hosts, authorities, revoked = trusted_keys(endpoint)
    if revoked:
        return endpoint.revoked_key()
    return endpoint.changed_key() if hosts or authorities else endpoint.unknown_key()


def reason(error: Exception) -> str:
    """An error in one line; the server may have written it."""
    text = error.reason if isinstance(error, asyncssh.DisconnectError | asyncssh.ChannelOpenError) else str(error)
    return clean_text(" ".join(text.split())) or type(error).__name__
