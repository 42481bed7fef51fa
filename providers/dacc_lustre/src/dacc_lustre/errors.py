"""What it means that a program of Lustre failed: a table. mount.lustre exits with an errno, and mount(8) passes it on.

The errnos are those of ``mount_lustre.c`` and ``mkfs_lustre.c``; the verdicts are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dacc_core.sdk import AlreadyExists, Busy, DaccError, FailedCommand, InvalidRequest, NoSpace, Unavailable, Unsupported

Verdict = Literal["retry", "conflict", "fail host", "fail", "full", "busy", "quarantine"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A row: a program, its exit status (-1: any), a text that must be in its output, and what follows."""

    command: str
    rc: int
    verdict: Verdict
    says: str
    """For people: why, and what to do."""

    text: str = ""

    def covers(self, command: str, rc: int, text: str) -> bool:
        """Whether a failure is of this row."""
        return self.command == command and self.rc in (rc, -1) and self.text.lower() in text.lower()


RULES = (
    Rule("mount.lustre", 16, "retry", "the device or the node is busy with another mount: see what else is mounted there"),
    Rule("mount.lustre", 115, "retry", "the mount is still in progress: see dmesg there"),
    Rule("mount.lustre", 2, "retry", "the MGS does not know the filesystem (yet), or the MGS's NID is wrong: check nids and mgs_host"),
    Rule("mount.lustre", 5, "retry", "the MGS does not run or LNet does not reach it: lctl ping its NID, see dmesg there"),
    Rule("mount.lustre", 11, "retry", "the kernel could not do it just now: see dmesg there"),
    Rule("mount.lustre", 108, "retry", "the server was shut down or does not answer: see whether the MGS runs, lctl ping its NID"),
    Rule("mount.lustre", 110, "retry", "the server did not answer in time: lctl ping its NID, see the fabric"),
    Rule("mount.lustre", 113, "retry", "there is no route to the server: lctl ping its NID, see the fabric"),
    Rule("mount.lustre", 17, "conflict", "something is mounted there already: unmount it"),
    Rule("mount.lustre", 114, "conflict", "a target of that name runs already, on another device or mount point: see lctl dl there"),
    Rule("mount.lustre", 98, "conflict", "the MGS knows that target already: lctl lcfg_erase the filesystem if it is not live"),
    Rule("mount.lustre", 123, "retry", "the filesystem has no OST that runs: see the OSTs' hosts"),
    Rule("mount.lustre", 19, "fail host", "the Lustre modules are missing or do not fit the kernel: modprobe lustre there, drain the host"),
    Rule("mount.lustre", 6, "quarantine", "the filesystem's configuration log is bad: see dmesg on the MGS's host"),
    Rule("mount.lustre", 28, "full", "there is no room on the device"),
    Rule("mount.lustre", 30, "quarantine", "the device went read-only: replace it"),
    Rule("mount.lustre", 22, "fail", "an option or the filesystem's name is refused: check mount_options, see dmesg there"),
    Rule("mkfs.lustre", 17, "busy", "the device is mounted: find out by whom"),
    Rule("mkfs.lustre", -1, "conflict", "another filesystem is on the device: if nothing needs it, wipe it", "previously formatted"),
    Rule("mkfs.lustre", 22, "fail", "an option is refused: check mdt_mkfs_options and ost_mkfs_options, or zfs_mkfs_options"),
    Rule("mkfs.lustre", 5, "quarantine", "the device does not keep what is written: replace it"),
    Rule("mkfs.lustre", -1, "quarantine", "see dmesg there; if the device is broken, replace it"),
    Rule("wipefs", -1, "busy", "something has the device open: find out what (lsof)", "resource busy"),
    Rule("wipefs", -1, "quarantine", "the device does not let itself be wiped: see dmesg there, replace it"),
    Rule("zpool", -1, "fail host", "the pool does not come or go: see zpool status and zpool import there"),
    Rule("umount", -1, "busy", "it does not stop: see dmesg and lctl dl there"),
    Rule("lctl lcfg_erase", -1, "busy", "the MGS keeps the filesystem's logs: see lctl dl there, a target of it may still run"),
    Rule("lctl", 19, "fail host", "Lustre does not run there: see lctl dl"),
    Rule("modprobe", -1, "fail host", "the Lustre modules cannot be loaded: install those for the running kernel, drain the host"),
)

OTHER = Rule("", -1, "retry", "see dmesg there")
CLASSES: Mapping[Verdict, type[DaccError]] = {
    "retry": Unavailable,
    "fail host": Unavailable,
    "conflict": AlreadyExists,
    "busy": Busy,
    "full": NoSpace,
    "fail": InvalidRequest,
    "quarantine": Unsupported,  # not retryable: a teardown then puts the bricks into quarantine
}


def rule_for(command: str, rc: int, text: str = "") -> Rule:
    """The row of a failure: the first that covers it."""
    return next((rule for rule in RULES if rule.covers(command, rc, text)), OTHER)


def codes_to_retry() -> dict[str, list[int]]:
    """By program, the exit statuses that pass: the node helper tries those again itself, within the call."""
    made: dict[str, list[int]] = {}
    for rule in RULES:
        if rule.verdict == "retry":
            made.setdefault(rule.command, []).append(rule.rc)
    return made


def error_of(failed: FailedCommand) -> DaccError:
    """The error that a failed program is."""
    rule = rule_for(failed.command, failed.returncode, failed.output)
    return CLASSES[rule.verdict].from_text(f"{failed.why()}: {rule.says}")
