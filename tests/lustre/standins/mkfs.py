"""mkfs.lustre and tunefs.lustre over ext4."""

from __future__ import annotations

import errno
import getopt
import os
import re
import subprocess
import sys

from . import disk as disks
from .fronts import program
from .wire import Record, Wire, parse_nids

_LONG = [
    *("mgs", "mdt", "ost", "reformat", "replace", "dryrun", "quiet", "verbose", "writeconf", "erase-params", "nomgs", "force-nohostid"),
    *("fsname=", "index=", "mgsnode=", "servicenode=", "failnode=", "param=", "mkfsoptions=", "mountfsoptions=", "backfstype="),
    *("device-size=", "network=", "comment=", "erase-param=", "stripe-count-hint="),
]
_SMALLEST = 32 << 20


class Refused(Exception):
    """Why a command does nothing, and its exit status."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text


def make(wire: Wire, argv: list[str]) -> int:
    """mkfs.lustre."""
    try:
        return _make(wire, argv)
    except Refused as refused:
        return _refuse("mkfs.lustre", refused)


def tune(wire: Wire, argv: list[str]) -> int:
    """tunefs.lustre."""
    try:
        return _tune(wire, argv)
    except Refused as refused:
        return _refuse("tunefs.lustre", refused)


def _refuse(name: str, refused: Refused) -> int:
    sys.stderr.write(f"\n{name} FATAL: {refused.text}\n{name}: exiting with {refused.code} ({os.strerror(refused.code)})\n")
    return refused.code


def _options(argv: list[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Options, the MGS's NIDs and the device; on ZFS the dataset, and devices for its pool."""
    try:
        pairs, rest = getopt.gnu_getopt(argv, "nqv", _LONG)
    except getopt.GetoptError as error:
        raise Refused(errno.EINVAL, str(error)) from error
    options = {name.lstrip("-"): value for name, value in pairs}
    if not rest or (len(rest) > 1 and options.get("backfstype") != "zfs"):
        raise Refused(errno.EINVAL, "device name not specified" if not rest else "only one device is allowed")
    return options, [value for name, value in pairs if name == "--mgsnode"], rest


def _make(wire: Wire, argv: list[str]) -> int:
    options, mgsnodes, (device, *vdevs) = _options(argv)
    service, label = _service(options, mgsnodes)
    groups = _groups(mgsnodes)
    backend = options.get("backfstype", "ldiskfs")
    print(f"   Permanent disk data:\nTarget:     {label}\nMount type: {backend}")
    if "dryrun" in options or "n" in options:
        print("exiting before disk write.")
        return 0
    if backend == "zfs":
        uuid = _format_dataset(wire, device, vdevs, label, options)
    else:
        _check_device(wire, device, options)
        _format(wire, device, label, options.get("mkfsoptions", ""))
        uuid = disks.Disk(device).uuid
    mountdata: Record = {"service": service, "mgs": groups, "replace": "replace" in options}
    wire.write(mountdata, "disks", uuid)
    print("Writing CONFIGS/mountdata")
    return 0


def _format_dataset(wire: Wire, name: str, vdevs: list[str], label: str, options: dict[str, str]) -> str:
    from . import zfs  # seldom needed

    if "/" not in name:
        raise Refused(errno.EINVAL, f"Missing pool in filesystem name {name}")
    if "mgs" not in options and "index" not in options:
        raise Refused(errno.EINVAL, "The target index must be specified with --index")
    try:
        return zfs.make(wire, name, vdevs, label, options.get("mkfsoptions", "").split()).uuid
    except OSError as error:
        raise Refused(errno.EIO, f"Unable to create filesystem {name}: {error.strerror}") from error


def _service(options: dict[str, str], mgsnodes: list[str]) -> tuple[str, str]:
    """What the target will be called, and its label."""
    kinds = {kind for kind in ("mgs", "mdt", "ost") if kind in options}
    if not kinds:
        raise Refused(errno.EINVAL, "must set target type: MDT,OST,MGS")
    if "ost" in kinds and len(kinds) > 1:
        raise Refused(errno.EINVAL, "OST type is exclusive with MDT,MGS")
    fsname = _fsname(options.get("fsname", ""))
    if kinds == {"mgs"}:
        return "MGS", "MGS"
    if "mgs" in kinds:
        raise Refused(errno.EINVAL, "an MGT together with an MDT is not played here")
    if not mgsnodes:
        raise Refused(errno.EINVAL, "must specify --mgs or --mgsnode" if "mdt" in kinds else "must specify --mgsnode")
    if not fsname:
        raise Refused(errno.EINVAL, "must specify --fsname for MDT/OST device")
    service = f"{'MDT' if 'mdt' in kinds else 'OST'}{_index(options.get('index', '0')):04x}"
    return service, f"{fsname}{'-' if 'replace' in options else ':'}{service}"


