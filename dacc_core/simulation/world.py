"""A pretended set of hosts for the simulation: volumes, mounts, fences; and the provider, mover and runner that act on it.

Every effect is a *touch* of a host by a session's generation. A touch is refused below the host's fence, and may be where a crash
strikes, so that a step can end after any prefix of its work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

from .. import sdk
from ..errors import AlreadyExists, Busy, Cancelled, DaccError, HostLost, HostUnreachable, NoSpace, NotFound, Unavailable
from ..hosts.excluding import Without
from ..movers.base import CopyOrder, CopyReport
from ..registry.records import Session
from ..values import Progress


class Crashed(BaseException):
    """The process that ran a step is gone; nothing may catch this."""


@dataclass
class SimVolume:
    """A filesystem that exists. ``precious``: a job may have written to it and its stage-out has not succeeded since.

    ``dark``: hosts of its bricks that do not serve it since they were booted.
    """

    name: str
    bricks: tuple[str, ...]
    dark: set[str] = field(default_factory=set)
    staged_in: bool = False
    precious: bool = False
    complete: bool = False


@dataclass
class World:
    """What is true on the hosts, whatever the records say. ``copied_out``: sessions, by key, whose data is out since nodes had it.

    ``cleared``: the copies for which old files were removed, and no node of the session has had its data since. ``deaf_for``: so many
    effects happen before a cancelled step learns of it.
    """

    random: Random
    volumes: dict[str, SimVolume] = field(default_factory=dict)
    mounts: dict[tuple[str, str], str] = field(default_factory=dict)
    fences: dict[tuple[str, str], int] = field(default_factory=dict)
    cleared: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    copied_out: set[str] = field(default_factory=set)
    faults: float = 0.0
    crash_after: int = -1
    deaf_for: int = 0
    broken: Callable[[str], None] = lambda _: None
    may_delete: Callable[[str], bool] = lambda _: True
    owned: Callable[[str], bool] = lambda _: True
    dirty: Callable[[str], tuple[str, ...]] = lambda _: ()

    def touch(self, host: str, key: str, generation: int, cancel: sdk.CancelToken) -> None:
        """One effect begins on a host: is it allowed, does it work, does the process live to do it?"""
        if self.crash_after == 0:
            raise Crashed
        self.crash_after -= 1
        if self.deaf_for > 0:
            self.deaf_for -= 1
        else:
            cancel.check("the command")
        if host in self.down:
            raise HostUnreachable(host=host, why="it is down")
        if generation < self.fences.get((host, key), 0):
            raise Cancelled(what=f"a command of generation {generation} on {host}")
        if self.random.random() < self.faults:
            lost = HostLost(host=host, why="the connection ended")
            kinds: tuple[DaccError, ...] = (Unavailable(why="it failed"), Busy(why="it is busy"), NoSpace(why="it is full"), lost)
            raise self.random.choice(kinds)

    def drop_empty(self, name: str) -> None:
        """A volume without bricks is no more."""
        volume = self.volumes.get(name)
        if volume is not None and not volume.bricks:
            del self.volumes[name]

    def boot(self, host: str) -> None:
        """A host starts anew: no mount is left on it, and nothing serves its bricks."""
        for place in [place for place in self.mounts if place[0] == host]:
            del self.mounts[place]
        for volume in self.volumes.values():
            if any(brick.startswith(f"{host}:") for brick in volume.bricks):
                volume.dark.add(host)

    def dark(self, session: Session) -> list[str]:
        """The hosts that do not serve a session's filesystem since they were booted."""
        volume = self.volumes.get(session.volume.name) if session.volume else None
        return sorted(volume.dark) if volume is not None else []

    def clean(self, brick: str) -> None:
        """What an operator does before a brick is released."""
        for name, volume in tuple(self.volumes.items()):
            volume.bricks = tuple(one for one in volume.bricks if one != brick)
            self.drop_empty(name)

    def mounted(self, volume: str) -> list[tuple[str, str]]:
        """Where a volume is mounted."""
        return [place for place, name in self.mounts.items() if name == volume]


