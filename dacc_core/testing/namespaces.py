"""Hosts that are namespaces of this machine: each with its own mounts and, if wanted, its own network and host name.

Needs root. Everything hangs on files under one directory; nothing of it is seen from the machine's own namespaces.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

BOOT_ID = "/proc/sys/kernel/random/boot_id"
_SWITCH = "switch"
_NET = "10.77"
_CLONE_NEWNET = 0x40000000


@dataclass
class Namespaces:
    """A mount namespace for each host, bound to the file of its name, with an empty ``/mnt``.

    With ``network`` each also has a network and a host name of its own, an empty ``/run``, and an address on a bridge that all share;
    ``/etc/hosts`` there knows every host by its name and as ``<name>-ib``.
    """

    directory: Path
    hosts: Sequence[str]
    network: bool = False
    _files: list[Path] = field(default_factory=list)

    def open(self) -> None:
        """Make them."""
        self.directory.mkdir(exist_ok=True)
        # A namespace file can only be bound where mounts do not propagate.
        run("mount", "--bind", str(self.directory), str(self.directory))
        run("mount", "--make-private", str(self.directory))
        if self.network:
            self._make_switch()
        for host in self.hosts:
            self._make(host)

    def enter(self, host: str, directory: str = "/") -> list[str]:
        """The words before a command that run it on a host."""
        files = [f"--mount={self.directory / host}"]
        if self.network:
            files += [f"--net={self.directory / host}.net", f"--uts={self.directory / host}.uts"]
        return ["nsenter", *files, f"--wdns={directory}", "--"]

    def address(self, host: str) -> str:
        """A host's address on the bridge."""
        number = self.hosts.index(host) + 1
        return f"{_NET}.{number // 250}.{number % 250 + 1}"

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to a port of a host's address that comes from the host itself, for a program that is elsewhere."""
        with ThreadPoolExecutor(1) as visitor:  # a socket stays where it was made; a thread that has been there is not used again
            return visitor.submit(self._visit, host, port).result()

    def _visit(self, host: str, port: int) -> socket.socket:
        with (self.directory / f"{host}.net").open() as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
        return socket.create_connection((self.address(host), port))

    def cut(self, host: str) -> None:
        """Pull the host's cable."""
        self._on_switch("ip", "link", "set", _port(self.hosts.index(host)), "down")

    def mend(self, host: str) -> None:
        """Put it back."""
        self._on_switch("ip", "link", "set", _port(self.hosts.index(host)), "up")

    def renew_boot(self, host: str) -> None:
        """Let programs on a host that are started from now on see another boot of its kernel; ending the earlier ones is the caller's."""
        file = self.directory.with_name(f"{self.directory.name}-{host}.boot")
        file.write_text(f"{uuid.uuid4()}\n")
        run(*self.enter(host), "mount", "--bind", str(file), BOOT_ID)

    def close(self) -> None:
        """Remove what :meth:`open` made; a namespace is gone when its last process is."""
        for file in (*self._files, *([self.directory] if self._files else [])):
            run("umount", "-l", str(file), check=False)
        self._files.clear()

    def _make(self, host: str) -> None:
        options = [f"--mount={self._file(host)}", "--propagation", "private"]
        commands = ["mount -t tmpfs -o size=1m,mode=755 dacc /mnt"]
        if self.network:
            options += [f"--net={self._file(host + '.net')}", f"--uts={self._file(host + '.uts')}"]
            commands += [
                "mount -t tmpfs -o size=16m,mode=755 dacc /run",
                "mkdir /run/sshd",  # where sshd chroots to
                f"mount --bind '{self.directory}/hosts' /etc/hosts",
                # What bash does at each login over ssh may take seconds, and is the developer's, not the host's.
                "if [ -e ~root/.bashrc ]; then mount --bind /dev/null ~root/.bashrc; fi",
                f"hostname {host}",
                "ip link set lo up",
            ]
        run("unshare", *options, "sh", "-ec", "\n".join(commands))
        if self.network:
            self._connect(host)

    def _make_switch(self) -> None:
        # The bridge has a namespace to itself, so that sites side by side never meet.
        run("unshare", f"--net={self._file(_SWITCH)}", "sh", "-ec", "ip link add br0 type bridge; ip link set br0 up")
        lines = [f"{self.address(host)} {host} {host}-ib\n" for host in self.hosts]
        (self.directory / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))

    def _connect(self, host: str) -> None:
        port = _port(self.hosts.index(host))
        self._on_switch("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", f"{self.directory / host}.net")
        self._on_switch("ip", "link", "set", port, "master", "br0", "up")
        up = f"ip address add {self.address(host)}/16 dev eth0; ip link set eth0 up"
        run("nsenter", f"--net={self.directory / host}.net", "sh", "-ec", up)

    def _on_switch(self, *argv: str) -> None:
        run("nsenter", f"--net={self.directory / _SWITCH}", *argv)

    def _file(self, name: str) -> Path:
        file = self.directory / name
        file.touch()
        self._files.append(file)
        return file


def _port(number: int) -> str:
    return f"port{number}"  # an interface's name may have 15 bytes, a host's more


def run(*argv: str, check: bool = True) -> None:
    """A command of the system. Raises OSError with what it said."""
    done = subprocess.run(argv, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise OSError(f"{argv[0]}: {done.stderr.strip()}")
