"""mount.lustre: a target's start, and a client's mount."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from contextlib import suppress

from . import disk as disks
from . import image, zfs
from .wire import Record, Wire, nids, parse_nids

_HINTS = {
    errno.EBUSY: "Is the backend filesystem mounted?\n Check /proc/mounts",
    errno.EINPROGRESS: "Is the backend filesystem mounted?\n Check /proc/mounts",
    errno.ENODEV: "Are the lustre modules loaded?\n Check /etc/modprobe.conf and /proc/filesystems",
    errno.ENOMEDIUM: "This filesystem needs at least 1 OST",
    errno.ENOENT: "Is the MGS specification correct?\nIs the filesystem name correct?",
    errno.EALREADY: "The target service is already running. ({spec})",
    errno.ENXIO: "The target service failed to start (bad config log?) ({spec}).",
    errno.EIO: "Is the MGS running?",
    errno.EADDRINUSE: "The target service's index is already in use. ({spec})",
    errno.EINVAL: "This may have multiple causes.\nIs '{fsname}' the correct filesystem name?\nAre the mount options correct?",
}


class Said(Exception):
    """An exit status after words of its own."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text


def main(wire: Wire, argv: list[str]) -> int:
    """mount.lustre."""
    spec, place, options = _arguments(argv)
    try:
        _before(wire, spec, place)
        (_client if ":/" in spec else _server)(wire, spec, place, options)
    except Said as said:
        sys.stderr.write(f"mount.lustre: {said.text}\n")
        return said.code
    except OSError as error:
        return _failed(spec, place, error.errno or errno.EIO)
    return 0


def _failed(spec: str, place: str, code: int) -> int:
    sys.stderr.write(f"mount.lustre: mount {spec} at {place} failed: {os.strerror(code)}\n")
    if code in _HINTS:
        sys.stderr.write(_HINTS[code].format(spec=spec, fsname=spec.rpartition(":/")[2]) + "\n")
    return code


def _arguments(argv: list[str]) -> tuple[str, str, list[str]]:
    plain, options, words = [], "", iter(argv)
    for word in words:
        if word == "-o":
            options = next(words, "")
        elif not word.startswith("-"):
            plain.append(word)
    if len(plain) != 2:
        sys.stderr.write("mount.lustre: usage: mount.lustre DEVICE MOUNTPOINT [-o OPTIONS]\n")
        raise SystemExit(errno.EINVAL)
    return plain[0], plain[1], [option for option in options.split(",") if option]


def _before(wire: Wire, spec: str, place: str) -> None:
    """What mount.lustre itself checks, before it asks the kernel."""
    same = _source(spec)
    for mount in wire.mounts(wire.host):
        if mount.place == place and same in (mount.source, mount.device):
            raise Said(errno.EEXIST, f"according to /etc/mtab {spec} is already mounted on {place}")
    if not os.path.exists(place):
        raise Said(errno.ENOENT, f"{place} inaccessible: No such file or directory")


def _source(spec: str) -> str:
    """How a mount of it is told in the table of mounts: NIDs with addresses, or the device's number."""
    if ":/" not in spec:
        return spec if zfs.is_dataset(spec) else disks.number(spec)
    nodes, _, name = spec.rpartition(":/")
    try:
        return f"{':'.join(','.join(group) for group in parse_nids(nodes))}:/{name}"
    except ValueError as error:
        raise Said(errno.EINVAL, f"Can't parse NID '{error}'") from error


def _need_modules(wire: Wire) -> None:
    if not wire.loaded(wire.host, "lustre"):
        raise OSError(errno.ENODEV, "")


# --- targets ---


def _server(wire: Wire, spec: str, place: str, options: list[str]) -> None:
    disk = _disk(wire, spec)
    _need_modules(wire)
    record = _record(wire, disk, place)
    here = wire.mounts(wire.host)
    if any(_source(spec) in (mount.device, mount.source) for mount in here) or wire.target(wire.host, record["service"]):
        raise OSError(errno.EALREADY, "")
    if record["service"] == "MGS":
        _start_mgs(wire, disk.uuid)
    else:
        _register(wire, disk, record)
    flags = disks.flags_of(options) & ~disks.RDONLY
    if zfs.is_dataset(spec):
        disks.mount(spec, place, "tmpfs", flags, "size=4k")
    else:
        disks.mount(spec, place, "ext4", flags)
    found = os.stat(place).st_dev
    wire.started({**record, "device": f"{os.major(found)}:{os.minor(found)}"})


