"""The trusted pool of storage hosts: it grows from one host, the seed.

Two pools never become one, since a pool takes no host that is in another. So hosts are not probed from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dacc_core.sdk import NodeHosts, NodeResult, Unavailable

from .layout import GlusterLayout
from .results import PoolView

_LOOKS = 40


def join(nodes: NodeHosts, layout: GlusterLayout, views: Mapping[str, PoolView]) -> None:
    """See that all storage hosts of the volume are in the pool and in touch with each other. Raises Unavailable.

    ``views``: the pool as each host sees it.
    """
    hosts, seed = layout.volume.hosts, layout.settings.seed
    if not strangers(views, seed):
        return
    for host in hosts:
        if host != seed:
            nodes.call("peer-probe", [seed], NodeResult, {"address": layout.address(host)}).results()
    for _ in range(_LOOKS):
        left = strangers(_look(nodes, hosts), seed)
        if not left:
            return
        nodes.context.cancel.wait(0.3)
    raise Unavailable(why=f"storage hosts are not in touch with each other: {left}: see gluster peer status there")


def strangers(views: Mapping[str, PoolView], seed: str) -> str:
    """Which of these hosts are not in the pool, or not in touch with another one, in words; nothing when all are.

    Only the seed takes hosts in, so whoever is not alone is in its pool. A volume on a host that is alone would keep it out for ever.
    """
    alone = [f"{host} is in no pool" for host, view in views.items() if host != seed and len(view.known) < 2]
    apart = [f"{host} and {other}" for host, view in views.items() for other in views if views[other].own not in view.connected]
    return ", ".join([*alone, *apart][:3])


def _look(nodes: NodeHosts, hosts: Sequence[str]) -> Mapping[str, PoolView]:
    return nodes.call("pool", hosts, PoolView).results()
