"""lfs: what is asked of a mounted filesystem, by one of its clients."""

from __future__ import annotations

import errno
import json
import os
import sys

from .wire import Mount, Wire

_LAYOUT = "trusted.lov"
_DEFAULT = "trusted.lmv"
_WITH_VALUE = set("cCiSELpoOHlTdm")


def main(wire: Wire, argv: list[str]) -> int:
    """lfs."""
    verbs = {"df": _df, "check": _check, "setstripe": _setstripe, "getstripe": _getstripe, "setdirstripe": _setdirstripe, "mkdir": _mkdir}
    if not argv or argv[0] not in verbs:
        sys.stderr.write(f"lfs: {' '.join(argv[:1]) or 'nothing'} is not played here\n")
        return 1
    try:
        return verbs[argv[0]](wire, argv[1:])
    except OSError as error:
        sys.stderr.write(f"lfs {argv[0]}: {error.filename or ''}: {os.strerror(error.errno or errno.EIO)}\n")
        return error.errno or errno.EIO


def mounted(wire: Wire, path: str) -> Mount:
    """The client's mount that a path is in. Raises OSError: ENOTTY outside of Lustre."""
    path = os.path.realpath(path)
    os.stat(path)
    within = [mount for mount in wire.mounts(wire.host) if path == mount.place or path.startswith(mount.place.rstrip("/") + "/")]
    found = max(within, key=lambda mount: (len(mount.place), within.index(mount)))
    if not found.client:
        raise OSError(errno.ENOTTY, "", path)
    return found


def log_of(wire: Wire, mount: Mount) -> dict[str, dict[str, str]]:
    """The targets of a mounted filesystem: of the MGS that knows its MDT0000."""
    for name in wire.names("mgs"):
        log: dict[str, dict[str, str]] = wire.read("mgs", name)["logs"].get(mount.client, {})
        root = log.get("MDT0000", {}).get("uuid", "")
        if root and wire.read("images", root).get("device") == mount.device:
            return log
    return {}


def serves(wire: Wire, fsname: str, name: str, target: dict[str, str]) -> bool:
    """Whether a target of a log answers this host."""
    return wire.reaches(target["host"]) and bool(wire.target(target["host"], f"{fsname}-{name}"))


def token(mount: Mount) -> str:
    """What Lustre has the address of a superblock for."""
    return f"ffff{sum(map(ord, mount.place)):012x}"


def _places(wire: Wire, argv: list[str]) -> list[Mount]:
    paths = [word for word in argv if not word.startswith("-")]
    if paths:
        return [mounted(wire, path) for path in paths]
    return [mount for mount in wire.mounts(wire.host) if mount.client]


def _df(wire: Wire, argv: list[str]) -> int:
    for mount in _places(wire, argv):
        full = os.statvfs(mount.place)
        size, left = full.f_blocks * full.f_frsize >> 10, full.f_bavail * full.f_frsize >> 10
        print(f"{'UUID':<24}{'1K-blocks':>12}{'Used':>12}{'Available':>12} Use% Mounted on")
        for name, target in sorted(log_of(wire, mount).items()):
            uuid, kind = f"{mount.client}-{name}_UUID", f"{mount.place}[{name[:3]}:{int(name[3:], 16)}]"
            if serves(wire, mount.client, name, target):
                print(f"{uuid:<24}{size:>12}{size - left:>12}{left:>12}   1% {kind}")
            else:
                print(f"{uuid:<24}: inactive device")
        print(f"\nfilesystem_summary:{size:>17}{size - left:>12}{left:>12}   1% {mount.place}\n")
    return 0


def _check(wire: Wire, argv: list[str]) -> int:
    kinds = {"all": ("MDT", "OST"), "servers": ("MDT", "OST"), "osts": ("OST",), "mds": ("MDT",), "mdts": ("MDT",)}
    if not argv or argv[0] not in kinds:
        sys.stderr.write("lfs check: usage: lfs check {mgts|mdts|osts|all} [PATH]\n")
        return errno.EINVAL
    bad = 0
    for mount in _places(wire, argv[1:]):
        for name, target in sorted(log_of(wire, mount).items()):
            if not name.startswith(kinds[argv[0]]):
                continue
            device = f"{mount.client}-{name}-{'mdc' if name.startswith('MDT') else 'osc'}-{token(mount)}"
            if serves(wire, mount.client, name, target):
                print(f"{device} active.")
            else:
                sys.stderr.write(f"lfs check: error: check '{device}': {os.strerror(errno.ESHUTDOWN)} ({errno.ESHUTDOWN})\n")
                bad = errno.ESHUTDOWN
    return bad


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Options and paths."""
    options, paths, words = [], [], iter(argv)
    for word in words:
        if not word.startswith("-"):
            paths.append(word)
            continue
        options.append(word)
        if (len(word) == 2 and word[1] in _WITH_VALUE) or (word.startswith("--") and "=" not in word and word != "--default"):
            options.append(next(words, ""))
    if not paths:
        sys.stderr.write("lfs: no path\n")
        raise SystemExit(1)
    return options, paths


def _setstripe(wire: Wire, argv: list[str]) -> int:
    options, paths = _split(argv)
    for path in paths:
        if not os.path.isdir(path):
            mounted(wire, path.rpartition("/")[0] or ".")
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        mounted(wire, path)
        os.setxattr(path, _LAYOUT, json.dumps(options).encode())
    return 0


def _getstripe(wire: Wire, argv: list[str]) -> int:
    for path in _split([word for word in argv if word != "-d"])[1]:
        mounted(wire, path)
        try:
            words = json.loads(os.getxattr(path, _LAYOUT))
        except OSError:
            words = ["-c", "1"]
        print(path, *words)
    return 0


def _setdirstripe(wire: Wire, argv: list[str]) -> int:
    options, paths = _split(argv)
    if "-D" not in options:
        return _mkdir(wire, argv)
    for path in paths:
        mounted(wire, path)
        os.setxattr(path, _DEFAULT, json.dumps(options).encode())
    return 0


def _mkdir(wire: Wire, argv: list[str]) -> int:
    options, paths = _split(argv)
    for path in paths:
        mounted(wire, path.rpartition("/")[0] or ".")
        os.mkdir(path)
        os.setxattr(path, _DEFAULT, json.dumps(options).encode())
    return 0
