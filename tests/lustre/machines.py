"""Hosts as namespaces that live as long as their first process, and the switch that they are plugged into."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dacc_core.hosts.remote import SshAccess
from dacc_core.hosts.ssh import SshRunner

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_NEWNET = 0x40000000
_NET = "10.78"
# Whatever ends the tests ends the hosts.
_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
_SETUP = """
ip -batch - <<END
link set lo up
link add eth0 address {mac} type veth peer name {port} netns {switch}
address add {address}/16 dev eth0
link set eth0 up
END
exec unshare --uts --mount --pid --fork --kill-child --propagation private /usr/bin/python3 -IS {directory}/boot {host}
"""


class Machine:
    """One host. It has network, mount, UTS and PID namespaces of its own; its first process is sshd."""

    def __init__(self, host: str, number: int) -> None:
        self.host, self.port = host, f"port{number}"
        self.address = f"{_NET}.{number // 250}.{number % 250 + 2}"
        # The same after a restart: others remember it.
        self.mac = f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, switch: Switch, directory: Path) -> None:
        """Begin to start it. Not from a thread that ends: the host would end with it."""
        script = _SETUP.format(
            port=self.port, switch=switch.pid, mac=self.mac, address=self.address, directory=shlex.quote(str(directory)), host=self.host
        )
        self._log = directory / f"log_{self.host}"
        with self._log.open("ab") as log:
            argv = [*_WITH_US, "unshare", "--net", "sh", "-ec", script]
            env = {"PATH": PATH}
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

    def find(self) -> int:
        """The number of its first process, once it is there."""
        assert self._process is not None
        file = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._wait(lambda: self._is_inside(file))
        return self.pid

    def _is_inside(self, file: Path) -> bool:
        """Whether the only child is in a PID namespace of its own; the shell before it has children too, which are not."""
        try:
            self.pid = int(file.read_text().split()[0])
            return Path(f"/proc/{self.pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
        except (OSError, IndexError):
            return False

    def await_sshd(self) -> None:
        """Wait until it listens."""
        self._wait(Path(f"/proc/{self.pid}/root/run/sshd.pid").exists)

    def _wait(self, condition: Callable[[], bool]) -> None:
        assert self._process is not None
        end = time.monotonic() + 60
        while not condition():
            assert self._process.poll() is None, f"{self.host} did not start: {self._log.read_text()}"
            assert time.monotonic() < end, f"{self.host} does not start: {self._log.read_text()}"
            time.sleep(0.005)

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a command there."""
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-n", "-p", "--wdns=/", "--", "env", "-i", f"PATH={PATH}", *argv]

    def strike(self) -> None:
        """Begin to end all of its processes at once: the kernel does it when the first is killed."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # struck before
                os.kill(self.pid or self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it, and see that it is gone."""
        self.strike()
        if self._process is not None:
            self._process.wait()  # it waits for the first process inside, and that for all others
        self._process, self.pid = None, 0


class Switch:
    """A bridge in a network namespace of its own, with the address of whoever drives the hosts."""

    def __init__(self) -> None:
        setup = (
            f"ip link add br0 type bridge; ip addr add {_NET}.0.1/16 dev br0; ip link set br0 up; ip link set lo up; echo; exec sleep inf"
        )
        argv = [*_WITH_US, "unshare", "--net", "sh", "-ec", setup]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        with self._process.stdout as ready:
            assert ready.read(1), "the switch did not start"

    def connect(self, machines: Sequence[Machine]) -> None:
        """Put the plugs of hosts into it."""
        self._ip("".join(f"link set {machine.port} master br0 up\n" for machine in machines))

    def plug(self, machine: Machine, plugged: bool) -> None:
        """Whether a host's cable is plugged in."""
        self._ip(f"link set {machine.port} {'up' if plugged else 'down'}\n")

    def remove(self, machine: Machine) -> None:
        """Take out the plug of a host that has died: the kernel does it too, but some time later."""
        argv = ["nsenter", "-t", str(self.pid), "-n", "ip", "link", "delete", machine.port]
        subprocess.run(argv, capture_output=True)

    def _ip(self, lines: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "ip", "-batch", "-"], input=lines.encode(), check=True)

    def runner(self, access: SshAccess, *, fence_dir: str, python: str) -> SshRunner:
        """A runner whose connections come from the switch."""
        return _RunnerInside(self.pid, access, fence_dir=fence_dir, python=python)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class _RunnerInside(SshRunner):
    """A runner whose thread, and no other of this process, is in another network."""

    def __init__(self, pid: int, access: SshAccess, *, fence_dir: str, python: str) -> None:
        super().__init__(access, fence_dir=fence_dir, python=python)

        async def go() -> None:
            with Path(f"/proc/{pid}/ns/net").open() as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")

        asyncio.run_coroutine_threadsafe(go(), self._running_loop()).result()
