"""The facts that the node helper reports of a host, with names; and what is wrong with a host before anything is done. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from dacc_core.sdk import AlreadyExists, Unavailable

from .reports import HostReport, SliceReport
from .targets import LustreTarget

LABEL = re.compile(r"([A-Za-z0-9_-]{1,8})([-:=])((?:MDT|OST)[0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Slice:
    """A partition of a brick."""

    device: str
    path: str
    kind: str
    partuuid: str = ""
    label: str = ""
    content: str = ""
    mounted: tuple[str, ...] = ()
    size: int = 0

    @property
    def fsname(self) -> str:
        """The filesystem that it is a part of, empty if it is of none."""
        found = LABEL.fullmatch(self.label)
        return found[1] if found else ""

    @property
    def target(self) -> str:
        """``MDT0000``, as its label has it."""
        found = LABEL.fullmatch(self.label)
        return found[3] if found else ""

    @property
    def started_before(self) -> bool:
        """Whether the MGS knows it, so that there may be data."""
        found = LABEL.fullmatch(self.label)
        return found is not None and found[2] != ":"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What one look at a host found."""

    host: str
    slices: tuple[Slice, ...] = ()
    missing: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    """What of the filesystem is mounted by us: names of targets, and ``client``."""

    nids: tuple[str, ...] = ()
    resolved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mgt: Slice | None = None
    health: str = "healthy"
    boot: str = ""

    def slice_of(self, target: LustreTarget) -> Slice | None:
        """The slice that a target is (to be) on."""
        found = [one for one in self.slices if one.device == target.device and one.kind == target.kind]
        return found[0] if len(found) == 1 else None


def facts_of(host: str, report: HostReport) -> HostFacts:
    """The facts of an answer to ``probe``."""
    return HostFacts(
        host=host,
        slices=tuple(map(_slice, report.slices)),
        missing=tuple(report.missing),
        running=tuple(report.running),
        nids=tuple(report.nids),
        resolved={name: tuple(addresses) for name, addresses in report.resolved.items()},
        mgt=_slice(report.mgt) if report.mgt else None,
        health=report.health,
        boot=report.boot,
    )


def _slice(report: SliceReport) -> Slice:
    return Slice(**{**msgspec.structs.asdict(report), "mounted": tuple(report.mounted)})


def check_health(facts: HostFacts) -> None:
    """Raise Unavailable for a host on which nothing should be begun."""
    if facts.health and facts.health != "healthy":
        raise Unavailable(why=f"host {facts.host}: Lustre's health_check says {facts.health!r}: see dmesg there, reboot it after an LBUG")


def check_slice(facts: HostFacts, target: LustreTarget) -> Slice:
    """The slice of a target. Raises Unavailable when the brick is gone or was never prepared."""
    if target.device in facts.missing:
        text = f"host {facts.host}: {target.device} is no block device: see whether the disk is there, nothing is formatted meanwhile"
        raise Unavailable(why=text)
    found = facts.slice_of(target)
    if found is None:
        why = f"host {facts.host}: {target.device} has no partition named dacc-{target.kind}: run dacc lustre prepare {facts.host}"
        raise Unavailable(why=why)
    return found


def foreign(facts: HostFacts, found: Slice, fsname: str) -> AlreadyExists:
    """The error for a slice with something else on it."""
    what = found.label or found.content
    why = f"host {facts.host}: {found.path} holds {what}, which is not of {fsname}: if nothing needs it, wipe it by hand (wipefs -a)"
    return AlreadyExists(why=why)
