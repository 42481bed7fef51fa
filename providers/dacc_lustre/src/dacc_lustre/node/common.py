"""What the verbs share beyond the kit: repeated attempts, the mount table as findmnt shows it, Lustre's parameters."""

import json
import time
from typing import Any, Callable, Dict, List, Optional

from dacc_core.sdk.node.kit import CommandFailed, Job, run, time_left
from dacc_core.sdk.node.mounts import MountEntry


def attempts(job: Job, command: str, work: Callable[[], None]) -> None:
    """Do the work, and again after errors of which the provider's table says that they pass."""
    retry = job["retry"]
    codes = retry["codes"].get(command, [])
    for number in range(1, retry["tries"] + 1):
        try:
            return work()
        except CommandFailed as error:
            wait = retry["wait"] * number
            if error.result.returncode not in codes or number == retry["tries"] or time_left() <= wait + 1.0:
                raise
            time.sleep(wait)
    return None


def findmnt_table() -> List[MountEntry]:
    """What is mounted here, in order. By a program, so that on another filesystem something can stand in for Lustre."""
    result = run("findmnt", "-J", "-l", "-o", "TARGET,SOURCE,FSTYPE,OPTIONS,MAJ:MIN", seconds=20.0)
    rows = json.loads(result.stdout)["filesystems"] if result.stdout.strip() else []
    entries = []
    while rows:  # some versions nest them all the same
        row = rows.pop(0)
        entries.append(_entry(row))
        rows = row.get("children", []) + rows
    return entries


def _entry(row: Dict[str, Any]) -> MountEntry:
    options, device = (row["options"] or "").split(","), (row.get("maj:min") or "").strip()
    return MountEntry(row["target"], row["source"] or "", row["fstype"] or "", options, device)


def findmnt_at(path: str) -> Optional[MountEntry]:
    """The topmost mount at a path."""
    here = [entry for entry in findmnt_table() if entry.point == path]
    return here[-1] if here else None


def parameter(name: str) -> List[str]:
    """The values of a Lustre parameter here, none if there is no such."""
    result = run("lctl", "get_param", "-n", name, seconds=20.0)
    return [] if result.returncode else [line.strip() for line in result.stdout.splitlines() if line.strip()]
