"""One sshd on each host of a site, with keys that exist for the site only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ..testing.namespaces import Namespaces, run

_CONFIG = """
ListenAddress {address}
HostKey {directory}/host_{host}
AuthorizedKeysFile {directory}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
# The site's directory may lie where everyone may write.
StrictModes no
PidFile none
MaxStartups 200
MaxSessions 200
LogLevel ERROR
"""


@dataclass
class SshServers:
    """Real sshds in the hosts' namespaces."""

    directory: Path
    hosts: Namespaces
    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def identity(self) -> Path:
        """The private key that root may log in with."""
        return self.directory / "identity"

    @property
    def known_hosts(self) -> Path:
        """The file of all host keys, by host name."""
        return self.directory / "known_hosts"

    def start(self) -> None:
        """Make the keys and start a server on every host."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        _make_key(self.identity)
        public = self.identity.with_suffix(".pub")
        public.rename(self.directory / "authorized_keys")
        lines = []
        for host in self.hosts.hosts:
            key = self.directory / f"host_{host}"
            _make_key(key)
            lines.append(f"{host} {key.with_suffix('.pub').read_text()}")
        self.known_hosts.write_text("".join(lines))
        for host in self.hosts.hosts:
            self.start_on(host)

    def start_on(self, host: str) -> None:
        """Start the server of one host."""
        config = self.directory / f"sshd_{host}"
        config.write_text(_CONFIG.format(address=self.hosts.address(host), directory=self.directory, host=host))
        with (self.directory / f"sshd_{host}.log").open("ab") as log:
            argv = [*self.hosts.enter(host), "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
            self.servers[host] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop_on(self, host: str) -> None:
        """Stop listening on one host; connections that exist stay."""
        server = self.servers.pop(host)
        server.terminate()
        server.wait()

    def close(self) -> None:
        """Stop all, with the connections that exist: the end of one that was cut may never come."""
        connections = [pid for server in self.servers.values() for pid in _children(server.pid)]
        for host in list(self.servers):
            self.stop_on(host)
        for pid in connections:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def _make_key(path: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dacc", "-f", str(path))
