"""Hosts that exist in memory only, with a handful of commands, and scratch resources on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dacc_core.sdk import BrickRef, Command, CommandResult
from dacc_core.testing.conformance.scratch import Entry, Scratch, Snapshot

FULL = (1, "No space left on device")
Device = tuple[str, str]


@dataclass
class Shelf:
    """A filesystem: its files, and the owner, group and mode of its directories."""

    capacity: int
    files: dict[str, bytes] = field(default_factory=dict)
    directories: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    planted: set[str] = field(default_factory=set)
    """Where a link is in the place of a directory."""

    def leads_away(self, place: str) -> bool:
        """Whether there is a planted link at a place, or above it."""
        return any(f"{place}/".startswith(f"{link}/") for link in self.planted)


@dataclass
class Mounted:
    """One entry of a mount table."""

    device: Device
    name: str
    how: str = "rw"


class Refused(Exception):
    """A command ends with a status and a message."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class World:
    """What is on the hosts. Each command is a method ``do_…``; what it returns is printed."""

    python = "python3"

    def __init__(self) -> None:
        self.labels: dict[Device, set[str]] = {}
        self.shelves: dict[tuple[Device, str], Shelf] = {}
        self.mounts: dict[tuple[str, str], list[Mounted]] = {}
        self.links: dict[tuple[str, str], str] = {}
        self.swaps: set[tuple[str, str]] = set()
        self.litter: set[tuple[str, str]] = set()
        self.held: set[tuple[str, str]] = set()
        self.planted: set[tuple[str, str]] = set()
        self.outside: set[str] = set()
        self._lock = threading.Lock()

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Run a command on each host, one after the other."""
        return {host: self._run(host, *command.for_host(host)) for host in hosts}

    def _run(self, host: str, name: str, *words: str) -> CommandResult:
        try:
            with self._lock:
                said = getattr(self, f"do_{name}")(host, *words)
        except Refused as refused:
            return CommandResult(host, refused.status, stderr=str(refused).encode())
        return CommandResult(host, 0, stdout=(said or "").encode())

    # --- on brick hosts ---

    def do_true(self, host: str) -> None:
        """Nothing."""

    def do_label(self, host: str, device: str, name: str) -> None:
        """Take a brick for a volume."""
        owners = self.labels.setdefault((host, device), set())
        if owners - {name}:
            raise Refused(f"{device} holds volume {min(owners)}")
        owners.add(name)

    def do_unlabel(self, host: str, device: str, name: str) -> None:
        """Give it back."""
        self.labels.get((host, device), set()).discard(name)

    def do_format(self, host: str, device: str, name: str, capacity: str, owner: str, group: str, mode: str) -> None:
        """Make an empty filesystem, whatever was there."""
        shelf = Shelf(int(capacity))
        shelf.directories["global"] = (int(owner), int(group), int(mode, 8))
        self.shelves[(host, device), name] = shelf

    def do_exists(self, host: str, device: str, name: str) -> None:
        """Succeed if there is such a filesystem."""
        self._shelf((host, device), name)

    def do_destroy(self, host: str, device: str, name: str) -> None:
        """Take it away."""
        self.shelves.pop(((host, device), name), None)

    def do_usage(self, host: str, device: str, name: str) -> str:
        """Its capacity and what its files take."""
        shelf = self._shelf((host, device), name)
        return f"{shelf.capacity} {sum(map(len, shelf.files.values()))}"

    def do_wipe(self, host: str, device: str) -> None:
        """Make a brick as new, whatever is on it."""
        self.labels.pop((host, device), None)
        for key in [key for key in self.shelves if key[0] == (host, device)]:
            del self.shelves[key]

    def do_purge(self, host: str) -> None:
        """Remove the files of all filesystems of this host."""
        for (where, _), shelf in self.shelves.items():
            if where[0] == host:
                shelf.files.clear()

    def do_labelled(self, host: str, device: str) -> str:
        """Whose a brick is."""
        return " ".join(self.labels.get((host, device), ()))

    def do_scribble(self, host: str, name: str) -> None:
        """Leave a file behind."""
        self.litter.add((host, name))

    def do_unscribble(self, host: str, name: str) -> None:
        """Remove it."""
        self.litter.discard((host, name))

    def do_tidy(self, host: str, device: str, name: str, place: str) -> None:
        """Change a directory of a filesystem by its path, as root; a planted link leads out of it."""
        shelf = self.shelves.get(((host, device), name))
        if shelf and shelf.leads_away(place):
            self.outside.add(host)

    # --- on hosts that mount ---

    def do_own(self, host: str, path: str) -> None:
        """Change a directory by its path, as root; a planted link leads out of the volume."""
        if self._is_led_away(host, path):
            self.outside.add(host)

    def do_mounted(self, host: str, path: str) -> str:
        """What is mounted at a path, and how."""
        stack = self.mounts.get((host, path), [])
        return f"{stack[-1].name} {stack[-1].how}" if stack else ""

    def do_mount(self, host: str, server: str, device: str, name: str, path: str, how: str) -> None:
        """Mount once more, on top of what is there."""
        self._shelf((server, device), name)
        self._refuse_links(host, path)
        self.mounts.setdefault((host, path), []).append(Mounted((server, device), name, how))

    def do_remount(self, host: str, path: str, how: str) -> None:
        """Change how something is mounted."""
        self.mounts[host, path][-1].how = how

    def do_umount(self, host: str, path: str) -> None:
        """Undo one mount."""
        if (host, path) in self.held:
            raise Refused(f"{path}: target is busy", 32)
        if not self.mounts.get((host, path)):
            raise Refused(f"{path}: not mounted", 32)
        self.mounts[host, path].pop()

    def do_private(self, host: str, path: str, owner: str, group: str, mode: str) -> None:
        """Make the host's private directory."""
        self._refuse_links(host, f"{path}/private/{host}")
        self._at(host, path).directories[f"private/{host}"] = (int(owner), int(group), int(mode, 8))

    def do_link(self, host: str, link: str, target: str) -> None:
        """Make a symbolic link, or make it anew."""
        self._refuse_links(host, link)
        self.links[host, link] = target

    def do_unlink(self, host: str, link: str) -> None:
        """Remove it."""
        self.links.pop((host, link), None)

    def do_swapon(self, host: str, path: str) -> None:
        """Swap to a file on a mount."""
        self._at(host, path)
        self._refuse_links(host, f"{path}/swap/{host}")
        self.swaps.add((host, path))

    def do_swapped(self, host: str, path: str) -> str:
        """Whether it is on."""
        return "yes" if (host, path) in self.swaps else ""

    def do_swapoff(self, host: str, path: str) -> None:
        """No more."""
        self.swaps.discard((host, path))

    # --- what is true ---

    def _shelf(self, device: Device, name: str) -> Shelf:
        if (device, name) not in self.shelves:
            raise Refused(f"there is no volume {name} on {device[1]}")
        return self.shelves[device, name]

    def _at(self, host: str, path: str) -> Shelf:
        stack = self.mounts.get((host, path), [])
        if not stack:
            raise Refused(f"{path} is not mounted")
        return self._shelf(stack[-1].device, stack[-1].name)

    def _is_led_away(self, host: str, path: str) -> bool:
        if any(at == host and f"{path}/".startswith(f"{link}/") for at, link in self.planted):
            return True
        points = [point for (at, point), stack in self.mounts.items() if at == host and stack and path.startswith(f"{point}/")]
        return any(self._at(host, point).leads_away(path[len(point) + 1 :]) for point in points)

    def _refuse_links(self, host: str, path: str) -> None:
        if self._is_led_away(host, path):
            raise Refused(f"{path} leads through a symbolic link")

    def find(self, host: str, path: str) -> tuple[Shelf, str, bool]:
        """The filesystem that a path leads to, the path in it, and whether it is read-only there. Raises Refused."""
        for (at, link), target in self.links.items():
            if at == host and path.startswith(f"{link}/"):
                return self.find(host, target + path[len(link) :])
        for (at, point), stack in self.mounts.items():
            if at == host and stack and path.startswith(f"{point}/"):
                return self._at(host, point), path[len(point) + 1 :], stack[-1].how == "ro"
        raise Refused(f"{path}: no such file")

    def entries(self, host: str) -> frozenset[Entry]:
        """All that is on a host."""
        found: list[Entry] = [("label", device, name) for (at, device), names in self.labels.items() if at == host for name in names]
        found += [("shelf", device, name) for ((at, device), name) in self.shelves if at == host]
        found += [("mount", path, one.name) for (at, path), stack in self.mounts.items() if at == host for one in stack]
        for kind, things in (("link", self.links), ("swap", self.swaps), ("file", self.litter)):
            found += [(kind, name, "") for at, name in things if at == host]
        return frozenset(found)


