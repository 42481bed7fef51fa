"""The servers of a filesystem: format, start, stop, wipe; and the MGT, which belongs to the host and stays."""

import os
import re
import time
from contextlib import suppress
from typing import Any, Dict, List, Optional, Sequence

from dacc_core.sdk.node.kit import CommandFailed, Job, NodeError, all_at_once, crash_point, locked, must, run, time_left, verb
from dacc_core.sdk.node.mounts import MountEntry

from .argv import (
    MGS_POINT,
    RUN_DIRECTORY,
    discard_blocks,
    erase_logs,
    format_target,
    mount_target,
    new_label,
    set_parameters,
    target_point,
    unmount_target,
    unset_parameters,
    wipe,
)
from .common import attempts, findmnt_at, findmnt_table
from .devices import find_mgt, find_slice, in_use, signature, slices
from .pools import ZFS, export, imported, mountable, retire

LABEL = re.compile(r"([A-Za-z0-9_-]{1,8})([-:=])((?:MDT|OST)[0-9a-f]{4})")
MGS_TEXT = "the MGS of this host"


def state_of(label: str, fsname: str, name: str = "") -> str:
    """What a label says: ``blank``, ``new`` (ours, never started), ``stale`` (the same, as another target), ``ours``, or ``foreign``."""
    found = LABEL.fullmatch(label)
    if not label:
        return "blank"
    if not found or found.group(1) != fsname:
        return "foreign"
    right = name in ("", found.group(3))
    if found.group(2) == ":":
        return "new" if right else "stale"
    return "ours" if right else "foreign"


@verb("format")
def format_targets(job: Job) -> None:
    """Format targets that are not there yet. Raises AlreadyExists for a slice with anything else on it, Busy for one in use."""
    must("lustre", "modprobe", "lustre")  # before mounts in parallel: they would race to load it (shine issue 170)
    all_at_once(lambda target: _format(job, target), job["targets"])


def _format(job: Job, target: Dict[str, Any]) -> None:
    with locked("lustre-" + os.path.realpath(target["device"]) + "." + target["kind"]):
        found = find_slice(target["device"], target["kind"], target.get("partuuid", ""), findmnt_table())
        if not _to_format(job, target, found):
            return
        clean(found, job["discard"])
        crash_point(job, "cleaned")
        must(found["path"], *format_target(job, target, found["path"]), seconds=time_left())
        if job["backend"] == "zfs":
            export(new_label(job["fsname"], target["name"]))
        crash_point(job, "formatted")
        label = signature(found["path"]).get("LABEL", "")
        if state_of(label, job["fsname"], target["name"]) != "new":
            text = "{} has label {!r} after mkfs.lustre: look at the device, it does not keep what is written"
            raise NodeError("Unavailable", text.format(found["path"], label))


def _to_format(job: Job, target: Dict[str, Any], found: Dict[str, Any]) -> bool:
    state = state_of(found["label"], job["fsname"], target["name"])
    if state == "ours":
        return False
    if state == "foreign" or (state == "blank" and found["content"]):
        raise NodeError("AlreadyExists", _occupied(found))
    if _taken(found):
        if state == "new" and found["mounted"] == [target_point(job["fsname"], target["name"])]:
            return False
        raise NodeError("Busy", "{} is in use though it has no filesystem of {}: find out by whom".format(found["path"], job["fsname"]))
    return True


def _taken(found: Dict[str, Any]) -> bool:
    """Whether a slice, whose lock we have, is mounted or held; a pool of ours that is only imported is neither."""
    if found["content"] == ZFS and imported(found["label"]):
        return bool(found["mounted"])
    return bool(found["mounted"]) or in_use(found["path"])


def _occupied(found: Dict[str, Any]) -> str:
    what = found["label"] or found["content"]
    text = "{} holds {}, which is not of this filesystem: if nothing needs it, wipe it by hand (wipefs -a {})"
    return text.format(found["path"], what, found["path"])


def clean(found: Dict[str, Any], discard: bool) -> None:
    """Remove what is on a slice. Some devices have nothing to discard."""
    retire(found)
    must(found["path"], *wipe(found["path"]))
    if discard:
        run(*discard_blocks(found["path"]), seconds=time_left())


@verb("start")
def start_targets(job: Job) -> None:
    """Start targets that do not run yet."""
    all_at_once(lambda target: _start(job, target), job["targets"])


def _start(job: Job, target: Dict[str, Any]) -> None:
    point = target_point(job["fsname"], target["name"])
    with locked("lustre-" + os.path.realpath(target["device"]) + "." + target["kind"]):
        found = find_slice(target["device"], target["kind"], target.get("partuuid", ""), findmnt_table())
        if state_of(found["label"], job["fsname"], target["name"]) not in ("new", "ours"):
            text = "{} holds {!r} instead of {}-{}: the filesystem is not there any more"
            raise NodeError("NotFound", text.format(found["path"], found["label"] or found["content"], job["fsname"], target["name"]))
        if point not in found["mounted"]:
            _start_at(job, found, point, "{}-{}".format(job["fsname"], target["name"]))
        crash_point(job, "started")


def _start_at(job: Job, found: Dict[str, Any], point: str, what: str) -> None:
    if _taken(found):
        where = ", ".join(found["mounted"]) or "in another mount namespace, or by another driver"
        raise NodeError("Busy", "{} is in use ({}): unmount it there".format(found["path"], where))
    os.makedirs(point, 0o700, exist_ok=True)
    os.chmod(RUN_DIRECTORY, 0o700)
    source = mountable(found, what)
    attempts(job, "mount.lustre", lambda: _mount_target(source, point, what))


