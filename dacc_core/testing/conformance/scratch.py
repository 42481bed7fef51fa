"""What the checks may use and ruin: hosts, bricks, a directory for mounts; and how to look at them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ...sdk import BrickRef, Command, CommandResult, HostRunner
from .outcomes import NotReached

Entry = tuple[str, str, str]
"""What is on a host: its kind (``mount``, ``file``, ``loop``, ``swap``, ``process``, ``signature``), its name, and a detail."""

Snapshot = Mapping[str, frozenset[Entry]]
"""The entries of each host."""

SECONDS = 60.0


@dataclass
class Scratch:
    """Hosts and bricks for checks. **Everything on the bricks is lost.**

    The methods look at the hosts with commands through ``runner``. A subclass can replace them: for hosts that have no shell, for
    providers that leave more behind than is looked for here.
    """

    runner: HostRunner
    """How commands reach the hosts."""

    bricks: tuple[BrickRef, ...]
    """At least one. Some checks need two, some need them on two hosts."""

    hosts: tuple[str, ...]
    """Where volumes are mounted, at least one. Some checks need two, each with mounts of its own."""

    mount_root: str = "/mnt/dacc-check"
    """A directory for mount points on each host. Nothing else is in it."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """The section ``providers.<name>``."""

    capacity: int = 64 << 20
    """Bytes to ask for, for each volume."""

    owner: int = field(default_factory=lambda: 65534 if os.geteuid() == 0 else os.geteuid())
    """The uid that owns volumes."""

    group: int = field(default_factory=lambda: 65534 if os.geteuid() == 0 else os.getegid())
    """The gid that owns volumes."""

    seconds: float = SECONDS
    """The deadline of a call (seconds), where the check sets no other."""

    watch: tuple[str, ...] = ()
    """More directories, on any host, in which nothing may be left."""

    @property
    def everywhere(self) -> tuple[str, ...]:
        """All hosts, those of bricks included."""
        return tuple(dict.fromkeys((*(brick.host for brick in self.bricks), *self.hosts)))

    @property
    def mover_root(self) -> str:
        """A directory for the mount points of movers. It may stay, empty."""
        return f"{self.mount_root}-mover"

    def place(self, host: str, path: str) -> str:
        """Where a path of a mount is seen on a host. The same, unless hosts share a file system and the provider tells them apart."""
        return path

    # --- what is there ---

    def look(self) -> Snapshot:
        """What is on every host: mounts, loop devices, swap, processes and files that have to do with bricks and mount points."""
        return self._inspect(dict.fromkeys(self.everywhere, ()))

    def sweep(self, left: Snapshot) -> Snapshot:
        """Take things away, by force. What is left then."""
        return self._inspect({host: sorted(left.get(host, ())) for host in self.everywhere})

    def is_there(self, host: str, path: str) -> bool:
        """Whether a volume can be used at a mount point: its directory ``global`` is there."""
        return self.on(host, "test", "-d", f"{self.place(host, path)}/global").ok

    def is_mounted(self, host: str, path: str) -> bool:
        """Whether anything is left of a mount: a link, or an entry in the mount table."""
        script = 'test -L "$0" || test -d "$0/global" || grep -qF " $0 " /proc/self/mounts'
        return self.on(host, "sh", "-c", script, self.place(host, path)).ok

    def is_link(self, host: str, path: str) -> bool:
        """Whether a symbolic link stands for a mount."""
        return self.on(host, "test", "-L", self.place(host, path)).ok

    def mount_options(self, host: str, path: str) -> frozenset[str]:
        """The options of the mount at a path, from the host's mount table; none where nothing is mounted."""
        place = self.place(host, path)
        table = self._must(host, "cat", "/proc/self/mounts").decode("utf-8", "surrogateescape")
        rows = [line.split() for line in table.splitlines()]
        return frozenset(option for row in rows if row[1].replace("\\040", " ") == place for option in row[3].split(","))

    def has_swap(self, host: str, path: str) -> bool:
        """Whether a host swaps to a file below a mount point that is its own, perhaps through a loop device."""
        table = self._must(host, "cat", "/proc/swaps").decode("utf-8", "surrogateescape")
        names = [line.split()[0] for line in table.splitlines()[1:] if line.startswith("/")]
        files = [self._behind(host, name) if name.startswith("/dev/loop") else name for name in names]
        return any(name.startswith(f"{self.place(host, path)}/") and host in name for name in files)

    def _behind(self, host: str, loop: str) -> str:
        done = self.on(host, "cat", f"/sys/block/{loop.removeprefix('/dev/')}/loop/backing_file")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def ownership(self, host: str, path: str) -> tuple[int, int, int]:
        """The owner, the group and the permissions of a file."""
        uid, gid, mode = self._must(host, "stat", "-L", "-c", "%u %g %a", self.place(host, path)).split()
        return int(uid), int(gid), int(mode, 8)

    # --- data ---

    def write(self, host: str, path: str, data: bytes) -> bool:
        """Write a file and bring it to the device. Whether that was possible."""
        place = self.place(host, path)
        return self.on(host, "dd", f"of={place}", "bs=1M", "conv=fsync", stdin=data).ok

    def read(self, host: str, path: str) -> bytes | None:
        """A file's content, ``None`` if it is not there."""
        result = self.on(host, "cat", "--", self.place(host, path))
        return result.stdout if result.ok else None

    def fill(self, host: str, path: str, size: int) -> bool:
        """Write ``size`` bytes and remove them again. Whether there was room."""
        place = self.place(host, path)
        fits = self.on(host, "sh", "-c", 'head -c "$1" /dev/zero > "$0" && sync "$0"', place, str(size)).ok
        self.on(host, "rm", "-f", "--", place)
        return fits

    @contextmanager
    def hold(self, host: str, path: str) -> Iterator[None]:
        """A process on the host uses the mount meanwhile. Raises NotReached where it cannot."""
        started, said, stop = threading.Event(), list[bytes](), f"{self.place(host, self.mount_root)}/stop-{time.monotonic_ns()}"
        script = 'cd "$0" && echo ready && while [ ! -e "$1" ]; do sleep 0.1; done'

        def heard(text: bytes) -> None:
            said.append(text)
            started.set()

        def use() -> None:
            self.runner.run([host], Command(("sh", "-c", script, self.place(host, path), stop), timeout=self.seconds, on_output=heard))
            started.set()

        holder = threading.Thread(target=use, daemon=True)
        holder.start()
        started.wait(self.seconds)
        try:
            if not said:
                raise NotReached(f"not reached, since no process can use {path} on {host}")
            yield
        finally:
            self.on(host, "touch", "--", stop)
            holder.join(self.seconds)
            self.on(host, "rm", "-f", "--", stop)

    # --- what others plant ---

    @property
    def outside(self) -> str:
        """A directory, on any host, that belongs to nobody's volume: the canary."""
        return f"{self.mount_root}-outside"

    def lay_canary(self, names: Sequence[str]) -> None:
        """Make the canary on every host: a file ``secret``, and ``directory``, ``files`` and ``empty``.

        The first has directories of those names, the second files, the third nothing.
        """
        self._plant(self.everywhere, {"do": "lay_canary", "path": self.outside, "names": list(names)})

    def look_at_canary(self) -> Mapping[str, Mapping[str, str]]:
        """What there is of it on each host, by path: all that may not change."""
        return {host: dict(seen) for host, seen in self._plant(self.everywhere, {"do": "look_at_canary", "path": self.outside}).items()}

    def remove_canary(self) -> None:
        """Take it away, whatever has become of it."""
        self._plant(self.everywhere, {"do": "discard", "path": self.outside})

    def plant(self, host: str, path: str, target: str, *, as_owner: bool = False) -> bool:
        """Put a link on a host in the place of what is there: as root, or as the volumes' owner. Whether that was possible.

        Where there is nothing, root makes the directories above it, too.
        """
        uid, gid = (self.owner, self.group) if as_owner else (-1, -1)
        request = {"do": "plant", "path": self.place(host, path), "target": target, "uid": uid, "gid": gid}
        return bool(self._plant([host], request)[host])

    def uproot(self, host: str, path: str, target: str) -> None:
        """Take the link away and put back what was there before."""
        self._plant([host], {"do": "uproot", "path": self.place(host, path), "target": target})

    def open_folder(self, host: str, path: str, mode: int, *, of_owner: bool) -> bool:
        """Make a directory in which the volumes' owner may write, his or root's. Whether that is possible here."""
        uid, gid = (self.owner, self.group) if of_owner else (0, 0)
        request = {"do": "open_folder", "path": self.place(host, path), "mode": mode, "uid": uid, "gid": gid}
        return bool(self._plant([host], request)[host])

    def remove_folder(self, host: str, path: str) -> None:
        """Take it away, and all that is in it."""
        self._plant([host], {"do": "discard", "path": self.place(host, path)})

    def _plant(self, hosts: Sequence[str], act: Mapping[str, Any]) -> Mapping[str, Any]:
        return {host: answers[0] for host, answers in self._run_program("planter.py", {host: [act] for host in hosts}).items()}

    # --- commands ---

    def on(self, host: str, *argv: str, stdin: bytes = b"") -> CommandResult:
        """A command on a host, and how it ended."""
        return self.runner.run([host], Command(argv, timeout=SECONDS, stdin=stdin))[host]

    def _must(self, host: str, *argv: str) -> bytes:
        result = self.on(host, *argv)
        if not result.ok:
            raise OSError(f"{argv[0]} on {host}: {result.why()}")
        return result.stdout

    def _inspect(self, sweep: Mapping[str, Sequence[Entry]]) -> Snapshot:
        results = self._run_program("inspector.py", {host: self._inspection(host, left) for host, left in sweep.items()})
        return {host: frozenset((kind, name, detail) for kind, name, detail in entries) for host, entries in results.items()}

    def _run_program(self, name: str, requests: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a program of the kit's returns on each host."""
        text = b"REQUESTS = " + repr(requests).encode() + b"\n" + _program(name)
        python = self.runner.python
        results = self.runner.run(list(requests), Command(lambda host: (python, "-I", "-S", "-", host), timeout=SECONDS, stdin=text))
        return {host: _output(result) for host, result in results.items()}

    def _inspection(self, host: str, left: Sequence[Entry]) -> Mapping[str, Any]:
        """What the inspector is to do on a host."""
        marks = [*(self.place(host, path) for path in (self.mount_root, self.mover_root)), *self.watch]
        return {"marks": marks, "bricks": [brick.device for brick in self.bricks if brick.host == host], "sweep": list(left)}


def left_over(before: Snapshot, after: Snapshot) -> Snapshot:
    """What is there now and was not before."""
    return {host: more for host, entries in after.items() if (more := entries - before.get(host, frozenset()))}


def described(left: Snapshot) -> str:
    """What is left, for one line."""
    things = [f"{kind} {name} on {host}" for host, entries in left.items() for kind, name, _ in sorted(entries)]
    more = f" and {len(things) - 4} more" if len(things) > 4 else ""
    return ", ".join(things[:4]) + more


def _output(result: CommandResult) -> Any:
    if not result.ok:
        raise OSError(f"host {result.host} cannot be looked at: {result.why()}")
    return json.loads(result.stdout)


@cache
def _program(name: str) -> bytes:
    return (files(__package__) / name).read_bytes()