@dataclass
class SimRunner:
    """A runner bound to a session's generation (or to nothing), in a world."""

    world: World
    key: str = ""
    generation: int = 0
    cancel: sdk.CancelToken = field(default_factory=sdk.CancelToken)
    python: str = "python3"
    unsure: bool = False
    left_alone: tuple[str, ...] = ()

    def run(self, hosts: Sequence[str], command: sdk.Command) -> Mapping[str, sdk.CommandResult]:
        """The simulated provider needs no commands."""
        raise NotImplementedError

    def fenced(self, key: str, generation: int, cancel: sdk.CancelToken) -> SimRunner:
        """The runner that carries this key and generation."""
        return SimRunner(self.world, key, generation, cancel)

    def fence(self, hosts: Sequence[str], key: str, generation: int) -> dict[str, DaccError | None]:
        """Refuse older generations from now on."""
        results: dict[str, DaccError | None] = {}
        for host in hosts:
            reachable = host not in self.world.down
            results[host] = None if reachable else HostUnreachable(host=host, why="it is down")
            if reachable:
                self.world.fences[host, key] = max(generation, self.world.fences.get((host, key), 0))
        return results

    def touch(self, host: str) -> None:
        """One effect on a host."""
        if host in self.left_alone:
            self.world.broken(f"{self.key} touches {host}, which was forgotten")
        try:
            self.world.touch(host, self.key, self.generation, self.cancel)
        except (HostLost, Cancelled):
            self.unsure = True
            raise


def _runner(context: sdk.Context) -> SimRunner:
    if isinstance(context.hosts, Without):
        assert isinstance(context.hosts.runner, SimRunner)
        context.hosts.runner.left_alone = context.hosts.hosts
        return context.hosts.runner
    assert isinstance(context.hosts, SimRunner)
    return context.hosts


class SimProvider:
    """A provider whose filesystems are entries in a world."""

    name: ClassVar[str] = "sim"
    api: ClassVar[tuple[int, int]] = sdk.API_VERSION
    Settings: ClassVar[type[Any]] = dict

    def __init__(self, settings: World) -> None:
        self.world = settings

    @property
    def capabilities(self) -> sdk.Capabilities:
        """No swap; everything else."""
        return sdk.Capabilities()

    def check_host(self, request: sdk.CheckHost) -> None:
        """Every host is fit."""

    def create(self, request: sdk.Create) -> sdk.Created:
        """Brick by brick."""
        world, name = self.world, request.volume.name
        for brick in request.volume.bricks:
            _runner(request.context).touch(brick.host)
            for other in world.volumes.values():
                if other.name != name and str(brick) in other.bricks:
                    world.broken(f"brick {brick} of {name} still belongs to {other.name}")
            volume = world.volumes.setdefault(name, SimVolume(name, ()))
            if str(brick) not in volume.bricks:
                volume.bricks = (*volume.bricks, str(brick))
            volume.dark.discard(brick.host)
        world.volumes[name].complete = True
        return sdk.Created(state={"volume": name}, capacity=request.volume.capacity)

    def restore(self, request: sdk.VolumeRequest) -> None:
        """Host by host."""
        for host in request.volume.hosts:
            _runner(request.context).touch(host)
            if request.volume.name in self.world.volumes:
                self.world.volumes[request.volume.name].dark.discard(host)

    def delete(self, request: sdk.Delete) -> None:
        """Brick by brick; a volume that is mounted somewhere reachable is busy. What is on hosts that are gone stays there."""
        name = request.volume.name
        for brick in (brick for brick in request.volume.bricks if brick.host not in request.gone):
            _runner(request.context).touch(brick.host)
            volume = self.world.volumes.get(name)
            if volume is None:
                return
            if any(host not in self.world.down for host, _ in self.world.mounted(name)):
                raise Busy(why=f"{name} is mounted at {self.world.mounted(name)}")
            if volume.precious and not self.world.may_delete(name):
                self.world.broken(f"{name} is deleted with data that was not staged out")
            volume.bricks = tuple(one for one in volume.bricks if one != str(brick))
            volume.complete = False
        self.world.drop_empty(name)

    def mount(self, request: sdk.Mount) -> sdk.PerHost:
        """Host by host."""
        return _each(request.hosts, lambda host: self._mount(request, host))

    def _mount(self, request: sdk.Mount, host: str) -> None:
        _runner(request.context).touch(host)
        volume = self.world.volumes.get(request.volume.name)
        if volume is None or not volume.complete:
            raise NotFound(why=f"volume {request.volume.name} is not there")
        if volume.dark:
            raise Unavailable(why=f"{sorted(volume.dark)[0]} does not serve {volume.name}")
        there = self.world.mounts.setdefault((host, request.path), volume.name)
        if there != volume.name:
            if self.world.owned(there):
                self.world.broken(f"{request.path} on {host} already has {there}")
            # What a session in quarantine has left there is an operator's to clean; nothing is mounted over it.
            raise AlreadyExists(why=f"{request.path} on {host} already has {there}")
        if request.role == "job":
            volume.precious = True
            key = _runner(request.context).key
            self.world.copied_out.discard(key)
            self.world.cleared -= {f"{key} in", f"{key} out"}

    def unmount(self, request: sdk.Unmount) -> sdk.PerHost:
        """Host by host."""

        def undo(host: str) -> None:
            _runner(request.context).touch(host)
            self.world.mounts.pop((host, request.path), None)

        return _each(request.hosts, undo)