def _record(wire: Wire, disk: disks.Disk | zfs.Dataset, place: str) -> Record:
    fsname, mark, target = disk.target
    return {
        "host": wire.host,
        "service": "MGS" if disk.label == "MGS" else f"{fsname}-{target}",
        "fsname": fsname,
        "target": target,
        "disk": disk.disk,
        "place": place,
        "uuid": disk.uuid,
        "path": disk.path,
        "recovery": "COMPLETE" if mark == "-" else "INACTIVE",
    }


def _disk(wire: Wire, spec: str) -> disks.Disk | zfs.Dataset:
    words = f"{spec} has not been formatted with mkfs.lustre or the backend filesystem type is not supported by this tool"
    try:
        disk = zfs.Dataset(wire, spec) if zfs.is_dataset(spec) else disks.Disk(spec)
    except (OSError, ValueError) as error:
        raise Said(errno.ENODEV, words) from error
    if disk.label != "MGS" and not disk.target[0]:
        raise Said(errno.ENODEV, words)
    return disk


def _start_mgs(wire: Wire, uuid: str) -> None:
    with wire.locked():
        if not wire.read("mgs", uuid):
            wire.write({"logs": {}, "params": {}}, "mgs", uuid)


def _register(wire: Wire, disk: disks.Disk | zfs.Dataset, record: Record) -> None:
    """Tell the MGS of a target. One that is registered starts without an MGS, from its copy of the log."""
    mark, data = disk.target[1], wire.read("disks", disk.uuid)
    try:
        mgs = wire.find_mgs(data.get("mgs", []))
    except OSError:
        if mark == "-" and not data.get("replace"):
            return
        raise
    with wire.locked():
        state = wire.read("mgs", mgs["uuid"])
        log = state["logs"].setdefault(record["fsname"], {})
        known = log.get(record["target"], {})
        if mark == ":" and known and known["uuid"] != disk.uuid:
            raise OSError(errno.EADDRINUSE, "")
        log[record["target"]] = {"uuid": disk.uuid, "disk": record["disk"], "host": wire.host, "nids": nids(wire.me())}
        wire.write(state, "mgs", mgs["uuid"])
    wire.write({**data, "replace": False}, "disks", disk.uuid)
    if mark != "-":
        disk.set_label(record["service"])


# --- clients ---


def _client(wire: Wire, spec: str, place: str, options: list[str]) -> None:
    source = _source(spec)
    _need_modules(wire)
    nodes, _, fsname = source.rpartition(":/")
    if not 1 <= len(fsname) <= 8:
        raise OSError(errno.EINVAL, "")
    mgs = wire.find_mgs(parse_nids(nodes))
    log = wire.read("mgs", mgs["uuid"])["logs"].get(fsname, {})
    if "MDT0000" not in log:
        raise OSError(errno.ENOENT, "")
    root = log["MDT0000"]
    if not wire.reaches(root["host"]) or not wire.target(root["host"], f"{fsname}-MDT0000"):
        raise OSError(errno.EIO, "")
    osts = sorted(target for target in log if target.startswith("OST"))
    if not osts:
        raise OSError(errno.ENOMEDIUM, "")
    with image.device(wire, root["uuid"], [log[ost]["disk"] for ost in osts]) as device:
        _mount(device, source, place, disks.flags_of(options))


def _mount(device: str, source: str, place: str, flags: int) -> None:
    """Mount a device under the client's name for the filesystem: the kernel keeps the path that it was given."""
    major, minor = map(int, device.split(":"))
    nodes, _, name = source.rpartition("/")
    place = os.path.abspath(place)
    with tempfile.TemporaryDirectory(dir="/run") as here:
        os.mkdir(f"{here}/{nodes}")
        os.mknod(f"{here}/{nodes}/{name}", 0o60600, os.makedev(major, minor))
        os.chdir(here)
        disks.mount(source, place, "ext4", flags & ~disks.RDONLY)
        os.chdir("/")
    with suppress(OSError):  # clients would see it
        os.rmdir(f"{place}/lost+found")
    if flags & disks.RDONLY:  # of this mount only: other clients may write
        disks.mount("", place, "", flags | disks.REMOUNT | disks.BIND)
