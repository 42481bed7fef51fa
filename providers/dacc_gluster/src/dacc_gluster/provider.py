"""The provider: each method is a few commands, all of which may be given again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dacc_core.sdk import (
    Capabilities,
    CheckHost,
    Context,
    Create,
    Created,
    Delete,
    Mount,
    PerHost,
    Provider,
    RestoreProvider,
    Unmount,
    UsageProvider,
    Volume,
    VolumeRequest,
)

from . import pool
from .layout import Layout
from .remote import Remote, knower, outcome, told
from .settings import OURS, GlusterSettings
from .told import Attached, Prepared, Usage


class GlusterProvider(Provider, RestoreProvider, UsageProvider):
    """A distributed volume: each file is on one of the session's bricks."""

    name = "gluster"
    api = (1, 0)
    Settings = GlusterSettings

    def __init__(self, settings: GlusterSettings) -> None:
        self.settings = settings

    @property
    def capabilities(self) -> Capabilities:
        """The bricks enforce the capacity. A swap file on FUSE cannot work: the client itself may need the memory."""
        return Capabilities(capacity_enforced=True, swap=False)

    def check_host(self, request: CheckHost) -> None:
        """Programs, devices, and a glusterd that answers."""
        what = {"lock": "check", "devices": [brick.device for brick in request.bricks]}
        outcome(self._remote(request.context).help([request.host], "storage", "check", lambda _: what)).check()

    def create(self, request: Create) -> Created:
        """Format and mount the bricks, take their hosts into the pool, make a volume of them and its directory ``global``."""
        remote, layout = self._of(request.context, request.volume)
        what = self._on_storage(layout, least=layout.least)
        prepared = told(remote.help(request.volume.hosts, "storage", "prepare", what), Prepared)
        pool.join(remote, layout, {host: one.pool for host, one in prepared.items()})
        owned = {"owner": request.owner, "group": request.group, "mode": request.mode}
        what = self._on_storage(layout, **self._served(layout), **owned)
        outcome(remote.help(request.volume.hosts[:1], "storage", "serve", what)).check()
        return Created(state={}, capacity=sum(one.room for one in prepared.values()))

    def delete(self, request: Delete) -> None:
        """Stop the volume, make gluster forget it, and clean the bricks."""
        remote, layout = self._of(request.context, request.volume)
        alive = [host for host in request.volume.hosts if host not in request.gone]
        if not alive:
            return
        was_known = self._forget(remote, layout, alive, request.gone)
        outcome(remote.help(alive, "storage", "release", self._on_storage(layout))).check()
        if not was_known:
            # A create that was ended may have left glusterd at work, which makes the volume only now.
            self._forget(remote, layout, alive, request.gone)

    def _forget(self, remote: Remote, layout: Layout, alive: Sequence[str], gone: Sequence[str]) -> bool:
        """Stop the volume and make gluster forget it; whether it knew it."""
        host = knower(remote.help(alive, "storage", "withdraw", self._on_storage(layout)))
        if not host:
            return False
        what = self._on_storage(layout, gone=layout.gluster_bricks(*gone) if gone else [])
        if not told(remote.help([host], "storage", "forget", what), bool)[host]:
            remote.context.log.warning("volume %s is stopped, and is to be deleted when all hosts of the pool are back", layout.name)
        return True

    def mount(self, request: Mount) -> PerHost:
        """Mount on each host, and make the private directories and links."""
        remote, layout = self._of(request.context, request.volume)
        common = {
            **self._place(request),
            "servers": layout.servers,
            "role": request.role,
            "read_only": request.read_only,
            "private": request.private,
            "owner": request.owner,
            "group": request.group,
            "mode": request.mode,
        }
        return outcome(remote.help(request.hosts, "client", "mount", lambda host: {**common, "host": host}))

    def unmount(self, request: Unmount) -> PerHost:
        """Unmount on each host; one that is in use is busy."""
        remote, _ = self._of(request.context, request.volume)
        what = self._place(request)
        return outcome(remote.help(request.hosts, "client", "unmount", lambda host: {**what, "host": host}))

    def restore(self, request: VolumeRequest) -> None:
        """After a reboot: mount the bricks again, and start what serves them."""
        remote, layout = self._of(request.context, request.volume)
        attached = told(remote.help(request.volume.hosts, "storage", "attach", self._on_storage(layout)), Attached)
        pool.join(remote, layout, {host: one.pool for host, one in attached.items()})
        what = self._on_storage(layout, **self._served(layout))
        outcome(remote.help(request.volume.hosts[:1], "storage", "start", what)).check()

    def usage(self, request: VolumeRequest) -> Mapping[str, int]:
        """What the bricks' filesystems say."""
        remote, layout = self._of(request.context, request.volume)
        each = told(remote.help(request.volume.hosts, "storage", "usage", self._on_storage(layout)), Usage)
        return {"capacity": sum(one.capacity for one in each.values()), "used": sum(one.used for one in each.values())}

    def _of(self, context: Context, volume: Volume) -> tuple[Remote, Layout]:
        return self._remote(context), Layout(volume, self.settings)

    def _remote(self, context: Context) -> Remote:
        return Remote(context, self.settings.command_seconds)

    @staticmethod
    def _on_storage(layout: Layout, **more: Any) -> Any:
        """What a storage host's helper needs, by host."""
        common = {"lock": layout.name, "volume": layout.name, "directory": layout.directory, **more}
        return lambda host: {**common, "bricks": layout.bricks_of(host)}

    def _served(self, layout: Layout) -> dict[str, Any]:
        """What the volume is to be for gluster."""
        return {"served": layout.gluster_bricks(), "servers": layout.servers, "options": {**OURS, **self.settings.options}}

    @staticmethod
    def _place(request: Mount | Unmount) -> dict[str, Any]:
        """Where a client mounts."""
        return {"lock": request.volume.name + request.path, "volume": request.volume.name, "path": request.path, "link": request.link}
