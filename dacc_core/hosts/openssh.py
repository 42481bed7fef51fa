"""Hosts reached with the program ``ssh``, one process for each command."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator

from ..config.load import REMOTE_PYTHON
from ..errors import HostUnreachable
from ..sdk.context import CancelToken
from .local import command_environment
from .process import run_process
from .remote import KEEPALIVE_COUNT, KEEPALIVE_SECONDS, ChannelExit, HelperSession, RemoteRunner, SshAccess, SshEndpoint, remote_command

PROGRAM = "ssh"
_FAILED = 255
"""What ssh itself ends with when it could not do its work."""

# Of several values ssh takes the first, so these hold whatever a configuration file says.
_ALWAYS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "VerifyHostKeyDNS": "no",
    "CheckHostIP": "no",
    "UpdateHostKeys": "no",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
    # A master in the background would keep our streams, and end when the first command is cancelled.
    "ControlMaster": "no",
    "ControlPath": "none",
    "ConnectionAttempts": "1",
    "ServerAliveInterval": str(KEEPALIVE_SECONDS),
    "ServerAliveCountMax": str(KEEPALIVE_COUNT),
    "LogLevel": "ERROR",
}
# Older programs do not know them, and then there is nothing to switch off either.
_IF_KNOWN = {"RemoteCommand": "none", "KnownHostsCommand": "none"}

_MESSAGES: tuple[tuple[str, Callable[[SshEndpoint], str]], ...] = (
    ("REVOKED HOST KEY", SshEndpoint.revoked_key),
    ("HOST IDENTIFICATION HAS CHANGED", SshEndpoint.changed_key),
    ("host key is known for|Host key verification failed", SshEndpoint.unknown_key),
    ("Load key|no such identity|Permissions .* too open", SshEndpoint.bad_key),
    ("Permission denied", SshEndpoint.denied),
    ("Connection refused", SshEndpoint.refused),
    ("Could not resolve hostname", SshEndpoint.unknown_address),
    ("timed out", SshEndpoint.silent),
)


class OpenSshRunner(RemoteRunner):
    """Runs the program ``ssh``; ``ssh_config``: the configuration file that it reads instead of its own."""

    def __init__(self, access: SshAccess, *, fence_dir: str | os.PathLike[str], python: str = REMOTE_PYTHON, ssh_config: str = "") -> None:
        super().__init__(access, fence_dir=fence_dir, python=python)
        self._config = ssh_config

    async def _carry_session(self, endpoint: SshEndpoint, session: HelperSession, cancel: CancelToken | None) -> ChannelExit:
        try:
            outcome = await run_process(self._command(endpoint), session, environment=command_environment(), cancel=cancel)
        except OSError as error:
            raise HostUnreachable(host=endpoint.host, why=f"{PROGRAM} cannot start: {error}") from error
        if outcome.overdue:
            return ChannelExit(overdue=True)
        if outcome.returncode < 0:
            return ChannelExit(why=f"the local {PROGRAM} was killed by signal {-outcome.returncode}")
        if outcome.returncode == _FAILED:
            return ChannelExit(why=endpoint.lost(session.last_line()) if session.started else explain(endpoint, session))
        return ChannelExit(code=outcome.returncode)

    def _command(self, endpoint: SshEndpoint) -> list[str]:
        config = ["-F", self._config] if self._config else []
        return [PROGRAM, *config, *self._options(endpoint), "--", endpoint.address, remote_command(self.python)]

    def _options(self, endpoint: SshEndpoint) -> Iterator[str]:
        access = self.access
        # Before what it names.
        chosen = {"IgnoreUnknown": ",".join(_IF_KNOWN), **_IF_KNOWN, **_ALWAYS}
        chosen |= {"HostKeyAlias": endpoint.host, "Port": str(access.port), "User": access.user}
        chosen["ConnectTimeout"] = str(math.ceil(access.connect_timeout))
        if access.known_hosts:
            chosen |= {"UserKnownHostsFile": quoted(access.known_hosts), "GlobalKnownHostsFile": "/dev/null"}
        if access.identity:
            chosen |= {"IdentityFile": quoted(access.identity), "IdentitiesOnly": "yes"}
        for name, value in chosen.items():
            yield from ("-o", f"{name}={value}")


def quoted(path: str) -> str:
    """A path as a value of ssh's options, where spaces part paths and ``%`` begins a token."""
    return '"' + path.replace("%", "%%") + '"'


def explain(endpoint: SshEndpoint, session: HelperSession) -> str:
    """Why ssh could not get there, from what it printed."""
    printed = session.stderr.decode("utf-8", "replace")
    for words, why in _MESSAGES:
        if re.search(words, printed):
            return why(endpoint)
    return session.last_line() or f"{PROGRAM} to {endpoint.place} ended with status {_FAILED} and printed nothing"