def _mount_target(source: str, point: str, what: str) -> None:
    done = run(*mount_target(source, point), seconds=time_left())
    if done.returncode and findmnt_at(point) is None:
        raise CommandFailed("mount.lustre", what, done)


@verb("stop")
def stop_targets(job: Job) -> None:
    """Stop the named targets that run, all at once."""
    points = [target_point(job["fsname"], name) for name in job["names"]]
    all_at_once(_stop, [one for one in findmnt_table() if one.point in points])
    for point in points:
        with suppress(OSError):  # gone, or another filesystem's business
            os.rmdir(point)


def _stop(target: MountEntry) -> None:
    done = run(*unmount_target(target.point), seconds=time_left())
    if done.returncode and findmnt_at(target.point) is not None:
        raise CommandFailed("umount", target.point, done)
    if not target.source.startswith("/"):
        export(target.source.partition("/")[0])


@verb("wipe")
def wipe_targets(job: Job) -> None:
    """Clean every slice that is the filesystem's. Raises AlreadyExists for what is not, after all others are clean."""
    _drained(job["fsname"])
    outcome: List[NodeError] = []
    all_at_once(lambda disk: _wipe_brick(job, disk, outcome), job["disks"])
    with suppress(OSError):
        os.rmdir(os.path.join(RUN_DIRECTORY, job["fsname"]))
    if outcome:
        raise outcome[0]


def _drained(fsname: str) -> None:
    """Wait until the kernel has let go of the filesystem's devices: an unmount may return before."""
    most = min(60.0, time_left() / 2)
    end = time.monotonic() + most
    while any(field.startswith(fsname + "-") for line in run("lctl", "dl").stdout.splitlines() for field in line.split()[3:4]):
        if time.monotonic() >= end:
            text = "lctl dl still shows devices of {} after {:.0f} s: see whether a client on this host has it mounted"
            raise NodeError("Busy", text.format(fsname, most))
        time.sleep(0.2)


def _wipe_brick(job: Job, disk: str, outcome: List[NodeError]) -> None:
    for kind in ("mdt", "ost"):
        with locked("lustre-" + os.path.realpath(disk) + "." + kind):
            for found in slices(disk, findmnt_table()):
                if found["kind"] == kind:
                    problem = _wipe(job, found)
                    outcome += [problem] if problem else []


def _wipe(job: Job, found: Dict[str, Any]) -> Optional[NodeError]:
    state = state_of(found["label"], job["fsname"])
    if state == "foreign" or (state == "blank" and found["content"]):
        return NodeError("AlreadyExists", _occupied(found))
    if state == "blank":
        return None
    if _taken(found):
        where = ", ".join(found["mounted"]) or "perhaps a client's mount in another namespace"
        return NodeError("Busy", "{} is still in use ({}): unmount it there".format(found["path"], where))
    clean(found, job["discard"])
    crash_point(job, "wiped")
    left_over = signature(found["path"])
    if left_over.get("LABEL") or left_over.get("TYPE"):
        return NodeError("Unsupported", "{} still holds {} after wipefs: replace the device".format(found["path"], left_over))
    return None


@verb("mgs-start")
def mgs_start(job: Job) -> None:
    """See that the MGT runs; with ``erase`` remove what it knows of a filesystem that has no target yet."""
    with locked("lustre-mgs"):
        _mgs_start(job)
        if job["erase"]:
            _erase(job)


def _mgs_start(job: Job) -> None:
    table = findmnt_table()
    found = find_mgt(job, table, [one for disk in job.get("disks", []) for one in slices(disk, table)])
    if found is None or found["label"] != "MGS":
        where = "no partition named dacc-mgt" if found is None else "{} with label {!r}, not MGS".format(found["path"], found["label"])
        raise NodeError("Unavailable", "this host has {}: run dacc lustre prepare for it, or set mgs_device".format(where))
    if found["mounted"]:
        return
    if _taken(found):
        raise NodeError("Busy", "the MGT {} is in use by something else: unmount it there".format(found["path"]))
    os.makedirs(MGS_POINT, 0o700, exist_ok=True)
    source = mountable(found, "MGS")
    attempts(job, "mount.lustre", lambda: _mount_target(source, MGS_POINT, MGS_TEXT))


@verb("mgs-erase")
def mgs_erase(job: Job) -> None:
    """Remove a filesystem from the MGS, its parameters too."""
    with locked("lustre-mgs"):
        _mgs_start(job)
        if job["parameters"]:
            run(*unset_parameters(job["parameters"]))  # since Lustre 2.17.52 lcfg_erase does it; that one is not there is fine
        _erase(job)


def _erase(job: Job) -> None:
    done = run(*erase_logs(job["fsname"]))
    if done.returncode and done.returncode != 2 and "No such file" not in done.stderr + done.stdout:
        raise CommandFailed("lctl lcfg_erase", job["fsname"], done)
    crash_point(job, "erased")


@verb("tune")
def tune(job: Job) -> None:
    """Set parameters for all clients and servers of the filesystem."""
    pairs: Sequence[str] = job["parameters"]
    if pairs:
        must(MGS_TEXT, *set_parameters(list(pairs)))
