"""Partition the disks of a storage host, once and for all: a slice for MDTs and one for OSTs, and on one disk the MGT."""

import os
from typing import Any, Dict, List

from dacc_core.sdk.node.kit import PATH, Job, NodeError, crash_point, locked, must, run, time_left, verb

from .argv import format_mgt, wipe
from .common import findmnt_table
from .devices import in_use, is_block, partitions, signature, slices
from .pools import export

MIB = 1 << 20


def partition_commands(job: Job, disk: str) -> List[List[str]]:
    """The commands for a disk."""
    ends = [1]
    words = ["parted", "-s", disk, "mklabel", "gpt"]
    names = [("dacc-mgt", job["mgt_slice"])] if disk == job["mgt_on"] else []
    for name, size in [*names, ("dacc-mdt", job["mdt_slice"])]:
        ends.append(ends[-1] + max(1, size // MIB))
        words += ["mkpart", name, "{}MiB".format(ends[-2]), "{}MiB".format(ends[-1])]
    return [wipe(disk), [*words, "mkpart", "dacc-ost", "{}MiB".format(ends[-1]), "100%"]]


@verb("prepare")
def prepare(job: Job) -> Dict[str, Any]:
    """Say what is to be done with each disk, and with ``yes`` do it. Refuses a disk in use, and one with data unless it is named."""
    with locked("lustre-prepare"):
        plans = [_look(job, disk) for disk in job["disks"]]
        if job["yes"] and not any(one["refused"] for one in plans):
            for one in plans:
                _do(job, one)
        return {"disks": plans}


def _look(job: Job, disk: str) -> Dict[str, Any]:
    made = {"disk": disk, "state": "", "refused": "", "commands": []}  # type: Dict[str, Any]
    if not is_block(disk):
        return dict(made, refused="{} is no block device: see whether the disk is there".format(disk))
    kinds = [one["kind"] for one in slices(disk, findmnt_table())]
    if "mdt" in kinds and "ost" in kinds and (disk != job["mgt_on"] or "mgt" in kinds):
        return dict(made, state="ready", commands=_mgt_commands(job, disk))
    found = signature(disk).get("TYPE", signature(disk).get("PTTYPE", ""))
    content = found or ("partitions" if partitions(disk) else "")
    if in_use(disk):
        return dict(made, refused="{} is in use ({}): a mount or another driver holds it".format(disk, content or "unknown"))
    if content and disk not in job["wipe"]:
        return dict(made, refused="{0} has data ({1}): if nothing needs it, name it: --wipe {0}".format(disk, content))
    return dict(made, state="to partition", commands=partition_commands(job, disk) + _mgt_commands(job, disk))


def _mgt_commands(job: Job, disk: str) -> List[List[str]]:
    if disk != job["mgt_on"]:
        return []
    found = [one for one in slices(disk, findmnt_table()) if one["kind"] == "mgt"]
    if found and found[0]["label"] == "MGS":
        return []
    return [format_mgt(found[0]["path"] if found else "{} (dacc-mgt)".format(disk), job["backend"])]


def _do(job: Job, plan: Dict[str, Any]) -> None:
    disk = plan["disk"]
    if plan["state"] == "to partition":
        for path in partitions(disk):
            if is_block(path):
                must(path, *wipe(path))
        for command in partition_commands(job, disk):
            must(disk, *command, seconds=time_left())
        if any(os.path.exists(folder + "/udevadm") for folder in PATH.split(":")):
            run("udevadm", "settle", seconds=30.0)
    crash_point(job, "partitioned")
    found = {one["kind"]: one for one in slices(disk, findmnt_table())}
    if "mdt" not in found or "ost" not in found:
        raise NodeError("Unavailable", "{} shows no partitions after parted: see dmesg, and partprobe {}".format(disk, disk))
    if disk == job["mgt_on"]:
        _format_mgt(found["mgt"], job["backend"])
    plan["state"] = "ready"


def _format_mgt(found: Dict[str, Any], backend: str) -> None:
    if found["label"] == "MGS":
        return
    if found["content"]:
        raise NodeError("AlreadyExists", "{} holds {}: wipe it by hand (wipefs -a)".format(found["path"], found["content"]))
    must(found["path"], *format_mgt(found["path"], backend), seconds=time_left())
    if backend == "zfs":
        export("MGS")
