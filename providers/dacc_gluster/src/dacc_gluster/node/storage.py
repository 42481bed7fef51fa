"""On storage hosts: bricks are XFS filesystems that carry the volume's name as their label."""

import json
import os
import re
import stat
from typing import Any, Dict

from dacc_core.sdk.node.kit import (
    CommandFailed,
    Job,
    NodeError,
    all_at_once,
    locked,
    must,
    need_programs,
    remove_directory,
    run,
    time_left,
    verb,
)
from dacc_core.sdk.node.mounts import mounted_at, processes, resolved, unmount

from .mounting import command_line, end_process, release_client
from .output import peers
from .volume import find, lock_of

PROGRAMS = {
    "gluster": "glusterfs-server",
    "glusterfsd": "glusterfs-server",
    "mount.glusterfs": "glusterfs-client",
    "mkfs.xfs": "xfsprogs",
    "xfs_admin": "xfsprogs",
    "blkid": "util-linux",
    "wipefs": "util-linux",
}
NEW = ".new"
"""After the label of a brick that is being formatted: nothing can be lost there."""

A_VOLUME = re.compile(r"[a-z][a-z0-9]{7}(\.new)?$")
LOGS = "/var/log/glusterfs/bricks"


@verb("check")
def check_storage(job: Job) -> None:
    """Programs, devices, and a glusterd that answers."""
    need_programs(PROGRAMS)
    if not os.path.exists("/dev/fuse"):
        raise NodeError("Unavailable", "/dev/fuse is missing: load the module fuse")
    for device in job["devices"]:
        check_device(device)
    result = run("gluster", "--mode=script", "pool", "list")
    if result.returncode != 0:
        raise NodeError("Unavailable", "glusterd does not answer ({0}): start it with systemctl start glusterd".format(result.why()))


def check_device(device: str) -> None:
    try:
        mode = os.stat(device).st_mode
    except OSError as error:
        raise NodeError("Unavailable", "brick {0}: {1}".format(device, error.strerror)) from None
    if not stat.S_ISBLK(mode):
        raise NodeError("Unavailable", "brick {0} is no block device: GlusterFS needs one, which dacc formats".format(device))


@verb("prepare")
def prepare(job: Job) -> Dict[str, Any]:
    """Format and mount this host's bricks; the bytes for which there is room, and the pool as this host sees it."""
    with locked(lock_of(job["volume"])):
        room = sum(all_at_once(lambda brick: prepare_brick(brick, job["volume"], job["least"]), job["bricks"]))
        return {"room": room, "pool": pool_view()}


@verb("pool")
def pool(job: Job) -> Dict[str, Any]:
    """The pool as this host sees it."""
    return pool_view()


def pool_view() -> Dict[str, Any]:
    answer = must("this host", "gluster", "--mode=script", "pool", "list")
    try:
        return peers(answer)
    except ValueError as error:
        raise NodeError("Unavailable", "gluster pool list: {0}".format(error)) from None


@verb("peer-probe")
def peer_probe(job: Job) -> None:
    """Take a host into the pool; one that is there already stays."""
    result = run("gluster", "--mode=script", "peer", "probe", job["address"], seconds=time_left())
    if result.returncode != 0:
        text = "storage host {0} cannot be taken into the pool of this one: {1}"
        raise NodeError("Unavailable", text.format(job["address"], result.why()))


def prepare_brick(brick: Dict[str, str], volume: str, least: int) -> int:
    device = brick["device"]
    check_device(device)
    label = label_of(device)
    if label not in ("", volume, volume + NEW):
        why = "brick {0} holds {1}: if nobody needs it, clean the device with wipefs -a"
        raise NodeError("AlreadyExists", why.format(device, label))
    if label != volume:
        must(device, "mkfs.xfs", "-q", "-f", "-m", "reflink=0", "-L", volume + NEW, device, seconds=time_left())
        must(device, "xfs_admin", "-L", volume, device)
    mount_brick(brick, volume)
    os.makedirs(brick["place"] + "/brick", 0o755, exist_ok=True)
    room = capacity_of(brick["place"])
    if room < least:
        why = "brick {0} has room for {1} bytes and {2} are needed: lower the pool's granularity"
        raise NodeError("NoSpace", why.format(device, room, least))
    return room


def label_of(device: str) -> str:
    """What a device holds: a label if that is an XFS of ours, another description if it is not, nothing if it is clean."""
    result = run("blkid", "-p", "-o", "export", device)
    if result.returncode == 2:
        return ""
    if result.returncode != 0:
        return "several signatures"
    signature = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    kind, label = signature.get("TYPE") or signature.get("PTTYPE", "something"), signature.get("LABEL", "")
    if kind == "xfs" and A_VOLUME.match(label):
        return label
    return "{0}, labelled {1}".format(kind, label) if label else kind


