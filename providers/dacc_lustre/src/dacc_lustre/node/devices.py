"""Disks, their slices, and what is on them: read from the disks themselves each time, never remembered."""

import errno
import os
import time
from contextlib import suppress
from typing import Any, Dict, List, Optional

from dacc_core.sdk.node.kit import Job, NodeError, read, run, verb
from dacc_core.sdk.node.mounts import MountEntry

from .argv import dataset, target_point
from .common import findmnt_table, parameter

BY_NAME = "/dev/disk/by-partlabel/dacc-mgt"
LOOKS = 5
NAMES = {"dacc-mdt": "mdt", "dacc-ost": "ost", "dacc-mgt": "mgt"}


def is_block(path: str) -> bool:
    """Whether a path is a block device. A file of that name is none: mkfs.lustre makes one where a partition's node is missing."""
    try:
        return os.stat(path).st_mode & 0o170000 == 0o060000
    except OSError:
        return False


def in_use(path: str) -> bool:
    """Whether a device is mounted, in whichever namespace, or held by another driver: the kernel then refuses to open it exclusively.

    It refuses, too, while another program asks the same; so one refusal is none. And asking keeps others from the device for that
    moment, wipefs for one: ask for a slice only with its lock.
    """
    for _ in range(LOOKS):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
        else:
            return False
        time.sleep(0.05)
    return True


def partitions(disk: str) -> List[str]:
    """The devices of a disk's partitions, in order."""
    name = os.path.basename(os.path.realpath(disk))
    folder = "/sys/class/block/" + name
    try:
        found = [one for one in os.listdir(folder) if os.path.exists("{}/{}/partition".format(folder, one))]
    except OSError:
        return []
    found.sort(key=lambda one: int(read("{}/{}/partition".format(folder, one)) or 0))
    return ["/dev/" + one for one in found]


def signature(path: str) -> Dict[str, str]:
    """What blkid finds on a device: LABEL, TYPE, PART_ENTRY_NAME and their kin; empty when there is nothing."""
    done = run("blkid", "-p", "-o", "export", path, seconds=20.0)
    if done.returncode == 8:
        return {"TYPE": "several filesystems"}
    pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
    return {name: value.replace("\\", "") for name, _, value in pairs}


def slice_of(path: str, disk: str, table: List[MountEntry]) -> Dict[str, Any]:
    """The facts of a slice."""
    found = signature(path)
    real, label = os.path.realpath(path), found.get("LABEL", "")
    points = [one.point for one in table if one.source and (one.source == dataset(label) or os.path.realpath(one.source) == real)]
    return {
        "device": disk,
        "path": path,
        "kind": NAMES.get(found.get("PART_ENTRY_NAME", ""), ""),
        "partuuid": found.get("PART_ENTRY_UUID", ""),
        "label": label,
        "content": found.get("TYPE", found.get("PTTYPE", "")),
        "mounted": points,
        "size": int(read("/sys/class/block/{}/size".format(os.path.basename(real))) or 0) * 512,
    }


def slices(disk: str, table: List[MountEntry]) -> List[Dict[str, Any]]:
    """The slices of a brick, as ``dacc lustre prepare`` made them."""
    return [one for one in (slice_of(path, disk, table) for path in partitions(disk) if is_block(path)) if one["kind"]]


def find_slice(disk: str, kind: str, partuuid: str, table: List[MountEntry]) -> Dict[str, Any]:
    """One slice of a brick, which must be the one that was seen before. Raises Unavailable, AlreadyExists."""
    found = [one for one in slices(disk, table) if one["kind"] == kind]
    if len(found) != 1:
        text = "{} has {} partitions named dacc-{} and needs one: run dacc lustre prepare for this host"
        raise NodeError("Unavailable", text.format(disk, len(found), kind))
    if partuuid and found[0]["partuuid"] != partuuid:
        text = "{} has PARTUUID {} and had {}: it is another disk now, put the former one back or release the brick"
        raise NodeError("AlreadyExists", text.format(found[0]["path"], found[0]["partuuid"], partuuid))
    return found[0]


def find_mgt(job: Job, table: List[MountEntry], known: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """The MGT of this host: the device that the settings name, else the one partition called dacc-mgt, if there is one.

    ``known``: the slices of the bricks that the call is about, which were looked at already.
    """
    named = job.get("mgs_device") or (BY_NAME if is_block(BY_NAME) else "")
    if named:
        return slice_of(os.path.realpath(named), named, table) if is_block(named) else None
    disks = job.get("disks", [])
    found = [one for one in known if one["kind"] == "mgt"]
    if not found:
        others = [disk for disk in _all_disks() if disk not in {os.path.realpath(one) for one in disks}]
        found = [one for disk in others for one in slices(disk, table) if one["kind"] == "mgt"]
    if len(found) > 1:
        names = ", ".join(one["path"] for one in found)
        raise NodeError("Unavailable", "several partitions are named dacc-mgt: {}: name the right one as mgs_device".format(names))
    return found[0] if found else None


def _all_disks() -> List[str]:
    """Every disk here that has partitions."""
    names = sorted(os.listdir("/sys/class/block"))
    whole = [name for name in names if not os.path.exists("/sys/class/block/{}/partition".format(name))]
    return ["/dev/" + name for name in whole if partitions("/dev/" + name)]


def nids() -> List[str]:
    """The NIDs of this host but for loopback. Raises Unavailable when LNet does not answer."""
    done = run("lctl", "list_nids", seconds=20.0)
    if done.returncode:
        text = "lctl list_nids failed ({}): LNet is not up, load lnet and configure it (lnetctl net add)"
        raise NodeError("Unavailable", text.format(done.why()))
    return [word for word in done.stdout.split() if not word.endswith("@lo")]


def resolve(names: List[str]) -> Dict[str, List[str]]:
    """The addresses of names here."""
    import socket  # few calls need it, and it takes its time

    found: Dict[str, List[str]] = {}
    for name in names:
        with suppress(OSError):
            found[name] = sorted({str(one[4][0]) for one in socket.getaddrinfo(name, None)})
    return found


@verb("probe")
def probe(job: Job) -> Dict[str, Any]:
    """All facts that a plan for this host needs."""
    table = findmnt_table()
    ours = target_point(job["fsname"], "")
    disks = job.get("disks", [])
    found = [one for disk in disks for one in slices(disk, table)]
    return {
        "missing": [disk for disk in disks if not is_block(disk)],
        "slices": found,
        "running": sorted({one.point[len(ours) :] for one in table if one.point.startswith(ours)}),
        "mgt": find_mgt(job, table, found) if job.get("mgs") else None,
        "nids": nids(),
        "resolved": resolve(job.get("names", [])),
        "health": " ".join(parameter("health_check")),
        "boot": read("/proc/sys/kernel/random/boot_id"),
    }
