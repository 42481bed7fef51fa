"""What an operator has to know of a host before it serves."""

import os
from typing import Any, Dict

from dacc_core.sdk.node.kit import Job, NodeError, read, run, verb

from .common import findmnt_table, parameter
from .devices import find_mgt, is_block, nids, resolve, slices

TUNING = "/sys/module/ko2iblnd/parameters"


@verb("check")
def check(job: Job) -> Dict[str, Any]:
    """The facts; what cannot be had is said in ``errors``, since one broken thing must not hide the others."""
    errors = []
    loaded = run("modprobe", "lustre")
    if loaded.returncode:
        errors.append("modprobe lustre failed ({}): install the Lustre modules for this kernel".format(loaded.why()))
    if job["backend"] == "zfs" and job.get("disks") and run("modprobe", "osd_zfs").returncode:
        errors.append("modprobe osd_zfs failed: install OpenZFS and Lustre's osd-zfs for this kernel")
    table = findmnt_table()
    disks = job.get("disks", [])
    found = {"nids": [], "mgt": None, "slices": [one for disk in disks for one in slices(disk, table)]}  # type: Dict[str, Any]
    try:
        found["nids"] = nids()
        found["mgt"] = find_mgt(job, table, found["slices"])
    except NodeError as error:
        errors.append(str(error))
    found.update(
        missing=[disk for disk in disks if not is_block(disk)],
        running=[],
        resolved=resolve(job.get("names", [])),
        health=" ".join(parameter("health_check")),
        version=" ".join(parameter("version")),
        boot=read("/proc/sys/kernel/random/boot_id"),
        omni_path=any(name.startswith("hfi") for name in _list("/sys/class/infiniband")),
        tuning={name: read("{}/{}".format(TUNING, name)) for name in _list(TUNING)},
        errors=errors,
    )
    return found


def _list(path: str) -> "list[str]":
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
