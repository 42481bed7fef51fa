"""From facts to the steps that are missing. Create, restore and delete are this with different targets. Pure.

Nothing is remembered: labels on the disks and mounts say how far a former call came, so a plan is right from every partial state,
and it is empty when nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dacc_core.sdk import AlreadyExists, NotFound

from . import lnet
from .layout import arguments, clip, parse_component
from .plan import GONE, KEPT, LOOKED, Phase, Plan, phase
from .probe import HostFacts, Slice, check_health, check_slice, foreign
from .settings import LustreSettings
from .targets import LustreLayout, LustreTarget

Facts = Mapping[str, HostFacts]
Uuids = Mapping[str, str]
"""By ``host:device:kind``, the PARTUUID that a slice had when the filesystem was made."""


def key_of(target: LustreTarget) -> str:
    """The key of a target in :data:`Uuids`."""
    return f"{target.host}:{target.device}:{target.kind}"


def uuids_of(layout: LustreLayout, facts: Facts) -> dict[str, str]:
    """The PARTUUIDs of all slices."""
    return {key_of(one): check_slice(facts[one.host], one).partuuid for one in layout.targets}


def create(layout: LustreLayout, facts: Facts, settings: LustreSettings, owner: Mapping[str, Any]) -> Plan:
    """What is missing until the filesystem serves. Raises Unavailable (a host is not fit), AlreadyExists (a brick holds something else)."""
    _check(layout, facts)
    found = {one: check_slice(facts[one.host], one) for one in layout.targets}
    blank = [one for one in layout.targets if _must_format(layout, facts[one.host], one, found[one])]
    known = any(one.started_before for one in found.values()) or any(facts[host].running for host in layout.hosts)
    uuids = uuids_of(layout, facts)
    last = {**_look(layout, facts, settings), **owner, "layout": _file_layout(layout, settings), "spread": _spreads(layout, settings)}
    phases = (
        *_mgs(layout, settings, erase=not known),
        *_nodemap(layout, facts, settings),
        *phase("format", "format", _by_host(blank, uuids), settings.format_seconds, undo="wipe"),
        *_starts(layout, found, uuids, settings),
        *phase("tune", "tune", {layout.mgs_host: {"parameters": parameters(layout, facts, settings)}}, 60.0, undo="mgs-erase"),
        *phase("settle", "settle", {layout.primary.host: last}, _settling(settings), tries=settings.mount_tries, undo=GONE),
    )
    return Plan(layout.fsname, phases)


def restore(layout: LustreLayout, facts: Facts, settings: LustreSettings, uuids: Uuids) -> Plan:
    """What is missing until a filesystem serves again that was made before. Never formats. Raises NotFound when a target is gone."""
    _check(layout, facts)
    found = {one: check_slice(facts[one.host], one) for one in layout.targets}
    for one, where in found.items():
        _must_be_there(layout, one, where, uuids)
    starts = _starts(layout, found, uuids, settings)
    mgt = facts[layout.mgs_host].mgt
    if not starts and mgt and mgt.mounted:
        return Plan(layout.fsname)
    look = {layout.primary.host: _look(layout, facts, settings)}
    last = phase("verify", "whole", look, _settling(settings), tries=settings.mount_tries, undo=GONE)
    return Plan(layout.fsname, (*_mgs(layout, settings, erase=False), *starts, *last))


def delete(layout: LustreLayout, facts: Facts, settings: LustreSettings) -> Plan:
    """What is missing until nothing of the filesystem is left on the hosts in ``facts``, which may lack those that are gone.

    It goes by what is there, not by the layout. The logs on the MGS go while slices still have their labels, so a call after a crash
    knows that they may be there.
    """
    running = {host: one.running for host, one in facts.items()}
    labelled = [host for host, one in facts.items() if any(part.fsname == layout.fsname for part in one.slices)]
    if not labelled and not any(running.values()):
        return Plan(layout.fsname)
    last = {host: {"disks": _disks(layout, host)} for host in facts if _disks(layout, host)}
    erase = {layout.mgs_host: {"parameters": parameter_names(layout, settings)}} if layout.mgs_host in facts else {}
    phases = (
        *_stops("unmount the look", running, lambda name: name == "client", settings),
        *_stops("stop MDTs", running, lambda name: name.startswith("MDT") and name != "MDT0000", settings),
        *_stops("stop MDT0000", running, lambda name: name == "MDT0000", settings),
        *_stops("stop OSTs", running, lambda name: name.startswith("OST"), settings),
        *phase("erase", "mgs-erase", erase, settings.start_seconds, tries=settings.mount_tries),
        *phase("wipe", "wipe", last, settings.format_seconds),
    )
    return Plan(layout.fsname, phases)


def left_behind(layout: LustreLayout, facts: Facts) -> AlreadyExists | None:
    """After a delete: the error for a brick that holds something else, if there is one."""
    for one in facts.values():
        for part in one.slices:
            if part.kind in ("mdt", "ost") and (part.label or part.content):
                return foreign(one, part, layout.fsname)
    return None


def _check(layout: LustreLayout, facts: Facts) -> None:
    for host in dict.fromkeys((*layout.hosts, layout.mgs_host)):
        check_health(facts[host])


def _must_format(layout: LustreLayout, facts: HostFacts, target: LustreTarget, found: Slice) -> bool:
    """Whether a slice is to be formatted: a target that never ran has no data. Raises AlreadyExists."""
    if not found.label and not found.content:
        return True
    if found.fsname != layout.fsname or (found.target != target.name and found.started_before):
        raise foreign(facts, found, f"{layout.fsname}-{target.name}")
    return not found.started_before and not found.mounted


def _must_be_there(layout: LustreLayout, target: LustreTarget, found: Slice, uuids: Uuids) -> None:
    if (found.fsname, found.target) != (layout.fsname, target.name):
        what = found.label or found.content or "nothing"
        raise NotFound(why=f"host {target.host}: {found.path} holds {what} instead of {layout.fsname}-{target.name}: its data is lost")
    wanted = uuids.get(key_of(target), found.partuuid)
    if wanted != found.partuuid:
        raise NotFound(why=f"host {target.host}: {found.path} has PARTUUID {found.partuuid} and had {wanted}: put the former disk back")


def _mgs(layout: LustreLayout, settings: LustreSettings, *, erase: bool) -> tuple[Phase, ...]:
    steps = {layout.mgs_host: {"erase": erase}}
    return phase("MGT", "mgs-start", steps, settings.start_seconds, tries=settings.mount_tries, undo=KEPT)


def _nodemap(layout: LustreLayout, facts: Facts, settings: LustreSettings) -> tuple[Phase, ...]:
    """Before any format: a filesystem that strangers can mount, or its own hosts cannot, is not to be made."""
    nids = [nid for host in layout.hosts for nid in lnet.host_nids(facts[host], settings)]
    steps = {layout.mgs_host: {"nodemap": settings.nodemap, "nids": nids}} if settings.nodemap else {}
    return phase("nodemap", "nodemap", steps, settings.probe_seconds, undo=LOOKED)


def _starts(layout: LustreLayout, found: Mapping[LustreTarget, Slice], uuids: Uuids, settings: LustreSettings) -> tuple[Phase, ...]:
    """MDT0000 holds the root, so it is first; OSTs register after MDTs (Lustre Operations Manual, "Starting Lustre")."""
    down = [one for one in layout.targets if not found[one].mounted]
    groups = {
        "start MDT0000": [one for one in down if one.name == "MDT0000"],
        "start MDTs": [one for one in down if one.kind == "mdt" and one.name != "MDT0000"],
        "start OSTs": [one for one in down if one.kind == "ost"],
    }
    options = {"tries": settings.mount_tries, "undo": "stop"}
    made = [phase(name, "start", _by_host(some, uuids), settings.start_seconds, **options) for name, some in groups.items()]  # type: ignore[arg-type]
    return tuple(one for some in made for one in some)


def _stops(name: str, running: Mapping[str, Sequence[str]], wanted: Any, settings: LustreSettings) -> tuple[Phase, ...]:
    names = {host: sorted(filter(wanted, some), reverse=True) for host, some in running.items()}
    return phase(name, "stop", {host: {"names": some} for host, some in names.items() if some}, settings.start_seconds)


def _by_host(targets: Iterable[LustreTarget], uuids: Uuids) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for one in targets:
        entry = {"kind": one.kind, "index": one.index, "name": one.name, "device": one.device, "partuuid": uuids.get(key_of(one), "")}
        made.setdefault(one.host, {"targets": []})["targets"].append(entry)
    return made


def _look(layout: LustreLayout, facts: Facts, settings: LustreSettings) -> dict[str, Any]:
    groups = lnet.mgs_nids(layout, facts, settings)
    return {
        "source": lnet.source(groups, layout.fsname),
        "options": list(lnet.mount_options(settings)),
        "mdts": len(layout.mdts),
        "osts": len(layout.osts),
        "settle": settings.settle_seconds,
    }


def _settling(settings: LustreSettings) -> float:
    return settings.settle_seconds + settings.mount_seconds + 30.0


def _file_layout(layout: LustreLayout, settings: LustreSettings) -> list[str]:
    return arguments(clip([parse_component(text) for text in settings.layout], len(layout.osts), settings.data_on_mdt))


def _spreads(layout: LustreLayout, settings: LustreSettings) -> bool:
    return settings.spread_directories and len(layout.mdts) > 1


def _disks(layout: LustreLayout, host: str) -> list[str]:
    return [one.device for one in layout.osts if one.host == host]


def parameters(layout: LustreLayout, facts: Facts, settings: LustreSettings) -> list[str]:
    """What the MGS is told: ``NAME=VALUE``."""
    pairs = {name.replace("%f", layout.fsname): str(value).replace("%f", layout.fsname) for name, value in settings.parameters.items()}
    if settings.root_squash:
        servers = [nid for host in layout.hosts for nid in facts[host].nids]
        pairs[f"mdt.{layout.fsname}-MDT*.root_squash"] = settings.root_squash
        pairs[f"mdt.{layout.fsname}-MDT*.nosquash_nids"] = " ".join(servers)
    return [f"{name}={value}" for name, value in pairs.items()]


def parameter_names(layout: LustreLayout, settings: LustreSettings) -> list[str]:
    """What the MGS is told to forget."""
    squash = ("mdt.%f-MDT*.root_squash", "mdt.%f-MDT*.nosquash_nids") if settings.root_squash else ()
    return [name.replace("%f", layout.fsname) for name in (*settings.parameters, *squash)]