@dataclass
class PretendScratch(Scratch):
    """Two bricks on two hosts, and two hosts to mount on, in a world of their own."""

    runner: World = field(default_factory=World)
    bricks: tuple[BrickRef, ...] = (BrickRef(host="b1", device="/dev/x"), BrickRef(host="b2", device="/dev/y"))
    hosts: tuple[str, ...] = ("c1", "c2")
    capacity: int = 8 << 20

    def look(self) -> Snapshot:
        """Everything."""
        return {host: self.runner.entries(host) for host in self.everywhere}

    def is_there(self, host: str, path: str) -> bool:
        """Whether ``global`` is there."""
        try:
            return "global" in self.runner.find(host, f"{path}/global")[0].directories
        except Refused:
            return False

    def is_mounted(self, host: str, path: str) -> bool:
        """Whether anything is there."""
        return bool(self.runner.mounts.get((host, path))) or (host, path) in self.runner.links

    def is_link(self, host: str, path: str) -> bool:
        """All mounts are real."""
        return False

    def mount_options(self, host: str, path: str) -> frozenset[str]:
        """All mounts have them, but those that are made with ``dev``."""
        stack = self.runner.mounts.get((host, path))
        return frozenset({"nodev", "nosuid"} if stack and stack[-1].how != "dev" else ())

    def has_swap(self, host: str, path: str) -> bool:
        """Whether it is on."""
        return (host, path) in self.runner.swaps

    def ownership(self, host: str, path: str) -> tuple[int, int, int]:
        """Of a directory."""
        shelf, place, _ = self.runner.find(host, path)
        if shelf.leads_away(place) or place not in shelf.directories:
            raise OSError(f"{path} on {host} is not there")
        return shelf.directories[place]

    def write(self, host: str, path: str, data: bytes) -> bool:
        """Whether there is room and it may be written."""
        try:
            shelf, place, read_only = self.runner.find(host, path)
        except Refused:
            return False
        fits = sum(map(len, shelf.files.values())) + len(data) <= shelf.capacity
        if fits and not read_only:
            shelf.files[place] = data
        return fits and not read_only

    def read(self, host: str, path: str) -> bytes | None:
        """A file."""
        try:
            shelf, place, _ = self.runner.find(host, path)
        except Refused:
            return None
        return shelf.files.get(place)

    def fill(self, host: str, path: str, size: int) -> bool:
        """Whether it fits."""
        shelf, _, _ = self.runner.find(host, path)
        return sum(map(len, shelf.files.values())) + size <= shelf.capacity

    def lay_canary(self, names: Sequence[str]) -> None:
        """Nobody has touched it."""
        self.runner.outside.clear()

    def look_at_canary(self) -> Mapping[str, Mapping[str, str]]:
        """Whether somebody has."""
        return {host: {self.outside: str(host in self.runner.outside)} for host in self.everywhere}

    def remove_canary(self) -> None:
        """It takes no room."""

    def plant(self, host: str, path: str, target: str, *, as_owner: bool = False) -> bool:
        """A volume's root belongs to root."""
        try:
            shelf, place, _ = self.runner.find(host, path)
        except Refused:
            self.runner.planted.add((host, path))
            return True
        if not as_owner:
            shelf.planted.add(place)
        return not as_owner

    def uproot(self, host: str, path: str, target: str) -> None:
        """What was there before is there again."""
        self.runner.planted.discard((host, path))
        for shelf in self.runner.shelves.values():
            shelf.planted = {place for place in shelf.planted if not path.endswith(f"/{place}")}

    def open_folder(self, host: str, path: str, mode: int, *, of_owner: bool) -> bool:
        """It takes no room either."""
        return True

    def remove_folder(self, host: str, path: str) -> None:
        """Nothing is in it."""

    @contextmanager
    def hold(self, host: str, path: str) -> Iterator[None]:
        """Keep it busy."""
        place = (host, path.removesuffix("/global"))
        self.runner.held.add(place)
        yield
        self.runner.held.discard(place)


def scratch(**more: Any) -> PretendScratch:
    """Fresh scratch resources."""
    return PretendScratch(**more)
