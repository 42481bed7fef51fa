"""lctl: devices, networks and parameters of this host, and what its MGS keeps."""

from __future__ import annotations

import errno
import os
import sys

from . import nodemaps, parameters
from .lfs import token
from .wire import Record, Wire, nids, numeric


class Failed(Exception):
    """What a command says before it ends, and with which status."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text


def main(wire: Wire, argv: list[str]) -> int:
    """lctl."""
    verbs = {
        "dl": _dl,
        "device_list": _dl,
        "list_nids": _list_nids,
        "ping": _ping,
        "get_param": _get_param,
        "set_param": _set_param,
        "conf_param": _conf_param,
        "lcfg_erase": _erase,
        "erase_lcfg": _erase,
        "pool_new": _on_mgs,
        "pool_add": _on_mgs,
    }
    verb = argv[0] if argv else ""
    if verb.startswith("nodemap_"):
        return nodemaps.main(wire, verb, argv[1:])
    called = verbs.get(verb)
    if called is None:
        sys.stderr.write(f"No such command, type help ({verb} is not played here)\n")
        return 1
    try:
        called(wire, argv[1:])
    except Failed as failed:
        sys.stderr.write(failed.text and f"{failed.text}\n")
        return failed.code
    return 0


def _dl(wire: Wire, argv: list[str]) -> None:
    lines = []
    for target in wire.targets(wire.host):
        kind = {"MGS": "mgs"}.get(target["service"], "mdt" if target["target"].startswith("MDT") else "obdfilter")
        name = target["service"]
        lines += [f"osd-ldiskfs {name}-osd {name}-osd_UUID", f"{kind} {name} {name}_UUID"]
    for mount in wire.mounts(wire.host):
        if mount.client:
            lines += [f"{kind} {mount.client}-cli{kind}-{token(mount)} uuid" for kind in ("lov", "lmv")]
    for number, line in enumerate(lines):
        print(f"{number:3} UP {line} 4")


def _list_nids(wire: Wire, argv: list[str]) -> None:
    if not wire.loaded(wire.host, "lnet"):
        raise Failed(errno.ENETDOWN, "IOC_LIBCFS_GET_NI error 100: Network is down")
    print("\n".join(nids(wire.me())))


def _ping(wire: Wire, argv: list[str]) -> None:
    nid = argv[0] if argv else ""
    try:
        host = wire.host_of(numeric(nid))
    except ValueError:
        raise Failed(1, f"Can't parse process id '{nid}'") from None
    if not host or not wire.loaded(wire.host, "lnet") or not wire.reaches(host):
        raise Failed(1, f"failed to ping {nid}: Input/output error")
    print("12345-0@lo\n" + "\n".join(f"12345-{one}" for one in nids(wire.read("hosts", host))))


# --- what an MGS keeps ---


def _mgs(wire: Wire) -> Record:
    found = wire.target(wire.host, "MGS")
    if not found:
        raise Failed(errno.ENODEV, "This command must be run on the MGS.")
    return found


def _change(wire: Wire, changes: dict[str, str | None]) -> None:
    """Set parameters that an MGS keeps; None is none."""
    mgs = _mgs(wire)
    with wire.locked():
        state = wire.read("mgs", mgs["uuid"])
        state["params"] = {name: value for name, value in {**state["params"], **changes}.items() if value is not None}
        wire.write(state, "mgs", mgs["uuid"])


def _pairs(words: list[str], usage: str) -> dict[str, str]:
    if not words or not all(word.partition("=")[1] and word.partition("=")[0] for word in words):
        raise Failed(errno.EINVAL, f"usage: {usage}")
    return dict(word.split("=", 1) for word in words)


def _conf_param(wire: Wire, argv: list[str]) -> None:
    _change(wire, {**_pairs(argv, "conf_param TARGET.PARAMETER=VALUE")})


def _on_mgs(wire: Wire, argv: list[str]) -> None:
    _mgs(wire)


def _erase(wire: Wire, argv: list[str]) -> None:
    """Forget a filesystem's logs. Parameters of ``set_param -P`` stay, as before 2.17.52 (LU-18951)."""
    names = [word for word in argv if not word.startswith("-")]
    if len(names) != 1:
        raise Failed(1, "lcfg_erase: missing fsname")
    mgs = _mgs(wire)
    with wire.locked():
        state = wire.read("mgs", mgs["uuid"])
        log = state["logs"].pop(names[0], {})
        state["params"] = {name: value for name, value in state["params"].items() if not name.startswith(f"{names[0]}.")}
        wire.write(state, "mgs", mgs["uuid"])
    if "MDT0000" in log:
        from . import image  # others need none of what it imports

        image.remove(wire, log["MDT0000"]["uuid"])


# --- parameters of this host ---


def _get_param(wire: Wire, argv: list[str]) -> None:
    bare, missing = "-n" in argv, False
    known = parameters.known(wire)
    for pattern in (word for word in argv if not word.startswith("-")):
        found = parameters.matching(known, pattern)
        for name in found:
            print(known[name] if bare else f"{name}={known[name]}")
        if not found:
            missing = True
            sys.stderr.write(_no_such("get_param", pattern) + "\n")
    if missing:
        raise Failed(errno.ENOENT, "")


def _set_param(wire: Wire, argv: list[str]) -> None:
    options = {letter for word in argv if word.startswith("-") for letter in word[1:]}
    words = [word for word in argv if not word.startswith("-")]
    if {"P", "d"} <= options:
        _change(wire, dict.fromkeys((word.partition("=")[0] for word in words), None))
    elif "P" in options:
        _change(wire, {**_pairs(words, "set_param -P PARAMETER=VALUE")})
    else:
        for pattern, value in _pairs(words, "set_param PARAMETER=VALUE").items():
            _set(wire, pattern, value)


def _set(wire: Wire, pattern: str, value: str) -> None:
    found = parameters.settable(wire, pattern)
    if not found:
        raise Failed(errno.ENOENT, _no_such("set_param", pattern))
    for name in found:
        if name.endswith(".evict_client"):
            parameters.evict(wire, name.split(".")[1].partition("-")[0], value)
        print(f"{name}={value}")


def _no_such(verb: str, pattern: str) -> str:
    return f"error: {verb}: param_path '{pattern.replace('.', '/')}': {os.strerror(errno.ENOENT)}"
