"""Mount and unmount on compute nodes and movers."""

import os
from typing import Any, Dict, List, Optional

from dacc_core.sdk.node.kit import (
    CommandFailed,
    Job,
    NodeError,
    ProgramResult,
    crash_point,
    discard,
    locked,
    must,
    read,
    run,
    time_left,
    verb,
)
from dacc_core.sdk.node.mounts import MountEntry, end_holders, holders, resolved
from dacc_core.sdk.node.owned import make_link, make_mount_point, mount_point, private_of, remove_link, remove_mount_point
from dacc_core.sdk.node.volumes import finish_mount

from .argv import RUN_DIRECTORY, mount_client
from .common import attempts, findmnt_at, findmnt_table
from .devices import resolve


def ours(path: str, fsname: str) -> Optional[MountEntry]:
    """What is mounted at a path, if it is this filesystem. Raises AlreadyExists when it is anything else."""
    mount = findmnt_at(path)
    if mount is None or (mount.kind == "lustre" and mount.source.rpartition(":")[2] == "/" + fsname):
        return mount
    text = "{} has {} ({}) mounted and not {}: unmount that first"
    raise NodeError("AlreadyExists", text.format(path, mount.source, mount.kind, fsname))


@verb("mount")
def mount_filesystem(job: Job) -> None:
    """Mount the filesystem, make the private directory and the link."""
    with locked("lustre-mounts"):  # one at a time on a node: mounts that overlap fail with EBUSY (data-acc issue 119)
        path = mount_point(job)
        if ours(path, job["fsname"]) is None:
            make_mount_point(path)
            _reach(job["ping"])
            attempts(job, "mount.lustre", lambda: _mount_client(job, path))
        crash_point(job, "mounted")
        # Where root is squashed, a storage host has made the private directories already.
        finish_mount(dict(job, private=job["private"] and not job["squashed"]), ours(path, job["fsname"]))
        discard(_mark_of(job, path))
    make_link(job["link"], private_of(job))


def _reach(groups: List[List[str]]) -> None:
    """See that LNet reaches the MGS, before a mount that would only say "Input/output error"."""
    said = ""
    for nid in (nid for group in groups for nid in group):
        done = run("lctl", "ping", nid, seconds=20.0)
        if not done.returncode:
            return
        said = "lctl ping {} failed: {}".format(nid, done.why())
    if said:
        raise NodeError("Unavailable", said + ": see lctl list_nids here, and that LNet has the same network on both")


def _mount_client(job: Job, path: str) -> None:
    if ours(path, job["fsname"]) is not None:
        return
    done = run(*mount_client(job["source"], path, job["options"]), seconds=min(job["mount_seconds"], time_left()))
    if done.returncode == 19:
        must("lustre", "modprobe", "lustre")
        done = run(*mount_client(job["source"], path, job["options"]), seconds=min(job["mount_seconds"], time_left()))
    _judge(job, path, done)


def _judge(job: Job, path: str, done: ProgramResult) -> None:
    if ours(path, job["fsname"]) is None:
        silent = ProgramResult(5, "", "mount said nothing and nothing is mounted")
        raise CommandFailed("mount.lustre", job["source"], done if done.returncode else silent)


@verb("unmount")
def unmount_filesystem(job: Job) -> None:
    """Remove the link, end who holds the mount, unmount, remove the directory. Raises Busy; Unavailable for a node that stays dirty."""
    path = resolved(job["path"])
    remove_link(job["link"], private_of(job))
    with locked("lustre-mounts"):
        while ours(path, job["fsname"]) is not None:
            _unmount(job, path)
            crash_point(job, "unmounted")
        _check_clean(job, path)
        remove_mount_point(job["path"])


def _unmount(job: Job, path: str) -> None:
    """Plain; then without those who hold it; then by force; then only out of sight, which is no success."""
    seconds = job["unmount_seconds"]
    if _gone(path, seconds):
        return
    if holders(path):
        end_holders(path, min(10.0, seconds))
        if _gone(path, seconds):
            return
    if _gone(path, seconds, "-f"):
        return
    left_over = ", ".join(str(pid) for pid in holders(path)[:8]) or "none that can be seen"
    if _swapped(path) or not job["lazy"]:
        raise NodeError("Busy", "{} is busy (processes: {}{})".format(path, left_over, "; swap is on it" if _swapped(path) else ""))
    _mark(job, path, left_over)
    run("umount", "-l", path, seconds=min(20.0, seconds))
    raise NodeError("Unavailable", _dirty(path, left_over))


def _gone(path: str, seconds: float, *options: str) -> bool:
    """Whether an unmount did it: looked at in the mount table, not in the program's word for it."""
    before = _depth(path)
    try:
        run("umount", *((*options, path)), seconds=min(seconds, time_left() / 2))
    except NodeError:  # it hung, and is killed or cannot be
        return False
    return _depth(path) < before


def _depth(path: str) -> int:
    return sum(one.point == path for one in findmnt_table())


def _swapped(path: str) -> bool:
    return any(line.startswith(path + "/") for line in read("/proc/swaps").splitlines())


def _dirty(path: str, who: str) -> str:
    text = "{} was only unmounted lazily (processes: {}): the node is dirty, keep jobs off it until it is rebooted"
    return text.format(path, who)


def _mark_of(job: Job, path: str) -> str:
    return os.path.join(RUN_DIRECTORY, "dirty", job["fsname"] + path.replace("/", "_"))


def _mark(job: Job, path: str, who: str) -> None:
    """Remember, until a reboot, that a mount is out of sight and not gone."""
    name = _mark_of(job, path)
    os.makedirs(os.path.dirname(name), 0o700, exist_ok=True)
    with open(name, "w", encoding="utf-8") as file:
        file.write(who)


def _check_clean(job: Job, path: str) -> None:
    """A mount that was taken out of sight is gone when the kernel has no devices of the filesystem any more."""
    name = _mark_of(job, path)
    if not os.path.exists(name):
        return
    if any(field.startswith(job["fsname"] + "-") for line in run("lctl", "dl").stdout.splitlines() for field in line.split()[3:4]):
        raise NodeError("Unavailable", _dirty(path, read(name)))
    discard(name)


@verb("evict")
def evict(job: Job) -> Dict[str, Any]:
    """Have the targets here drop dead clients."""
    evicted: List[str] = []
    networks = sorted({nid.rpartition("@")[2] for nid in run("lctl", "list_nids").stdout.split() if not nid.endswith("@lo")})
    for client in job["clients"]:
        for nid in _numeric(client, networks):
            for kind in ("mdt.{}-MDT*".format(job["fsname"]), "obdfilter.{}-OST*".format(job["fsname"])):
                if not run("lctl", "set_param", "{}.evict_client=nid:{}".format(kind, nid), seconds=20.0).returncode:
                    evicted.append(nid)
    return {"evicted": sorted(set(evicted))}


def _numeric(client: Dict[str, Any], networks: List[str]) -> List[str]:
    wanted = [nid.rpartition("@")[::2] for nid in client["nids"]] or [(client["host"], network) for network in networks]
    found = resolve([name for name, _ in wanted])
    return ["{}@{}".format(address, network) for name, network in wanted for address in found.get(name, [])]
