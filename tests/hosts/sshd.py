"""A real sshd on loopback with keys of its own, for whoever runs the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from dacc_core.hosts.remote import SshAccess

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
ADDRESS = "127.0.0.1"
NAMES = ("a", "b", "slow", *(f"h{number}" for number in range(64)))

_CONFIG = """
ListenAddress {address}
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
StrictModes no
PidFile none
MaxStartups 500
MaxSessions {sessions}
LogLevel ERROR
# Not what this user's login shell reads at its start; and a fast exchange: there are hundreds.
SetEnv HOME={directory}
KexAlgorithms curve25519-sha256
"""


class Sshd:
    """One server. ``identity`` may log in; ``noisy`` too, through a shell that talks before it runs a command."""

    def __init__(self, directory: Path, sessions: int = 10) -> None:
        self.directory = directory
        self.port = free_port()
        self.identity, self.noisy = directory / "identity", directory / "noisy"
        self.known_hosts = directory / "known_hosts"
        for key in (self.identity, self.noisy, directory / "host"):
            make_key(key)
        talk = 'command="echo Welcome; echo to you >&2; exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"" '
        (directory / "authorized_keys").write_text(public(self.identity) + talk + public(self.noisy))
        self.known_hosts.write_text(f"* {public(directory / 'host')}")
        text = _CONFIG.format(address=ADDRESS, port=self.port, directory=directory, sessions=sessions)
        (directory / "config").write_text(text + newer_options(directory))
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it confines itself; a service's start makes it
        with (self.directory / "log").open("ab") as log:
            argv = [str(PROGRAM), "-D", "-e", "-f", str(self.directory / "config")]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while not self._listens():
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex((ADDRESS, self.port)) == 0

    def stop(self) -> None:
        """Stop it and all its connections."""
        self.process.terminate()
        self.process.wait()

    def connections(self) -> list[int]:
        """The processes that serve connections."""
        return [pid for pid in below(self.process.pid) if name_of(pid).startswith("sshd")]

    def signal_connections(self, number: int = signal.SIGKILL) -> None:
        """Signal what serves connections; new ones are accepted."""
        for pid in self.connections():
            os.kill(pid, number)

    def access(self, **changes: object) -> SshAccess:
        """How to reach it: every name of :data:`NAMES` is this machine."""
        usual = {
            "addresses": dict.fromkeys(NAMES, ADDRESS),
            "port": self.port,
            "user": pwd.getpwuid(os.geteuid()).pw_name,
            "identity": str(self.identity),
            "known_hosts": str(self.known_hosts),
        }
        return SshAccess(**{**usual, **changes})  # type: ignore[arg-type]


def newer_options(directory: Path) -> str:
    """Newer servers shut those out who fail to log in; older ones do not know the option."""
    option = "PerSourcePenalties no\n"
    trial = directory / "trial"
    trial.write_text(f"HostKey {directory}/host\n{option}")
    return option if subprocess.run([str(PROGRAM), "-t", "-f", str(trial)], capture_output=True).returncode == 0 else ""


def make_key(path: Path) -> None:
    """A key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)


def public(path: Path) -> str:
    """The public half of a key pair, as one line."""
    return Path(f"{path}.pub").read_text()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as one:
        one.bind((ADDRESS, 0))
        port: int = one.getsockname()[1]
        return port


def below(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parents.setdefault(parent_of(int(entry.name)), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def parent_of(pid: int) -> int:
    """The parent of a process; 0 when there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def name_of(pid: int) -> str:
    """The name of a process's program."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
