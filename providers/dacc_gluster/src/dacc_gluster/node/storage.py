"""On storage hosts: bricks are XFS filesystems that carry the volume's name as their label."""

import json
import os
import re
import shutil
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, Dict, List

if TYPE_CHECKING:
    from .common import (
        EXISTS,
        NO_SPACE,
        UNAVAILABLE,
        Failure,
        command_line,
        do,
        end,
        last_line,
        main,
        mounted_at,
        processes,
        release_client,
        remove_directory,
        run,
        umount,
    )
    from .volume import find, forget, serve, start

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


def check(what: Dict[str, Any]) -> None:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise Failure(UNAVAILABLE, "{0} is not installed: install {1}".format(program, package))
    if not os.path.exists("/dev/fuse"):
        raise Failure(UNAVAILABLE, "/dev/fuse is missing: load the module fuse")
    for device in what["devices"]:
        check_device(device)
    done = run("gluster", "--mode=script", "pool", "list")
    if done.returncode != 0:
        raise Failure(UNAVAILABLE, "glusterd does not answer ({0}): start it with systemctl start glusterd".format(last_line(done)))


def check_device(device: str) -> None:
    try:
        mode = os.stat(device).st_mode
    except OSError as error:
        raise Failure(UNAVAILABLE, "brick {0}: {1}".format(device, error.strerror)) from None
    if not stat.S_ISBLK(mode):
        raise Failure(UNAVAILABLE, "brick {0} is no block device: GlusterFS needs one, which dacc formats".format(device))


def prepare(what: Dict[str, Any]) -> Dict[str, Any]:
    """Format and mount this host's bricks; the bytes for which there is room, and the pool as this host sees it."""
    room = sum(each(what["bricks"], lambda brick: prepare_brick(brick, what["volume"], what["least"])))
    return {"room": room, "pool": pool_list()}


def pool_list() -> str:
    return do("gluster", "--mode=script", "pool", "list")


def prepare_brick(brick: Dict[str, str], volume: str, least: int) -> int:
    device = brick["device"]
    check_device(device)
    label = label_of(device)
    if label not in ("", volume, volume + NEW):
        why = "brick {0} holds {1}: if nobody needs it, clean the device with wipefs -a"
        raise Failure(EXISTS, why.format(device, label))
    if label != volume:
        do("mkfs.xfs", "-q", "-f", "-m", "reflink=0", "-L", volume + NEW, device)
        do("xfs_admin", "-L", volume, device)
    mount_brick(brick, volume)
    os.makedirs(brick["place"] + "/brick", 0o755, exist_ok=True)
    room = capacity_of(brick["place"])
    if room < least:
        why = "brick {0} has room for {1} bytes and {2} are needed: lower the pool's granularity"
        raise Failure(NO_SPACE, why.format(device, room, least))
    return room


def label_of(device: str) -> str:
    """What a device holds: a label if that is an XFS of ours, another description if it is not, nothing if it is clean."""
    done = run("blkid", "-p", "-o", "export", device)
    if done.returncode == 2:
        return ""
    if done.returncode != 0:
        return "several signatures"
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    kind, label = found.get("TYPE") or found.get("PTTYPE", "something"), found.get("LABEL", "")
    if kind == "xfs" and A_VOLUME.match(label):
        return label
    return "{0}, labelled {1}".format(kind, label) if label else kind


def mount_brick(brick: Dict[str, str], volume: str) -> None:
    """Mount a brick that has the volume's label, unless it is mounted."""
    device, place = brick["device"], brick["place"]
    number = os.stat(device).st_rdev
    found = mounted_at(place)
    if found:
        if found.device != "{0}:{1}".format(os.major(number), os.minor(number)):
            raise Failure(UNAVAILABLE, "{0} is a mount of {1}, not of {2}: unmount it".format(place, found.source, device))
        return
    if label_of(device) != volume:
        why = "brick {0} does not hold volume {1} but {2}"
        raise Failure(UNAVAILABLE, why.format(device, volume, label_of(device) or "nothing"))
    os.makedirs(place, 0o700, exist_ok=True)
    do("mount", "-t", "xfs", "-o", "noatime,nodev,nosuid", device, place)


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


def attach(what: Dict[str, Any]) -> Dict[str, Any]:
    """Mount this host's bricks again, and format nothing; the pool as this host sees it."""
    for brick in what["bricks"]:
        check_device(brick["device"])
        mount_brick(brick, what["volume"])
    return {"pool": pool_list()}


def usage(what: Dict[str, Any]) -> List[int]:
    """Capacity and used bytes of this host's bricks."""
    places = [brick["place"] for brick in what["bricks"]]
    for place in places:
        if not mounted_at(place):
            raise Failure(UNAVAILABLE, "{0} is not mounted: restore volume {1}".format(place, what["volume"]))
    capacity = sum(map(capacity_of, places))
    return [capacity, max(0, capacity - sum(map(free, places)))]


def withdraw(what: Dict[str, Any]) -> Dict[str, Any]:
    """End what serves this host's bricks, and whether gluster knows the volume here, or why it cannot say: others may know."""
    halt(what)
    try:
        return {"known": find(what["volume"]) is not None, "why": ""}
    except Failure as error:
        return {"known": False, "why": str(error)}


def halt(what: Dict[str, Any]) -> None:
    """End what serves this host's bricks. When gluster stops a volume, it waits a second for each brick, one after the other."""
    places = [brick["place"] + "/brick" for brick in what["bricks"]]
    for pid in processes():
        words = command_line(pid)
        if os.path.basename(words[0]) == "glusterfsd" and any(place in words for place in places):
            end(pid)


def release(what: Dict[str, Any]) -> None:
    """Unmount this host's bricks and clean them. The volume is stopped."""
    halt(what)
    release_client(what["directory"] + "/client")
    each(what["bricks"], lambda brick: release_brick(brick, what["volume"]))
    remove_directory(what["directory"])


def release_brick(brick: Dict[str, str], volume: str) -> None:
    umount(brick["place"], 5.0)
    check_device(brick["device"])
    label = label_of(brick["device"])
    if label in (volume, volume + NEW):
        do("wipefs", "-a", "-q", brick["device"])
    elif label and not A_VOLUME.match(label):
        why = "brick {0} holds {1}, which no volume left there: if nobody needs it, clean the device with wipefs -a"
        raise Failure(EXISTS, why.format(brick["device"], label))
    remove_directory(brick["place"])
    remove_logs(brick["place"])


def remove_logs(place: str) -> None:
    """Of the brick, the rotated ones too: its name is never used again, so nothing else would ever remove them."""
    name = (place + "/brick").strip("/").replace("/", "-") + ".log"
    for file in os.listdir(LOGS) if os.path.isdir(LOGS) else []:
        if file.startswith(name):
            os.unlink(os.path.join(LOGS, file))


def each(bricks: List[Dict[str, str]], action: Callable[[Dict[str, str]], Any]) -> List[Any]:
    """All bricks at once; raises the first error when all have ended."""
    with ThreadPoolExecutor(len(bricks) or 1) as pool:
        waiting = [pool.submit(action, brick) for brick in bricks]
    return [one.result() for one in waiting]


if __name__ == "__main__":
    actions: Dict[str, Callable[[Dict[str, Any]], Any]] = {
        "check": check,
        "prepare": prepare,
        "attach": attach,
        "usage": usage,
        "serve": serve,
        "start": start,
        "withdraw": withdraw,
        "forget": forget,
        "release": release,
    }
    sys.exit(main(actions))
