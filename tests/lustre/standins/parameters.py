"""Parameters of ``lctl``: those that a host has now, and eviction, which is one that is written."""

from __future__ import annotations

import os
import re

from . import nodemaps
from .lfs import log_of, serves, token
from .wire import Record, Wire, nids

VERSION = "2.15.8"


def known(wire: Wire) -> dict[str, str]:
    """All that can be read, with their values."""
    found = {"version": VERSION, "health_check": "healthy"}
    for target in wire.targets(wire.host):
        found.update(_of_target(wire, target))
    for mount in wire.mounts(wire.host):
        if mount.client:
            log = log_of(wire, mount)
            up = [name for name, target in log.items() if serves(wire, mount.client, name, target)]
            for device, kind in (("lov", "OST"), ("lmv", "MDT")):
                name = f"{device}.{mount.client}-cli{device}-{token(mount)}"
                found[f"{name}.activeobd"] = str(sum(one.startswith(kind) for one in up))
                found[f"{name}.numobd"] = str(sum(one.startswith(kind) for one in log))
    return found


def _of_target(wire: Wire, target: Record) -> dict[str, str]:
    name = target["service"]
    if name == "MGS":
        kept = nodemaps.parameters(wire.read("mgs", target["uuid"]))
        return {"mgs.MGS.uuid": "MGS", "osd-ldiskfs.MGS.mntdev": target["path"], **kept}
    kind = "mdt" if target["target"].startswith("MDT") else "obdfilter"
    return {
        f"osd-ldiskfs.{name}.mntdev": target["path"],
        f"{kind}.{name}.recovery_status": f"status: {target['recovery']}",
        f"{kind}.{name}.uuid": f"{name}_UUID",
    }


def matching(names: dict[str, str], pattern: str) -> list[str]:
    """The names that a pattern with ``*`` stands for; ``/`` may stand for a dot."""
    form = re.compile(r"[^.]*".join(map(re.escape, pattern.replace("/", ".").split("*"))))
    return sorted(name for name in names if form.fullmatch(name))


def settable(wire: Wire, pattern: str) -> list[str]:
    """What a pattern of ``set_param`` stands for: a parameter of any name, of a device that this host has."""
    device, _, last = pattern.replace("/", ".").rpartition(".")
    devices = {name.rpartition(".")[0]: "" for name in known(wire) if "." in name}
    return [f"{name}.{last}" for name in matching(devices, device)]


def evict(wire: Wire, fsname: str, client: str) -> None:
    """Make the mounts of a client dead: what it does there fails from now on. Open files are spared, other than in Lustre."""
    nid = client.removeprefix("nid:")
    for host in wire.names("hosts"):
        record = wire.read("hosts", host)
        if nid in nids(record):
            for mount in wire.mounts(host):
                if mount.client == fsname:
                    _kill(wire.path("proc", str(record["pid"]), "ns", "mnt"), mount.place)


def _kill(namespace: str, place: str) -> None:
    """In another mount namespace replace a mount by one whose server has gone, where everything fails with ENOTCONN."""
    from . import disk as disks  # others need none of what it imports

    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        fuse, there = os.open("/dev/fuse", os.O_RDWR), os.open(namespace, os.O_RDONLY)
        disks.enter(there)
        disks.detach(place)
        disks.mount("evicted", place, "fuse", disks.NOSUID | disks.NODEV, f"fd={fuse},rootmode=40000,user_id=0,group_id=0")
    finally:
        os._exit(0)
