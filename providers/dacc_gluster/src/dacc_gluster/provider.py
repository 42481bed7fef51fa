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
from .cluster import Gluster, knower
from .layout import Layout
from .remote import Remote, outcome, told
from .settings import OURS, GlusterSettings


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
        return Capabilities(capacity_enforced=True, real_mounts=True, swap=False)

    def check_host(self, request: CheckHost) -> None:
        """Programs, devices, and a glusterd that answers."""
        what = {"lock": "check", "devices": [brick.device for brick in request.bricks]}
        outcome(self._remote(request.context).help([request.host], "storage", "check", lambda _: what)).check()

    def create(self, request: Create) -> Created:
        """Format and mount the bricks, take their hosts into the pool, make a volume of them and its directory ``global``."""
        remote, layout = self._of(request.context, request.volume)
        what = self._on_storage(layout, least=layout.least)
        room = told(remote.help(request.volume.hosts, "storage", "prepare", what))
        pool.join(remote, layout)
        first = request.volume.hosts[0]
        Gluster(remote, first).create(layout.name, layout.gluster_bricks(), {**OURS, **self.settings.options})
        what = self._on_storage(layout, servers=layout.servers, owner=request.owner, group=request.group, mode=request.mode)
        outcome(remote.help([first], "storage", "make_global", what)).check()
        return Created(state={}, capacity=sum(room.values()))

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
        found = knower(remote, alive, layout.name)
        if not found:
            return False
        gluster, known = found
        outcome(remote.help(alive, "storage", "halt", self._on_storage(layout))).check()
        gluster.delete(known, layout.gluster_bricks(*gone) if gone else [])
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
        return outcome(remote.help(request.hosts, "client", "unmount", lambda _: what))

    def restore(self, request: VolumeRequest) -> None:
        """After a reboot: mount the bricks again, and start what serves them."""
        remote, layout = self._of(request.context, request.volume)
        outcome(remote.help(request.volume.hosts, "storage", "attach", self._on_storage(layout))).check()
        pool.join(remote, layout)
        Gluster(remote, request.volume.hosts[0]).start(layout.name, layout.gluster_bricks())

    def usage(self, request: VolumeRequest) -> Mapping[str, int]:
        """What the bricks' filesystems say."""
        remote, layout = self._of(request.context, request.volume)
        each = told(remote.help(request.volume.hosts, "storage", "usage", self._on_storage(layout)))
        return {"capacity": sum(one[0] for one in each.values()), "used": sum(one[1] for one in each.values())}

    def _of(self, context: Context, volume: Volume) -> tuple[Remote, Layout]:
        return self._remote(context), Layout(volume, self.settings)

    def _remote(self, context: Context) -> Remote:
        return Remote(context, self.settings.command_seconds)

    @staticmethod
    def _on_storage(layout: Layout, **more: Any) -> Any:
        """What a storage host's helper needs, by host."""
        common = {"lock": layout.name, "volume": layout.name, "directory": layout.directory, **more}
        return lambda host: {**common, "bricks": layout.bricks_of(host)}

    @staticmethod
    def _place(request: Mount | Unmount) -> dict[str, Any]:
        """Where a client mounts."""
        return {"lock": request.volume.name + request.path, "volume": request.volume.name, "path": request.path, "link": request.link}
