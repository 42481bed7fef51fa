"""Real etcd clusters on this machine's loopback, or on hosts that are namespaces: members that can be killed and started again."""

from __future__ import annotations

import contextlib
import functools
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dacc_core.errors import Unavailable
from dacc_core.testing.namespaces import Namespaces

from .certificates import Certificates
from .proxy import Proxy

START_SECONDS = 30.0
PASSWORD = "correct horse"
READ_WRITE = 2
PROGRAMS = {"etcd": "etcd-server", "openssl": "openssl"}


def lacking() -> str:
    """What this machine lacks to run a cluster that a program of ours can use; empty when nothing."""
    try:
        from dacc_core.keystore.etcd import protocol  # noqa: F401
    except ImportError as error:
        return f"the extra dacc[etcd] ({error})"
    return ", ".join(f"{program} (Debian: {package})" for program, package in PROGRAMS.items() if not shutil.which(program))


@dataclass
class Member:
    """One etcd process. Its ports stay the same over restarts. ``host``: on which of ``machines`` it runs, with their addresses."""

    name: str
    directory: Path
    client_port: int
    peer_port: int
    health_port: int
    machines: Namespaces | None = None
    host: str = ""
    process: subprocess.Popen[bytes] | None = None
    _proxies: dict[int, Proxy] = field(default_factory=dict)

    @property
    def ip(self) -> str:
        """Its host's address."""
        return self.machines.address(self.host) if self.machines else "127.0.0.1"

    @property
    def address(self) -> str:
        """Where clients connect, without a scheme."""
        return f"{self.ip}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where other members connect."""
        return f"http://{self.ip}:{self.peer_port}"

    def near(self, port: int) -> str:
        """Where programs of this machine connect to one of its ports, also while its host's link is cut."""
        if self.machines is None:
            return f"127.0.0.1:{port}"
        if port not in self._proxies:
            self._proxies[port] = Proxy(port, functools.partial(self.machines.connect, self.host))
        return self._proxies[port].endpoint

    def healthy(self) -> bool:
        """Whether it answers and its cluster has a quorum."""
        with contextlib.suppress(OSError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{self.near(self.health_port)}/health", timeout=5) as answer:
                return b'"true"' in answer.read()
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes it accept connections and never answer, SIGCONT ends that."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once; its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End it, and the proxies to it."""
        self.kill()
        for proxy in self._proxies.values():
            proxy.close()


@dataclass
class EtcdCluster:
    """Members in a directory. ``tls``: ``""``, ``"server"`` or ``"mutual"``; ``flags``: more of etcd's options.

    ``hosts``: those of ``machines``, which have networks of their own, on which the members run, one on each; then without TLS.
    """

    directory: Path
    size: int = 1
    tls: str = ""
    flags: Sequence[str] = ()
    machines: Namespaces | None = None
    hosts: Sequence[str] = ()
    members: list[Member] = field(default_factory=list)
    token: str = ""

    def __post_init__(self) -> None:
        self.certificates = Certificates(self.directory / "certificates")
        self.size = len(self.hosts) or self.size
        ports = iter(free_ports(3 * self.size))
        where = [(self.machines, host) for host in self.hosts] or [(None, "")] * self.size
        self.members = [
            Member(f"m{number}", self.directory, next(ports), next(ports), next(ports), machines, host)
            for number, (machines, host) in enumerate(where)
        ]

    # --- for clients ---

    @property
    def endpoints(self) -> list[str]:
        """What ``keystore.endpoints`` is set to."""
        scheme = "https" if self.tls else "http"
        return [f"{scheme}://{member.address}" for member in self.members]

    @property
    def settings(self) -> dict[str, Any]:
        """The section ``keystore`` of a configuration."""
        settings: dict[str, Any] = {"endpoints": self.endpoints}
        if self.tls:
            settings["cacert"] = str(self.certificates.cert("ca"))
        if self.tls == "mutual":
            settings |= {"cert": str(self.certificates.cert("client")), "key": str(self.certificates.key("client"))}
        return settings

    # --- for operators ---

    def admin(self, method: str, request: Callable[[Any], Any], member: int = 0) -> Any:
        """A call of etcd's own interface: ``admin("Compact", lambda m: m.CompactionRequest(revision=5))``."""
        from dacc_core.keystore.etcd import protocol

        to = self.members[member]
        channel = protocol.EtcdChannel(to.near(to.client_port), self._tls_of_admin(protocol))
        try:
            return channel.call(method, request(protocol.messages), 10.0, (("token", self.token),) if self.token else ())
        finally:
            channel.close()

    def empty(self) -> int:
        """Delete everything; the revision after that."""
        return int(self.admin("DeleteRange", lambda m: m.DeleteRangeRequest(key=b"\0", range_end=b"\0")).header.revision)

    def compact(self, revision: int) -> None:
        """Forget the history before a revision."""
        self.admin("Compact", lambda m: m.CompactionRequest(revision=revision))

    def enable_users(self, first: bytes = b"\0", range_end: bytes = b"\0") -> None:
        """Enable authentication: ``root`` may do everything, ``dacc`` use the keys from ``first`` to ``range_end``."""
        self._add_user("root")
        self._add_user("dacc")
        permission = {"permType": READ_WRITE, "key": first, "range_end": range_end}
        self.admin("RoleGrantPermission", lambda m: m.AuthRoleGrantPermissionRequest(name="dacc", perm=permission))
        self.admin("AuthEnable", lambda m: m.AuthEnableRequest())
        self.log_in()

    def log_in(self) -> None:
        """Be root in the calls that follow."""
        self.token = ""
        self.token = self.admin("Authenticate", lambda m: m.AuthenticateRequest(name="root", password=PASSWORD)).token

    def _add_user(self, user: str) -> None:
        self.admin("UserAdd", lambda m: m.AuthUserAddRequest(name=user, password=PASSWORD))
        self.admin("RoleAdd", lambda m: m.AuthRoleAddRequest(name=user))
        self.admin("UserGrantRole", lambda m: m.AuthUserGrantRoleRequest(user=user, role=user))

    def _tls_of_admin(self, protocol: Any) -> Any:
        made = self.certificates
        files = (made.cert("ca"), made.cert("client"), made.key("client"))
        return protocol.TlsCertificates(*(path.read_bytes() for path in files)) if self.tls else None

    # --- processes ---

    def start(self, *numbers: int) -> EtcdCluster:
        """Start members (all, when none is named) and wait until they are healthy."""
        if self.tls and not self.certificates.directory.exists():
            self.certificates.make()
        for number in numbers or range(self.size):
            self.launch(number)
        for number in numbers or range(self.size):
            self.await_member(number)
        return self

    def launch(self, number: int) -> None:
        """Start a member and do not wait."""
        member = self.members[number]
        with (self.directory / f"{member.name}.log").open("ab") as log:
            argv = [*(member.machines.enter(member.host) if member.machines else ()), "etcd", *self._options(member)]
            member.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def await_member(self, number: int) -> None:
        """Wait until a member is healthy."""
        member = self.members[number]
        end = time.monotonic() + START_SECONDS
        while not member.healthy():
            if time.monotonic() > end or member.process is None or member.process.poll() is not None:
                raise Unavailable(why=f"etcd {member.name} does not start: {self._last_words(member)}")
            time.sleep(0.02)

    def close(self) -> None:
        """End every member."""
        for member in self.members:
            member.close()

    def __enter__(self) -> EtcdCluster:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _options(self, member: Member) -> list[str]:
        scheme = "https" if self.tls else "http"
        peers = ",".join(f"{peer.name}={peer.peer_url}" for peer in self.members)
        options: Mapping[str, str] = {
            "name": member.name,
            "data-dir": str(self.directory / member.name),
            "listen-client-urls": f"{scheme}://{member.address}",
            "advertise-client-urls": f"{scheme}://{member.address}",
            "listen-peer-urls": member.peer_url,
            "initial-advertise-peer-urls": member.peer_url,
            "listen-metrics-urls": f"http://{member.ip}:{member.health_port}",
            "initial-cluster": peers,
            **self._tls_options(),
        }
        return [*(f"--{name}={value}" for name, value in options.items()), *self.flags]

    def _tls_options(self) -> dict[str, str]:
        made = self.certificates
        server = {"cert-file": str(made.cert("server")), "key-file": str(made.key("server"))} if self.tls else {}
        return server | ({"client-cert-auth": "true", "trusted-ca-file": str(made.cert("ca"))} if self.tls == "mutual" else {})

    def _last_words(self, member: Member) -> str:
        lines = (self.directory / f"{member.name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its log is empty"


def free_ports(number: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
