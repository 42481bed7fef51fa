"""lctl's commands for nodemaps, which an MGS keeps. They are looked up only: nobody is kept out here."""

from __future__ import annotations

import errno
import os
import re
import sys

from .wire import Record, Wire

_NEW = {"admin_nodemap": "0", "trusted_nodemap": "0", "deny_unknown": "0"}
_PROPERTIES = {"admin": "admin_nodemap", "trusted": "trusted_nodemap", "deny_unknown": "deny_unknown"}
_NAME = re.compile(r"[A-Za-z0-9_]{1,16}")


def main(wire: Wire, verb: str, argv: list[str]) -> int:
    """``lctl nodemap_...``; what it says on failure is what perror(3) would."""
    options = dict(zip(argv[::2], argv[1::2], strict=False)) if argv[:1] and argv[0].startswith("--") else {}
    mgs = wire.target(wire.host, "MGS")
    try:
        if not mgs:
            raise OSError(errno.EINVAL, "")
        with wire.locked():
            state = wire.read("mgs", mgs["uuid"])
            kept = of(state)
            _VERBS[verb](kept, argv, options)
            wire.write({**state, "nodemaps": kept}, "mgs", mgs["uuid"])
    except OSError as error:
        sys.stderr.write(f"{verb}: {os.strerror(error.errno or 0)}\n")
        return 1
    return 0


def of(state: Record) -> Record:
    """What an MGS keeps: whether nodemaps are ``active``, and ``maps`` by name."""
    return state.get("nodemaps") or {"active": "0", "maps": {"default": {**_NEW, "ranges": []}}}


def parameters(state: Record) -> dict[str, str]:
    """They are parameters, too."""
    kept = of(state)
    found = {f"nodemap.{name}.{key}": one[key] for name, one in kept["maps"].items() for key in _NEW}
    return {"nodemap.active": kept["active"], **found}


def _activate(kept: Record, argv: list[str], options: dict[str, str]) -> None:
    kept["active"] = argv[0]


def _add(kept: Record, argv: list[str], options: dict[str, str]) -> None:
    name = options.get("--name", argv[0])
    if not _NAME.fullmatch(name):
        raise OSError(errno.EINVAL, "")
    if name in kept["maps"]:
        sys.stderr.write(f"error: nodemap '{name}' already exists\n")
        raise OSError(errno.EINVAL, "")
    kept["maps"][name] = {**_NEW, "ranges": []}


def _modify(kept: Record, argv: list[str], options: dict[str, str]) -> None:
    _map(kept, options)[_PROPERTIES[options["--property"]]] = options["--value"]


def _add_range(kept: Record, argv: list[str], options: dict[str, str]) -> None:
    _map(kept, options)["ranges"].append(options["--range"])


def _test_nid(kept: Record, argv: list[str], options: dict[str, str]) -> None:
    nid = options.get("--nid", argv[-1])
    print(next((name for name, one in kept["maps"].items() if any(_is_in(nid, some) for some in one["ranges"])), "default"))


def _map(kept: Record, options: dict[str, str]) -> Record:
    found: Record = kept["maps"].get(options["--name"])
    if found is None:
        raise OSError(errno.ENOENT, "")
    return found


def _is_in(nid: str, some: str) -> bool:
    """Whether a NID is in a range, such as ``10.1.[0-3].[1-254]@o2ib1``."""
    address, _, net = nid.partition("@")
    parts, _, same = some.partition("@")
    bounds = (re.fullmatch(r"\[(\d+)-(\d+)\]", part) or re.fullmatch(r"(\d+)()", part) for part in parts.split("."))
    pairs = ((int(found[1]), int(found[2] or found[1])) for found in bounds if found)
    return net == same and all(low <= int(part) <= high for part, (low, high) in zip(address.split("."), pairs, strict=True))


_VERBS = {
    "nodemap_activate": _activate,
    "nodemap_add": _add,
    "nodemap_modify": _modify,
    "nodemap_add_range": _add_range,
    "nodemap_test_nid": _test_nid,
}