def mount_brick(brick: Dict[str, str], volume: str) -> None:
    """Mount a brick that has the volume's label, unless it is mounted."""
    device, place = brick["device"], brick["place"]
    number = os.stat(device).st_rdev
    mount = mounted_at(resolved(place))
    if mount is not None:
        if mount.device != "{0}:{1}".format(os.major(number), os.minor(number)):
            raise NodeError("Unavailable", "{0} is a mount of {1}, not of {2}: unmount it".format(place, mount.source, device))
        return
    if label_of(device) != volume:
        why = "brick {0} does not hold volume {1} but {2}"
        raise NodeError("Unavailable", why.format(device, volume, label_of(device) or "nothing"))
    os.makedirs(place, 0o700, exist_ok=True)
    must(place, "mount", "-t", "xfs", "-o", "noatime,nodev,nosuid", device, place)


def capacity_of(place: str) -> int:
    """The bytes that an empty brick has room for. Its file is written before a volume is made of it, so while it is empty."""
    path = place + "/capacity"
    if not os.path.exists(path):
        with open(path + ".new", "w") as file:
            json.dump(free(place), file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
    with open(path) as file:
        return int(json.load(file))


def free(place: str) -> int:
    now = os.statvfs(place)
    return now.f_bavail * now.f_frsize


@verb("attach")
def attach(job: Job) -> Dict[str, Any]:
    """Mount this host's bricks again, and format nothing; the pool as this host sees it."""
    with locked(lock_of(job["volume"])):
        for brick in job["bricks"]:
            check_device(brick["device"])
            mount_brick(brick, job["volume"])
        return {"pool": pool_view()}


@verb("usage")
def usage(job: Job) -> Dict[str, int]:
    """Capacity and used bytes of this host's bricks."""
    places = [brick["place"] for brick in job["bricks"]]
    with locked(lock_of(job["volume"])):
        for place in places:
            if mounted_at(resolved(place)) is None:
                raise NodeError("Unavailable", "{0} is not mounted: restore volume {1}".format(place, job["volume"]))
        capacity = sum(map(capacity_of, places))
        return {"capacity": capacity, "used": max(0, capacity - sum(map(free, places)))}


@verb("withdraw")
def withdraw(job: Job) -> Dict[str, Any]:
    """End what serves this host's bricks, and whether gluster knows the volume here, or why it cannot say: others may know."""
    with locked(lock_of(job["volume"])):
        halt(job)
        try:
            return {"known": find(job["volume"]) is not None, "why": ""}
        except (NodeError, CommandFailed) as error:
            return {"known": False, "why": str(error).encode("utf-8", "backslashreplace").decode()}


def halt(job: Job) -> None:
    """End what serves this host's bricks. When gluster stops a volume, it waits a second for each brick, one after the other."""
    places = [brick["place"] + "/brick" for brick in job["bricks"]]
    for pid in processes():
        words = command_line(pid)
        if os.path.basename(words[0]) == "glusterfsd" and any(place in words for place in places):
            end_process(pid)


@verb("release")
def release(job: Job) -> None:
    """Unmount this host's bricks and clean them. The volume is stopped."""
    with locked(lock_of(job["volume"])):
        halt(job)
        release_client(job["volume"], job["directory"] + "/client", 5.0)
        remove_directory(job["directory"] + "/client")
        all_at_once(lambda brick: release_brick(brick, job["volume"]), job["bricks"])
        remove_directory(job["directory"])


def release_brick(brick: Dict[str, str], volume: str) -> None:
    while mounted_at(resolved(brick["place"])) is not None:
        unmount(resolved(brick["place"]), 5.0)
    check_device(brick["device"])
    label = label_of(brick["device"])
    if label in (volume, volume + NEW):
        must(brick["device"], "wipefs", "-a", "-q", brick["device"])
    elif label and not A_VOLUME.match(label):
        why = "brick {0} holds {1}, which no volume left there: if nobody needs it, clean the device with wipefs -a"
        raise NodeError("AlreadyExists", why.format(brick["device"], label))
    remove_directory(brick["place"])
    remove_logs(brick["place"])


def remove_logs(place: str) -> None:
    """Of the brick, the rotated ones too: its name is never used again, so nothing else would ever remove them."""
    name = (place + "/brick").strip("/").replace("/", "-") + ".log"
    for file in os.listdir(LOGS) if os.path.isdir(LOGS) else []:
        if file.startswith(name):
            os.unlink(os.path.join(LOGS, file))
