"""A provider that is right, on pretended hosts; the wrong ones differ from it in one thing each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dacc_core.sdk import (
    AlreadyExists,
    Argv,
    Capabilities,
    CheckHost,
    Command,
    CommandResult,
    Context,
    Create,
    Created,
    DaccError,
    Delete,
    Mount,
    PerHost,
    Swap,
    Unavailable,
    Unmount,
    Volume,
)


@dataclass(frozen=True)
class ShelfSettings:
    """Its settings."""

    seconds: float = 30.0


class ShelfProvider:
    """Labels each brick, then makes the filesystem on the first."""

    name: ClassVar[str] = "shelf"
    api: ClassVar[tuple[int, int]] = (1, 0)
    Settings: ClassVar[type[Any]] = ShelfSettings

    def __init__(self, settings: ShelfSettings) -> None:
        self.settings = settings

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(swap=True)

    def check_host(self, request: CheckHost) -> None:
        self.one(request.context, request.host, "true")

    def create(self, request: Create) -> Created:
        volume, context = request.volume, request.context
        for brick in volume.bricks:
            self.one(context, brick.host, "label", brick.device, volume.name)
        if not self.exists(context, volume):
            self.format(context, request)
        return Created(state={"place": list(place(volume))}, capacity=volume.capacity)

    def format(self, context: Context, request: Create) -> None:
        owned = (str(request.owner), str(request.group), f"{request.mode:o}")
        server, device = place(request.volume)
        self.one(context, server, "format", device, request.volume.name, str(request.volume.capacity), *owned)

    def exists(self, context: Context, volume: Volume) -> bool:
        server, device = place(volume)
        result = self.run(context, (server,), ("exists", device, volume.name))[server]
        if result.error is not None:
            raise result.error
        return result.ok

    def delete(self, request: Delete) -> None:
        volume, context = request.volume, request.context
        server, device = place(volume)
        if server not in request.gone:
            self.one(context, server, "destroy", device, volume.name)
        for brick in volume.bricks:
            if brick.host not in request.gone:
                self.one(context, brick.host, "unlabel", brick.device, volume.name)

    def mount(self, request: Mount) -> PerHost:
        return per_host(request.hosts, lambda host: self.mount_on(request, host))

    def mount_on(self, request: Mount, host: str) -> None:
        context, how = request.context, "ro" if request.read_only else "rw"
        found = self.mounted(context, host, request.path)
        if found and found[0] != request.volume.name:
            raise AlreadyExists(why=f"{request.path} on {host} has volume {found[0]}")
        if found and found[1] != how:
            self.one(context, host, "umount", request.path)
            found = []
        if not found:
            self.one(context, host, "mount", *self.place_of(request), request.volume.name, request.path, how)
        if request.private:
            self.one(context, host, "private", request.path, str(request.owner), str(request.group), f"{request.mode:o}")
            self.one(context, host, "link", request.link, f"{request.path}/private/{host}")

    def place_of(self, request: Mount) -> Sequence[str]:
        return [str(part) for part in request.state["place"]]

    def unmount(self, request: Unmount) -> PerHost:
        return per_host(request.hosts, lambda host: self.unmount_on(request, host))

    def unmount_on(self, request: Unmount, host: str) -> None:
        if request.link:
            self.one(request.context, host, "unlink", request.link)
        found = self.mounted(request.context, host, request.path)
        if found and found[0] != request.volume.name:
            raise AlreadyExists(why=f"{request.path} on {host} has volume {found[0]}")
        if found:
            self.one(request.context, host, "umount", request.path)

    def mounted(self, context: Context, host: str, path: str) -> list[str]:
        return self.one(context, host, "mounted", path).split()

    def swap_on(self, request: Swap) -> PerHost:
        return per_host(request.hosts, lambda host: self.one(request.context, host, "swapon", request.path))

    def swap_off(self, request: Swap) -> PerHost:
        return per_host(request.hosts, lambda host: self.one(request.context, host, "swapoff", request.path))

    def usage(self, request: Delete) -> Mapping[str, int]:
        server, device = place(request.volume)
        capacity, used = self.one(request.context, server, "usage", device, request.volume.name).split()
        return {"capacity": int(capacity), "used": int(used)}

    def restore(self, request: Delete) -> None:
        server, device = place(request.volume)
        self.one(request.context, server, "exists", device, request.volume.name)

    # --- commands ---

    def run(self, context: Context, hosts: Sequence[str], argv: Argv) -> Mapping[str, CommandResult]:
        context.cancel.check("a command")
        return context.hosts.run(hosts, Command(argv, timeout=context.deadline.remaining(self.settings.seconds)))

    def one(self, context: Context, host: str, *argv: str) -> str:
        result = self.run(context, (host,), argv)[host]
        if not result.ok:
            raise result.error or Unavailable(why=f"host {host}: {result.why()}")
        return result.stdout.decode()


def place(volume: Volume) -> tuple[str, str]:
    """Where a volume's filesystem is: on its first brick."""
    return volume.bricks[0].host, volume.bricks[0].device


def per_host(hosts: Sequence[str], act: Any) -> PerHost:
    """What comes of an act on each host."""
    found: dict[str, DaccError | None] = {}
    for host in hosts:
        try:
            act(host)
            found[host] = None
        except DaccError as error:
            found[host] = error
    return PerHost(hosts=found)