def _fsname(name: str) -> str:
    if len(name) > 8:
        raise Refused(errno.EINVAL, "filesystem name must be 1-8 chars")
    for letter in name:
        if not re.fullmatch("[-_a-zA-Z0-9]", letter):
            raise Refused(errno.EINVAL, f"char '{letter}' not allowed in filesystem name")
    return name


def _index(text: str) -> int:
    try:
        index = int(text, 16 if text.startswith("0x") else 10)
    except ValueError:
        index = -1
    if not 0 <= index <= 65535:
        raise Refused(errno.EINVAL, f"wrong index {text}. Target index must be decimal or hexadecimal.")
    return index


def _groups(mgsnodes: list[str]) -> list[list[str]]:
    try:
        return [group for spec in mgsnodes for group in parse_nids(spec)]
    except ValueError as error:
        raise Refused(errno.EINVAL, f"Can't parse NID '{error}'") from error


def _check_device(wire: Wire, device: str, options: dict[str, str]) -> None:
    mounted = disks.number(device)
    if mounted and mounted in {mount.device for mount in wire.mounts(wire.host)}:
        sys.stderr.write(f"{device}: is currently mounted, exiting without any change\n")
        raise SystemExit(errno.EEXIST)
    if "reformat" in options:
        return
    try:
        formatted = bool(disks.Disk(device).label == "MGS" or disks.Disk(device).target[0])
    except (OSError, ValueError):
        return
    if formatted:
        words = "was previously formatted for lustre. Use --reformat to reformat it, or tunefs.lustre to modify."
        raise Refused(errno.EPERM, f"Device {device} {words}")


def _format(wire: Wire, device: str, label: str, extra: str) -> None:
    """mke2fs with the size in KiB, as mkfs.lustre calls it: for a path that is missing it makes a file (data-acc #120)."""
    size = _size(device)
    if size and size < _SMALLEST:
        raise Refused(errno.EINVAL, f"device {device} is too small: size {size >> 10}k, at least {_SMALLEST >> 10}k are needed")
    argv = [program(wire, "mke2fs"), "-q", "-t", "ext4", "-F", "-L", label, *extra.split(), device]
    kib = size >> 10 or 65536  # of a node that has just gone Lustre still knows the size
    done = subprocess.run([*argv, f"{kib}k"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise Refused(errno.EIO if "Input/output" in done.stderr else errno.EPERM, f"mkfs failed {done.returncode}")


def _size(device: str) -> int:
    try:
        with open(device, "rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError:
        return 0


def _tune(wire: Wire, argv: list[str]) -> int:
    options, mgsnodes, (device, *_) = _options(argv)
    try:
        disk = disks.Disk(device)
    except (OSError, ValueError) as error:
        raise Refused(errno.ENODEV, f"Device {device} has not been formatted with mkfs.lustre") from error
    fsname, mark, service = disk.target
    if not fsname and disk.label != "MGS":
        raise Refused(errno.ENODEV, f"Device {device} has not been formatted with mkfs.lustre")
    print(f"   Read previous values:\nTarget:     {disk.label}\nLustre FS:  {fsname}\nMount type: ldiskfs")
    if "dryrun" in options or "n" in options:
        print("exiting before disk write.")
        return 0
    if disks.number(device) in {mount.device for mount in wire.mounts(wire.host)}:
        sys.stderr.write(f"{device}: is currently mounted, exiting without any change\n")
        raise SystemExit(errno.EEXIST)
    data = wire.read("disks", disk.uuid)
    if mgsnodes:
        kept = [] if "erase-params" in options else data.get("mgs", [])
        data["mgs"] = [*kept, *_groups(mgsnodes)]
    if "writeconf" in options and fsname and mark != ":":
        disk.set_label(f"{fsname}={service}")
    wire.write(data, "disks", disk.uuid)
    return 0
