"""What the hosts can know of each other: a directory that all share, checked against the mounts that there really are."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

PORT = 988  # where LNet accepts connections; here the refusal of one proves that its host is there
SECONDS = 1.0

Record = dict[str, Any]


class Wire:
    """One host's view of it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.host = os.uname().nodename

    # --- records ---

    def path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def read(self, *names: str) -> Record:
        """A record; empty if there is none."""
        try:
            with open(self.path(*names) + ".json") as file:
                found: Record = json.load(file)
                return found
        except FileNotFoundError:
            return {}

    def write(self, record: Record, *names: str) -> None:
        path = self.path(*names) + ".json"
        with open(f"{path}.{self.host}.{os.getpid()}", "w") as file:
            json.dump(record, file)
        os.replace(file.name, path)

    def names(self, kind: str) -> list[str]:
        return sorted(name[:-5] for name in os.listdir(self.path(kind)) if name.endswith(".json"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes a record meanwhile."""
        with open(self.path("lock"), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # --- hosts ---

    def me(self) -> Record:
        return self.read("hosts", self.host)

    def host_of(self, nid: str) -> str:
        """The host that a NID belongs to, or nothing."""
        for host in self.names("hosts"):
            if nid in nids(self.read("hosts", host)):
                return host
        return ""

    def reaches(self, host: str) -> bool:
        """Whether a host that runs answers over the network."""
        record = self.read("hosts", host)
        if not record or not self.loaded(host, "lnet"):
            return False
        return host == self.host or answers(record["address"])

    def loaded(self, host: str, module: str) -> bool:
        return module in self.read("modules", host).get("loaded", [])

    def mounts(self, host: str) -> list[Mount]:
        """What a host has mounted; nothing if it does not run."""
        pid = self.read("hosts", host).get("pid", 0)
        try:
            with open(self.path("proc", str(pid), "mountinfo")) as file:
                return [Mount(line) for line in file]
        except OSError:
            return []

    # --- targets ---

    def target(self, host: str, service: str) -> Record:
        """A target's record if it runs on a host."""
        record = self.read("targets", f"{host}.{service}")
        return record if record and self.runs(record) else {}

    def runs(self, record: Record) -> bool:
        mounted = {(mount.device, mount.place) for mount in self.mounts(record["host"])}
        return (record["device"], record["place"]) in mounted

    def targets(self, host: str) -> list[Record]:
        """The targets that run on a host."""
        names = [name for name in self.names("targets") if name.startswith(f"{host}.")]
        return [record for record in (self.read("targets", name) for name in names) if record and self.runs(record)]

    def started(self, record: Record) -> None:
        self.write(record, "targets", f"{record['host']}.{record['service']}")
        with open(self.path("served", record["host"]), "a") as file:
            file.write(f"{record['device']} {record['place']}\n")

    def find_mgs(self, groups: list[list[str]]) -> Record:
        """The MGS that runs at the first of some NIDs where one does. Raises OSError as a mount would see it."""
        problem = errno.ETIMEDOUT
        for nid in (nid for group in groups for nid in group):
            host = self.host_of(nid)
            if host and self.reaches(host):
                found = self.target(host, "MGS")
                if found:
                    return found
                problem = errno.EIO
        raise OSError(problem, os.strerror(problem))


class Mount:
    """A line of ``mountinfo``."""

    def __init__(self, line: str) -> None:
        before, _, after = line.rstrip("\n").partition(" - ")
        words, rest = before.split(" "), after.split(" ")
        self.line = line
        self.device, self.place = words[2], unescape(words[4])
        self.kind, self.source = rest[0], unescape(rest[1])

    @property
    def client(self) -> str:
        """The filesystem's name, if it is one that a client mounted."""
        spec, _, name = self.source.rpartition(":/")
        return name if self.kind == "ext4" and "@" in spec else ""


def unescape(text: str) -> str:
    return text.encode().decode("unicode_escape") if "\\" in text else text


def nids(record: Record) -> list[str]:
    return [f"{record['address']}@{net}" for net in record["nets"]]


def answers(address: str) -> bool:
    import socket  # most commands need none, and each of their processes would import it

    try:
        socket.create_connection((address, PORT), SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def parse_nids(spec: str) -> list[list[str]]:
    """Groups of NIDs, one for each host (``:``), of one for each of its interfaces (``,``), with addresses for names.

    Raises ValueError for what is none.
    """
    return [[numeric(nid) for nid in group.split(",")] for group in spec.split(":")]


def numeric(nid: str) -> str:
    name, mark, net = nid.partition("@")
    if not mark or not net:
        raise ValueError(nid)
    if name.replace(".", "").isdigit():
        return nid
    import socket

    try:
        return f"{socket.gethostbyname(name)}@{net}"
    except OSError as error:
        raise ValueError(nid) from error
