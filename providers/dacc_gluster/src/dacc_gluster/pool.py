"""The trusted pool of storage hosts: it grows from one host, the seed.

Two pools never become one, since a pool takes no host that is in another. So hosts are not probed from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dacc_core.sdk import PerHost, Unavailable, clean_text

from .layout import Layout
from .node.answers import Peers
from .remote import Remote
from .told import peers_of

_LOOKS = 40


def join(remote: Remote, layout: Layout, seen: Mapping[str, str]) -> None:
    """See that all storage hosts of the volume are in the pool and in touch with each other. Raises Unavailable.

    ``seen``: the pool as each host sees it.
    """
    hosts, seed = layout.volume.hosts, layout.settings.seed
    if not strangers({host: peers_of(host, pool) for host, pool in seen.items()}, seed):
        return
    for host in hosts:
        if host != seed:
            _probe(remote, seed, layout.address(host))
    for _ in range(_LOOKS):
        left = strangers(_look(remote, hosts), seed)
        if not left:
            return
        remote.context.cancel.wait(0.3)
    raise Unavailable(why=f"storage hosts are not in touch with each other: {left}: see gluster peer status there")


def strangers(seen: Mapping[str, Peers], seed: str) -> str:
    """Which of these hosts are not in the pool, or not in touch with another one, in words; nothing when all are.

    Only the seed takes hosts in, so whoever is not alone is in its pool. A volume on a host that is alone would keep it out for ever.
    """
    alone = [f"{host} is in no pool" for host, peers in seen.items() if host != seed and len(peers.known) < 2]
    apart = [f"{host} and {other}" for host, peers in seen.items() for other in seen if seen[other].own not in peers.connected]
    return ", ".join([*alone, *apart][:3])


def _look(remote: Remote, hosts: Sequence[str]) -> Mapping[str, Peers]:
    results = remote.run(hosts, ("gluster", "--mode=script", "pool", "list"))
    PerHost.of(results).check()
    return {host: peers_of(host, result.stdout.decode(errors="replace")) for host, result in results.items()}


def _probe(remote: Remote, seed: str, address: str) -> None:
    """Take a host into the pool; one that is there already stays."""
    result = remote.run([seed], ("gluster", "--mode=script", "peer", "probe", address))[seed]
    if error := result.error:
        raise error
    if not result.ok:
        raise Unavailable(why=f"storage host {address} cannot be taken into the pool of {seed}: {clean_text(result.why())}")