def _each(hosts: Sequence[str], act: Callable[[str], None]) -> sdk.PerHost:
    results: dict[str, DaccError | None] = {}
    for host in hosts:
        try:
            act(host)
            results[host] = None
        except DaccError as error:
            results[host] = error
    return sdk.PerHost(hosts=results)


@dataclass
class SimMover:
    """Copies by noting it, after it removed what was there, unless it goes on with a copy that did."""

    world: World

    def copy(self, order: CopyOrder) -> CopyReport:
        """One touch before, one after; in between the data is where it should be."""
        runner = _runner(order.context)
        runner.touch(order.host)
        names = {self.world.mounts.get((order.host, root.volume)) for root in order.roots.values()}
        volumes = [self.world.volumes[name] for name in names if name in self.world.volumes]
        if len(volumes) < len(order.roots):
            self.world.broken(f"copy {order.direction} on {order.host} without its mounts {dict(order.roots)}")
        for volume in volumes:
            if volume.dark:
                raise Unavailable(why=f"{sorted(volume.dark)[0]} does not serve {volume.name}")
        job_mounts = [place for volume in volumes for place in self.world.mounted(volume.name) if "/movers/" not in place[1]]
        dirty = self.world.dirty(runner.key)  # given up as if it were down, after it was lost at each try
        own = [place for place in job_mounts if place[1].endswith("_job") and place[0] not in dirty]
        if own and all(host not in self.world.down for host, _ in own):
            self.world.broken(f"copy {order.direction} while mounted at {own}")
        self._clear(order, f"{runner.key} {order.direction}")
        runner.touch(order.host)
        if order.direction == "out":
            self.world.copied_out.add(runner.key)
        for volume in volumes:
            if order.direction == "out":
                volume.precious = False
            else:
                volume.staged_in = True
        return CopyReport(files=1, bytes=1, seconds=0.0)

    def _clear(self, order: CopyOrder, mark: str) -> None:
        if order.resumed == mark and mark not in self.world.cleared:
            self.world.broken(f"copy {mark} takes what it did not copy for its own")
        self.world.cleared.add(mark)
        order.context.progress(Progress(cleared=mark))
