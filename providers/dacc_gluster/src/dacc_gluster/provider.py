"""The provider: each method is a few commands, all of which may be given again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from dacc_core.sdk import (
    Capabilities,
    CheckHost,
    Context,
    Create,
    Created,
    Delete,
    Mount,
    NodeAnswers,
    NodeHosts,
    NodeProgram,
    NodeResult,
    PerHost,
    Provider,
    RestoreProvider,
    Unavailable,
    Unmount,
    UsageProvider,
    Volume,
    VolumeRequest,
    clean_text,
)

from . import pool
from .layout import GlusterLayout
from .results import AttachedBricks, BrickUsage, ForgottenVolume, PreparedBricks, WithdrawnVolume
from .settings import OURS, GlusterSettings

STORAGE = NodeProgram(f"{__package__}.node.storage")
CLIENT = NodeProgram(f"{__package__}.node.client")
Shape = TypeVar("Shape", bound=NodeResult)


class GlusterProvider(Provider, RestoreProvider, UsageProvider):
    """A distributed volume: each file is on one of the session's bricks."""

    name = "gluster"
    api = (1, 1)
    Settings = GlusterSettings

    def __init__(self, settings: GlusterSettings) -> None:
        self.settings = settings

    @property
    def capabilities(self) -> Capabilities:
        """The bricks enforce the capacity. A swap file on FUSE cannot work: the client itself may need the memory."""
        return Capabilities(capacity_enforced=True, swap=False)

    def check_host(self, request: CheckHost) -> None:
        """Programs, devices, and a glusterd that answers."""
        job = {"devices": [brick.device for brick in request.bricks]}
        self._hosts(request.context, STORAGE).call("check", [request.host], NodeResult, job).results()

    def create(self, request: Create) -> Created:
        """Format and mount the bricks, take their hosts into the pool, make a volume of them and its directory ``global``."""
        nodes, layout = self._storage(request.context, request.volume)
        prepared = on_bricks(nodes, layout, "prepare", request.volume.hosts, PreparedBricks, least=layout.least).results()
        pool.join(nodes, layout, {host: bricks.pool for host, bricks in prepared.items()})
        owned = {"owner": request.owner, "group": request.group, "mode": request.mode}
        on_bricks(nodes, layout, "serve", request.volume.hosts[:1], NodeResult, **self._served(layout), **owned).results()
        return Created(state={}, capacity=sum(bricks.room for bricks in prepared.values()))

    def delete(self, request: Delete) -> None:
        """Stop the volume, make gluster forget it, and clean the bricks."""
        nodes, layout = self._storage(request.context, request.volume)
        alive = [host for host in request.volume.hosts if host not in request.gone]
        if not alive:
            return
        was_known = self._forget(nodes, layout, alive, request.gone)
        on_bricks(nodes, layout, "release", alive, NodeResult).results()
        if not was_known:
            # A create that was ended may have left glusterd at work, which makes the volume only now.
            self._forget(nodes, layout, alive, request.gone)

    def _forget(self, nodes: NodeHosts, layout: GlusterLayout, alive: Sequence[str], gone: Sequence[str]) -> bool:
        """Stop the volume and make gluster forget it; whether it knew it."""
        host = knower(on_bricks(nodes, layout, "withdraw", alive, WithdrawnVolume))
        if not host:
            return False
        lost = layout.gluster_bricks(*gone) if gone else []
        if not on_bricks(nodes, layout, "forget", [host], ForgottenVolume, gone=lost).results()[host].forgotten:
            nodes.context.log.warning("volume %s is stopped, and is to be deleted when all hosts of the pool are back", layout.name)
        return True

    def mount(self, request: Mount) -> PerHost:
        """Mount on each host, and make the private directories and links."""
        layout = GlusterLayout(request.volume, self.settings)
        job = {
            **mounted(request),
            "servers": layout.servers,
            "read_only": request.read_only,
            "private": request.private,
            "owner": request.owner,
            "group": request.group,
            "mode": request.mode,
        }
        return self._hosts(request.context, CLIENT).call("mount", request.hosts, NodeResult, job).outcome()

    def unmount(self, request: Unmount) -> PerHost:
        """Unmount on each host; one that is in use is busy."""
        return self._hosts(request.context, CLIENT).call("unmount", request.hosts, NodeResult, mounted(request)).outcome()

    def restore(self, request: VolumeRequest) -> None:
        """After a reboot: mount the bricks again, and start what serves them."""
        nodes, layout = self._storage(request.context, request.volume)
        attached = on_bricks(nodes, layout, "attach", request.volume.hosts, AttachedBricks).results()
        pool.join(nodes, layout, {host: bricks.pool for host, bricks in attached.items()})
        on_bricks(nodes, layout, "start", request.volume.hosts[:1], NodeResult, **self._served(layout)).results()

    def usage(self, request: VolumeRequest) -> Mapping[str, int]:
        """What the bricks' filesystems have."""
        nodes, layout = self._storage(request.context, request.volume)
        usages = on_bricks(nodes, layout, "usage", request.volume.hosts, BrickUsage).results().values()
        return {"capacity": sum(usage.capacity for usage in usages), "used": sum(usage.used for usage in usages)}

    def _storage(self, context: Context, volume: Volume) -> tuple[NodeHosts, GlusterLayout]:
        return self._hosts(context, STORAGE), GlusterLayout(volume, self.settings)

    def _hosts(self, context: Context, program: NodeProgram) -> NodeHosts:
        return NodeHosts(context, program, self.settings.command_seconds)

    def _served(self, layout: GlusterLayout) -> dict[str, Any]:
        """What the volume is to be for gluster."""
        return {"served": layout.gluster_bricks(), "servers": layout.servers, "options": {**OURS, **self.settings.options}}


def on_bricks(
    nodes: NodeHosts, layout: GlusterLayout, verb: str, hosts: Sequence[str], shape: type[Shape], **more: Any
) -> NodeAnswers[Shape]:
    """A verb on storage hosts, each with its bricks."""
    common = {"volume": layout.name, "directory": layout.directory, **more}
    return nodes.call(verb, hosts, shape, common, {host: {"bricks": layout.bricks_of(host)} for host in hosts})


def mounted(request: Mount | Unmount) -> dict[str, Any]:
    """What is mounted where."""
    return {"volume": request.volume.name, "path": request.path, "link": request.link, "role": request.role}


def knower(answers: NodeAnswers[WithdrawnVolume]) -> str:
    """The first host on which gluster knows the volume; empty when there is none.

    Some may not answer as long as one knows it. Raises the first error when none does.
    """
    for host, withdrawn in answers.succeeded.items():
        if withdrawn.known:
            return host
    for host, withdrawn in answers.results().items():
        if withdrawn.why:
            raise Unavailable(why=f"host {host}: {clean_text(withdrawn.why)}")
    return ""
