"""lnetctl and modprobe."""

from __future__ import annotations

import os
import sys

from .wire import Wire, nids

_KNOWN = ("lnet", "lustre", "ldiskfs", "ko2iblnd", "ksocklnd", "osd_ldiskfs", "mgs", "mdt", "ost")


def modprobe(wire: Wire, argv: list[str]) -> int:
    """Load modules; lustre needs lnet and brings it."""
    names = [word for word in argv if not word.startswith("-")]
    for name in names[: None if "-a" in argv else 1]:
        if name == "osd_zfs" and os.path.exists("/run/zfs"):  # zfs-fuse runs
            continue
        if name not in _KNOWN:
            sys.stderr.write(f"modprobe: FATAL: Module {name} not found in directory /lib/modules\n")
            return 1
        with wire.locked():
            loaded = wire.read("modules", wire.host).get("loaded", [])
            wire.write({"loaded": sorted({*loaded, name, "lnet"})}, "modules", wire.host)
    return 0


def lnetctl(wire: Wire, argv: list[str]) -> int:
    """``net show``."""
    if argv[:2] != ["net", "show"]:
        sys.stderr.write(f"lnetctl: {' '.join(argv)} is not played here\n")
        return 1
    if not wire.loaded(wire.host, "lnet"):
        sys.stderr.write("show:\n    - net:\n          errno: -100\n          descr: cannot get networks: Network is down\n")
        return 156
    print("net:")
    for nid in ["0@lo", *nids(wire.me())]:
        print(f"    - net type: {nid.partition('@')[2]}\n      local NI(s):\n        - nid: {nid}\n          status: up")
        if nid != "0@lo":
            print("          interfaces:\n              0: eth0")
    return 0
