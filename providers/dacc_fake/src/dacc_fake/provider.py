"""The provider: what each operation asks of which host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from dacc_core.sdk import (
    ByteCount,
    Capabilities,
    CheckHost,
    Context,
    Create,
    Created,
    Delete,
    InvalidRequest,
    Mount,
    NodeAnswers,
    NodeHosts,
    NodeProgram,
    NodeResult,
    PerHost,
    Swap,
    Unmount,
    Unsupported,
    Volume,
    VolumeRequest,
)

from .checks import check_hosts, check_volume, checked_path, has_loop_devices
from .faults import FaultPlan
from .injection import Outcomes, on_each_host, once
from .settings import FakeSettings

PROGRAMS = {part: NodeProgram(f"{__package__}.node.{part}") for part in ("directory", "image", "swap")}

Shape = TypeVar("Shape", bound=NodeResult)


class MadeVolume(NodeResult, frozen=True):
    """The result of ``create``: on the volume's server its capacity, elsewhere 0."""

    capacity: ByteCount


class UsedRoom(NodeResult, frozen=True):
    """The result of ``usage``."""

    capacity: ByteCount
    used: ByteCount


class FakeProvider:
    """Volumes in plain directories or loop-mounted images; the bricks' devices are directories.

    The first brick's host serves the volume: create, delete, usage and restore work there. The hosts that mount it must see the same
    directory and ``/dev``, so they are mount namespaces of that machine (or, with backing ``directory``, share a filesystem with it).
    """

    name: ClassVar[str] = "fake"
    api: ClassVar[tuple[int, int]] = (1, 1)
    Settings: ClassVar[type[Any]] = FakeSettings

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings
        self._faults = FaultPlan(settings.faults, settings.fault_dir)

    @cached_property
    def backing(self) -> str:
        """The backing of new volumes: the settings', with ``auto`` decided for this machine."""
        if self._settings.backing != "auto":
            return self._settings.backing
        return "image" if has_loop_devices() else "directory"

    @property
    def capabilities(self) -> Capabilities:
        """All with backing ``image``, none with the others."""
        real = self.backing == "image"
        return Capabilities(capacity_enforced=real, swap=real)

    def check_host(self, request: CheckHost) -> None:
        """See that brick directories can be used, programs exist and loop devices work. Raises Unavailable, InvalidRequest."""
        context, host = request.context, request.host
        dirs = [checked_path(brick.device, "device") for brick in request.bricks if brick.host == host]

        def work(stop: str) -> None:
            if self.backing != "none":
                nodes = NodeHosts(context, PROGRAMS[self.backing])
                nodes.call(f"{self.backing}-check", (host,), NodeResult, {"dirs": dirs}).results()

        once(self._faults, "check_host", context, (host,), work, key=host)

    def create(self, request: Create) -> Created:
        """Mark every brick and make the volume on the first. Raises NoSpace, AlreadyExists (a brick holds another volume), Unavailable."""
        volume, backing = request.volume, self.backing
        more = {"capacity": volume.capacity, "owner": request.owner, "group": request.group, "mode": request.mode}

        def work(stop: str) -> Created:
            if backing == "none":
                return Created(state={"backing": backing}, capacity=volume.capacity)
            server = volume.hosts[0]
            made = self._all(request.context, volume, volume.hosts, backing, "create", MadeVolume, more | {"stop": stop})
            place = volume_path(volume, backing)
            return Created(state={"backing": backing, "image": place, "server": server}, capacity=made.results()[server].capacity)

        check_volume(volume)
        return once(self._faults, "create", request.context, volume.hosts, work)

    def delete(self, request: Delete) -> None:
        """Remove the volume, then the marks on its other hosts, those that are gone left out. Raises Busy while it is mounted anywhere."""
        volume, backing = request.volume, self._backing_of(request.state)

        def work(stop: str) -> None:
            if backing == "none":
                return
            server, *others = volume.hosts
            for hosts in ((server,), others):
                left = [host for host in hosts if host not in request.gone]
                self._all(request.context, volume, left, backing, "delete", NodeResult, {"stop": stop}).results()

        check_volume(volume)
        once(self._faults, "delete", request.context, volume.hosts, work)

    def mount(self, request: Mount) -> PerHost:
        """Mount on each host. A host's error: AlreadyExists (something else is there), NotFound (no such volume), Unavailable."""
        more = {
            "role": request.role,
            "read_only": request.read_only,
            "owner": request.owner,
            "group": request.group,
            "mode": request.mode,
            "private": request.private,
        }
        return self._mounts("mount", request, more)

    def unmount(self, request: Unmount) -> PerHost:
        """Unmount on each host. A host's error: Busy (with the holders), AlreadyExists (something else is there), Unavailable."""
        return self._mounts("unmount", request, {"role": request.role})

    def swap_on(self, request: Swap) -> PerHost:
        """Enable a swap file on each host's mount. A host's error: NoSpace, NotFound (not mounted), Unsupported, Unavailable."""
        return self._swap("swap_on", request)

    def swap_off(self, request: Swap) -> PerHost:
        """Disable and remove it."""
        return self._swap("swap_off", request)

    def usage(self, request: VolumeRequest) -> Mapping[str, int]:
        """``{"capacity": bytes, "used": bytes}``. Raises NotFound, Unavailable."""
        volume, backing = request.volume, self._backing_of(request.state)

        def work(stop: str) -> Mapping[str, int]:
            if backing == "none":
                return {"capacity": volume.capacity, "used": 0}
            # In a mount namespace of its own: what it mounts to look inside ends with it.
            wrapper = ("unshare", "--mount") if backing == "image" else ()
            room = self._at_server(request, backing, "usage", UsedRoom, wrapper)
            return {"capacity": room.capacity, "used": room.used}

        check_volume(volume)
        return once(self._faults, "usage", request.context, volume.hosts, work)

    def restore(self, request: VolumeRequest) -> None:
        """After a restart: repair the image if need be (mounting attaches it). Raises NotFound, Unavailable."""
        volume, backing = request.volume, self._backing_of(request.state)

        def work(stop: str) -> None:
            if backing != "none":
                self._at_server(request, backing, "restore", NodeResult)

        check_volume(volume)
        once(self._faults, "restore", request.context, volume.hosts, work)

    def _backing_of(self, state: Mapping[str, Any]) -> str:
        # A crash in create leaves no state; the settings then say where to look.
        return str(state.get("backing", self.backing))

    def _rooted(self, hosts: Sequence[str], paths: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """By host the paths below its root, for hosts that share a tree."""
        roots = {host: self._settings.root.replace("%h", host).rstrip("/") for host in hosts}
        return {host: {name: root + path if path else "" for name, path in paths.items()} for host, root in roots.items()}

    def _volume_job(self, context: Context, volume: Volume) -> dict[str, Any]:
        """What every verb gets."""
        return {"volume": volume.name, "token": context.token, "server": volume.hosts[0], "dir": volume.bricks[0].device}

    @staticmethod
    def _on_bricks(volume: Volume, backing: str, hosts: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What is on each of these brick hosts."""
        dirs = {host: [brick.device for brick in volume.bricks if brick.host == host] for host in hosts}
        places = {host: volume_path(volume, backing) if host == volume.hosts[0] else "" for host in hosts}
        return {host: {"dirs": list(dict.fromkeys(dirs[host])), "image": places[host], "tree": places[host]} for host in hosts}

    def _mounts(self, call: str, request: Mount | Unmount, more: dict[str, Any]) -> PerHost:
        check_volume(request.volume)
        volume, backing = request.volume, self._backing_of(request.state)
        check_hosts(request.hosts)
        paths = {"path": checked_path(request.path, "mount path"), "link": checked_path(request.link, "link") if request.link else ""}
        place = volume_path(volume, backing)
        job = self._volume_job(request.context, volume) | more | paths | {"image": place, "tree": place}
        # A mover's path is one session's and one volume's alone, so hosts that share a tree can share it; who copies there
        # knows nothing of our root.
        rooted = self._rooted(request.hosts, paths) if self._settings.root and request.role != "mover" else {}
        return self._per_host(call, request, backing, backing, job, rooted)

    def _swap(self, call: str, request: Swap) -> PerHost:
        check_volume(request.volume)
        volume, backing = request.volume, self._backing_of(request.state)
        check_hosts(request.hosts)
        if backing == "directory":
            why = f"volume {volume.name} is a plain directory of the fake provider, which has no swap: use backing image"
            return PerHost(hosts=dict.fromkeys(request.hosts, Unsupported(why=why)))
        if request.size <= 0:
            raise InvalidRequest(why=f"swap of {request.size} bytes on volume {volume.name}: give a size above 0")
        paths = {"path": checked_path(request.path, "mount path")}
        rooted = self._rooted(request.hosts, paths) if self._settings.root else {}
        return self._per_host(call, request, backing, "swap", {**paths, "size": request.size}, rooted)

    def _per_host(
        self,
        call: str,
        request: Mount | Unmount | Swap,
        backing: str,
        part: str,
        job: Mapping[str, Any],
        rooted: Mapping[str, Mapping[str, str]],
    ) -> PerHost:
        verb = f"{backing}-{call.replace('_', '-')}"

        def work(group: Sequence[str], stop: str) -> Outcomes:
            if backing == "none":
                return dict.fromkeys(group)
            nodes = NodeHosts(request.context, PROGRAMS[part])
            return dict(nodes.call(verb, group, NodeResult, {**job, "stop": stop}, rooted).outcome().hosts)

        return PerHost(hosts=on_each_host(self._faults, call, request.context, request.hosts, work))

    def _all(
        self, context: Context, volume: Volume, hosts: Sequence[str], backing: str, verb: str, shape: type[Shape], more: dict[str, Any]
    ) -> NodeAnswers[Shape]:
        """The verb on these brick hosts."""
        nodes, job = NodeHosts(context, PROGRAMS[backing]), self._volume_job(context, volume) | more
        return nodes.call(f"{backing}-{verb}", hosts, shape, job, self._on_bricks(volume, backing, hosts))

    def _at_server(
        self, request: VolumeRequest, backing: str, verb: str, shape: type[Shape], wrapper: Sequence[str] = ()
    ) -> Shape:
        """The verb on the volume's first host. Raises its error."""
        context, volume = request.context, request.volume
        server = volume.hosts[0]
        job = self._volume_job(context, volume) | self._on_bricks(volume, backing, [server])[server] | {"capacity": volume.capacity}
        nodes = NodeHosts(context, PROGRAMS[backing])
        return nodes.call(f"{backing}-{verb}", (server,), shape, job, wrapper=wrapper).results()[server]


def volume_path(volume: Volume, backing: str) -> str:
    """The image or directory of a volume, on its server."""
    return f"{volume.bricks[0].device}/{volume.name}" + (".img" if backing == "image" else "")
