"""The provider: what each operation asks of which host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from dacc_core.sdk import (
    Capabilities,
    CheckHost,
    Context,
    Create,
    Created,
    DaccError,
    Delete,
    HostUnreachable,
    InvalidRequest,
    Mount,
    PerHost,
    Role,
    Swap,
    Unmount,
    Unsupported,
    Volume,
    VolumeRequest,
)

from . import remote
from .answers import Answer, Made, Shape, Usage
from .checks import check_hosts, check_volume, checked_path, has_loop_devices
from .faults import FaultPlan
from .injection import Outcomes, on_each_host, once
from .settings import Settings as FakeSettings


class FakeProvider:
    """Volumes in plain directories or loop-mounted images; the bricks' devices are directories.

    The first brick's host serves the volume: create, delete, usage and restore work there. The hosts that mount it must see the same
    directory and ``/dev``, so they are mount namespaces of that machine (or, with backing ``directory``, share a filesystem with it).
    """

    name: ClassVar[str] = "fake"
    api: ClassVar[tuple[int, int]] = (1, 0)
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
                answers = remote.call(context, (host,), self.backing, f"{self.backing}-check", lambda _: {"dirs": dirs})
                result_of(answers[host], f"host {host}")

        once(self._faults, "check_host", context, (host,), work, key=host)

    def create(self, request: Create) -> Created:
        """Mark every brick and make the volume on the first. Raises NoSpace, AlreadyExists (a brick holds another volume), Unavailable."""
        volume, backing = request.volume, self.backing
        more = {"capacity": volume.capacity, "owner": request.owner, "group": request.group, "mode": request.mode}

        def work(stop: str) -> Created:
            if backing == "none":
                return Created(state={"backing": backing}, capacity=volume.capacity)
            server = volume.hosts[0]
            made = more | {"stop": stop}
            answers = self._all(request.context, volume, volume.hosts, backing, "create", made, {server: Made})
            place = volume_path(volume, backing)
            return Created(state={"backing": backing, "image": place, "server": server}, capacity=answers[server]["capacity"])

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
                self._all(request.context, volume, left, backing, "delete", {"stop": stop})

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
            answer = self._at_server(request, backing, "usage", {volume.hosts[0]: Usage}, wrapper)
            return {"capacity": answer["capacity"], "used": answer["used"]}

        check_volume(volume)
        return once(self._faults, "usage", request.context, volume.hosts, work)

    def restore(self, request: VolumeRequest) -> None:
        """After a restart: repair the image if need be (mounting attaches it). Raises NotFound, Unavailable."""
        volume, backing = request.volume, self._backing_of(request.state)

        def work(stop: str) -> None:
            if backing != "none":
                self._at_server(request, backing, "restore")

        check_volume(volume)
        once(self._faults, "restore", request.context, volume.hosts, work)

    def _backing_of(self, state: Mapping[str, Any]) -> str:
        # A crash in create leaves no state; the settings then say where to look.
        return str(state.get("backing", self.backing))

    def _paths(self, host: str, path: str, link: str = "", role: Role = "job") -> dict[str, str]:
        # A mover's path is one session's and one volume's alone, so hosts that share a tree can share it; who copies there
        # knows nothing of our root.
        root = "" if role == "mover" else self._settings.root.replace("%h", host).rstrip("/")
        here = root + checked_path(path, "mount path")
        return {
            "path": here,
            "link": root + checked_path(link, "link") if link else "",
            "link_target": f"{here}/private/{host}",
        }

    def _volume_job(self, context: Context, volume: Volume, backing: str, host: str = "") -> dict[str, Any]:
        """What every verb gets; ``host``: only what is on that host, else all (mounts)."""
        place = volume_path(volume, backing) if host in ("", volume.hosts[0]) else ""
        return {
            "volume": volume.name,
            "token": context.token,
            "server": volume.hosts[0],
            "dir": volume.bricks[0].device,
            "dirs": list(dict.fromkeys(brick.device for brick in volume.bricks if host in ("", brick.host))),
            "image": place,
            "tree": place,
        }

    def _mounts(self, call: str, request: Mount | Unmount, more: dict[str, Any]) -> PerHost:
        hosts = request.hosts
        check_volume(request.volume)
        check_hosts(hosts)
        context, volume, backing = request.context, request.volume, self._backing_of(request.state)
        paths = {host: self._paths(host, request.path, request.link, request.role) for host in hosts}
        jobs = {host: self._volume_job(context, volume, backing) | more | paths[host] for host in hosts}
        return self._per_host(call, context, volume, hosts, backing, backing, jobs)

    def _swap(self, call: str, request: Swap) -> PerHost:
        check_volume(request.volume)
        check_hosts(request.hosts)
        context, volume, backing = request.context, request.volume, self._backing_of(request.state)
        if backing == "directory":
            why = f"volume {volume.name} is a plain directory of the fake provider, which has no swap: use backing image"
            return PerHost(hosts=dict.fromkeys(request.hosts, Unsupported(why=why)))
        if request.size <= 0:
            raise InvalidRequest(why=f"swap of {request.size} bytes on volume {volume.name}: give a size above 0")
        jobs = {host: self._paths(host, request.path) | {"size": request.size} for host in request.hosts}
        return self._per_host(call, context, volume, request.hosts, backing, "swap", jobs)

    def _per_host(
        self,
        call: str,
        context: Context,
        volume: Volume,
        hosts: Sequence[str],
        backing: str,
        part: str,
        jobs: Mapping[str, Mapping[str, Any]],
    ) -> PerHost:
        verb = f"{backing}-{call.replace('_', '-')}"

        def work(some: Sequence[str], stop: str) -> Outcomes:
            if backing == "none":
                return dict.fromkeys(some)
            answers = remote.call(context, some, part, verb, lambda host: {**jobs[host], "stop": stop})
            failed = {host: answer for host, answer in answers.items() if isinstance(answer, DaccError)}
            return dict.fromkeys(some) | {host: named(error, f"volume {volume.name} on {host}") for host, error in failed.items()}

        return PerHost(hosts=on_each_host(self._faults, call, context, hosts, work))

    def _all(
        self,
        context: Context,
        volume: Volume,
        hosts: Sequence[str],
        backing: str,
        verb: str,
        more: dict[str, Any],
        shapes: Mapping[str, Shape] = {},
    ) -> dict[str, Mapping[str, Any]]:
        """The verb on each brick host; ``shapes`` of those that have a result. Raises the first error, in brick order."""
        jobs = {host: self._volume_job(context, volume, backing, host) | more for host in hosts}
        answers = remote.call(context, hosts, backing, f"{backing}-{verb}", jobs.__getitem__, shapes=shapes)
        return {host: result_of(answer, f"volume {volume.name} on {host}") for host, answer in answers.items()}

    def _at_server(
        self, request: VolumeRequest, backing: str, verb: str, shapes: Mapping[str, Shape] = {}, wrapper: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """The verb on the volume's first host. Raises its error."""
        context, volume = request.context, request.volume
        server = volume.hosts[0]
        job = self._volume_job(context, volume, backing) | {"capacity": volume.capacity}
        answers = remote.call(context, (server,), backing, f"{backing}-{verb}", lambda _: job, shapes=shapes, wrapper=wrapper)
        return result_of(answers[server], f"volume {volume.name} on {server}")


def result_of(answer: Answer, what: str) -> Mapping[str, Any]:
    """A verb's result, or its error raised."""
    if isinstance(answer, DaccError):
        raise named(answer, what)
    return answer


def named(error: DaccError, what: str) -> DaccError:
    """The error with what failed in front; an unreachable host's names it already."""
    return error if isinstance(error, HostUnreachable) else type(error).from_text(f"{what}: {error}")


def volume_path(volume: Volume, backing: str) -> str:
    """The image or directory of a volume, on its server."""
    return f"{volume.bricks[0].device}/{volume.name}" + (".img" if backing == "image" else "")
