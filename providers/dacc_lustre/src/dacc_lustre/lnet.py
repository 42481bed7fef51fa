"""LNet: which NIDs a host has and what they make of a mount's source. Nothing here changes LNet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dacc_core.sdk import Unavailable

from .probe import HostFacts
from .settings import ALWAYS, LustreSettings
from .targets import LustreLayout


def expanded(patterns: Sequence[str], host: str) -> list[str]:
    """The NIDs that patterns stand for."""
    return [pattern.replace("%h", host) for pattern in patterns]


def names_of(patterns: Sequence[str], host: str) -> list[str]:
    """The names in them that the host is to resolve."""
    return [nid.rpartition("@")[0] for nid in expanded(patterns, host)]


def used(nids: Sequence[str], settings: LustreSettings) -> list[str]:
    """Those of a host's NIDs, a storage host's or a node's, that are in the networks of filesystems."""
    patterns = {nid.rpartition("@")[2] for nid in (*settings.nids, *settings.client_nids)}
    networks = patterns or set(settings.networks)
    return [nid for nid in nids if not networks or nid.rpartition("@")[2] in networks]


def host_nids(facts: HostFacts, settings: LustreSettings) -> tuple[str, ...]:
    """The numeric NIDs under which a storage host is to be reached. Raises Unavailable when LNet there has none of those configured."""
    if not settings.nids:
        found = [nid for nid in facts.nids if not settings.networks or nid.rpartition("@")[2] in settings.networks]
        if not found:
            wanted = f" in {', '.join(settings.networks)}" if settings.networks else ""
            raise Unavailable(why=f"host {facts.host}: LNet has no NID{wanted} (lctl list_nids: {_list(facts.nids)}): lnetctl net add")
        return tuple(found)
    return tuple(_numeric(facts, nid) for nid in expanded(settings.nids, facts.host))


def _numeric(facts: HostFacts, nid: str) -> str:
    name, _, network = nid.rpartition("@")
    addresses = facts.resolved.get(name, ())
    if not addresses:
        raise Unavailable(why=f"host {facts.host}: the name {name} of its NID {nid} does not resolve there: see /etc/hosts and nids")
    for address in addresses:
        if f"{address}@{network}" in facts.nids:
            return f"{address}@{network}"
    text = f"host {facts.host}: {nid} ({', '.join(addresses)}) is none of its NIDs (lctl list_nids: {_list(facts.nids)})"
    raise Unavailable(why=f"{text}: correct nids, or lnetctl net add there")


def _list(nids: Sequence[str]) -> str:
    return ", ".join(nids) or "none"


def mgs_nids(layout: LustreLayout, facts: Mapping[str, HostFacts], settings: LustreSettings) -> list[list[str]]:
    """The NIDs of the MGS, for each of its hosts those of its interfaces."""
    return [list(host_nids(facts[layout.mgs_host], settings))]


def mgsnode(groups: Sequence[Sequence[str]]) -> list[str]:
    """What each ``--mgsnode`` of mkfs.lustre takes: ``,`` between the interfaces of a host."""
    return [",".join(group) for group in groups]


def source(groups: Sequence[Sequence[str]], fsname: str) -> str:
    """What a client mounts: ``,`` between the interfaces of a host, ``:`` between hosts."""
    return ":".join(mgsnode(groups)) + ":/" + fsname


def mount_options(settings: LustreSettings) -> tuple[str, ...]:
    """The options of a client's mount."""
    return tuple(dict.fromkeys((*settings.mount_options, *ALWAYS)))
