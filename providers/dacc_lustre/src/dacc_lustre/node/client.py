"""Mount and unmount on compute nodes and movers."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Dict, List, Optional

if TYPE_CHECKING:
    from .argv import RUN_DIRECTORY, mount_client
    from .common import (
        CommandFailed,
        Done,
        Failure,
        Job,
        Mounted,
        attempts,
        last_line,
        left,
        locked,
        mounted_at,
        mounts,
        must,
        place,
        read,
        run,
        verb,
    )
    from .devices import resolve
    from .holders import end_holders, holders
    from .planted import above, make_point, make_private, put_link, take_link


def resolved(path: str) -> str:
    """The path with its parents' symbolic links followed, as mount tables show it; the last part is left alone."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def ours(path: str, fsname: str) -> Optional[Mounted]:
    """What is mounted at a path, if it is this filesystem. Raises AlreadyExists when it is anything else."""
    found = mounted_at(path)
    if found is None or (found.kind == "lustre" and found.source.rpartition(":")[2] == "/" + fsname):
        return found
    text = "{} has {} ({}) mounted and not {}: unmount that first"
    raise Failure("AlreadyExists", text.format(path, found.source, found.kind, fsname))


@verb("mount")
def mount(job: Job) -> None:
    """Mount the filesystem, make the private directory and the link."""
    with locked("mounts"):  # one at a time on a node: mounts that overlap fail with EBUSY (data-acc issue 119)
        path = os.path.join(above(job["path"], job["role"] == "mover"), os.path.basename(job["path"]))
        if ours(path, job["fsname"]) is None:
            make_point(path)
            _reach(job["ping"])
            attempts(job, "mount.lustre", lambda: _mount_client(job, path))
        place(job, "mounted")
        _prepare(job, path)
        _discard(_mark_of(job, path))
    put_link(job["link"], _private_of(job))


def _reach(groups: List[List[str]]) -> None:
    """See that LNet reaches the MGS, before a mount that would only say "Input/output error"."""
    said = ""
    for nid in (nid for group in groups for nid in group):
        done = run("lctl", "ping", nid, seconds=20.0)
        if not done.rc:
            return
        said = "lctl ping {} failed: {}".format(nid, last_line(done.text or done.out))
    if said:
        raise Failure("Unavailable", said + ": see lctl list_nids here, and that LNet has the same network on both")


def _mount_client(job: Job, path: str) -> None:
    if ours(path, job["fsname"]) is not None:
        return
    done = run(*mount_client(job["source"], path, job["options"]), seconds=min(job["mount_seconds"], left()))
    if done.rc == 19:
        must("lustre", "modprobe", "lustre")
        done = run(*mount_client(job["source"], path, job["options"]), seconds=min(job["mount_seconds"], left()))
    _judge(job, path, done)


def _judge(job: Job, path: str, done: Done) -> None:
    if ours(path, job["fsname"]) is None:
        silent = Done(5, "", "mount said nothing and nothing is mounted")
        raise CommandFailed("mount.lustre", job["source"], done if done.rc else silent)


def _prepare(job: Job, path: str) -> None:
    found = ours(path, job["fsname"])
    if found is None:
        raise Failure("Unavailable", "{} is not mounted any more: see who unmounts it".format(path))
    read_only = "ro" in found.options
    if read_only and not job["read_only"]:
        _remount(path, "rw")
    if job["private"] and not job["squashed"]:
        make_private(path, found.device, job)
    place(job, "populated")
    if job["read_only"] and not read_only:
        _remount(path, "ro")


def _remount(path: str, access: str) -> None:
    must(path, "mount", "-o", "remount,bind,nodev,nosuid," + access, path)


def _private_of(job: Job) -> str:
    """Where the link leads."""
    return os.path.join(job["path"], "private", job["host"])


@verb("unmount")
def unmount(job: Job) -> None:
    """Remove the link, end who holds the mount, unmount, remove the directory. Raises Busy; Unavailable for a node that stays dirty."""
    path = resolved(job["path"])
    take_link(job["link"], _private_of(job))
    with locked("mounts"):
        while ours(path, job["fsname"]) is not None:
            _unmount(job, path)
            place(job, "unmounted")
        _check_clean(job, path)
        with suppress(OSError):  # gone, or somebody has put something into it: not ours
            os.rmdir(path)


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
        raise Failure("Busy", "{} is busy (processes: {}{})".format(path, left_over, "; swap is on it" if _swapped(path) else ""))
    _mark(job, path, left_over)
    run("umount", "-l", path, seconds=min(20.0, seconds))
    raise Failure("Unavailable", _dirty(path, left_over))


def _gone(path: str, seconds: float, *options: str) -> bool:
    """Whether an unmount did it: looked at in the mount table, not in the program's word for it."""
    before = _depth(path)
    try:
        run("umount", *((*options, path)), seconds=min(seconds, left() / 2))
    except Failure:  # it hung, and is killed or cannot be
        return False
    return _depth(path) < before


def _depth(path: str) -> int:
    return sum(one.point == path for one in mounts())


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
    if any(field.startswith(job["fsname"] + "-") for line in run("lctl", "dl").out.splitlines() for field in line.split()[3:4]):
        raise Failure("Unavailable", _dirty(path, read(name)))
    _discard(name)


def _discard(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


@verb("evict")
def evict(job: Job) -> Dict[str, Any]:
    """Have the targets here drop dead clients."""
    evicted: List[str] = []
    networks = sorted({nid.rpartition("@")[2] for nid in run("lctl", "list_nids").out.split() if not nid.endswith("@lo")})
    for client in job["clients"]:
        for nid in _numeric(client, networks):
            for kind in ("mdt.{}-MDT*".format(job["fsname"]), "obdfilter.{}-OST*".format(job["fsname"])):
                if not run("lctl", "set_param", "{}.evict_client=nid:{}".format(kind, nid), seconds=20.0).rc:
                    evicted.append(nid)
    return {"evicted": sorted(set(evicted))}


def _numeric(client: Dict[str, Any], networks: List[str]) -> List[str]:
    wanted = [nid.rpartition("@")[::2] for nid in client["nids"]] or [(client["host"], network) for network in networks]
    found = resolve([name for name, _ in wanted])
    return ["{}@{}".format(address, network) for name, network in wanted for address in found.get(name, [])]
