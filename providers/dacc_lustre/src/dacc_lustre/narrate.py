"""A plan as commands for people: what ``dacc plan`` shows. The node helper makes its commands with the same functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dacc_core.sdk import PlanCreate, PlannedStep

from . import reconcile
from .node import argv
from .node.pools import ZFS
from .plan import LustreStep, Phase
from .probe import HostFacts, Slice
from .settings import LustreSettings
from .targets import LustreLayout
from .volumes import Servers

Command = tuple[str, ...]
Facts = Mapping[str, HostFacts]
OWNER = {"owner": 0, "group": 0, "mode": 0o700}


def create(request: PlanCreate, settings: LustreSettings) -> Sequence[PlannedStep]:
    """The steps of a create."""
    servers = Servers(request.context, request.volume, settings)
    facts = servers.facts() if request.look else supposed(servers.layout, settings)
    plan = reconcile.create(servers.layout, facts, settings, OWNER)
    formatting = servers.formatting(facts)
    return [_planned(phase, step, facts, {**formatting, "fsname": plan.fsname}) for phase in plan.phases for step in phase.steps]


def supposed(layout: LustreLayout, settings: LustreSettings) -> dict[str, HostFacts]:
    """Facts of hosts as ``dacc lustre prepare`` leaves them, with NIDs as the settings write them, names unresolved."""
    return {host: _supposed(host, layout, settings) for host in dict.fromkeys((*layout.hosts, layout.mgs_host))}


def _supposed(host: str, layout: LustreLayout, settings: LustreSettings) -> HostFacts:
    disks = [one.device for one in layout.osts if one.host == host]
    slices = [Slice(disk, f"{disk}:dacc-{kind}", kind) for disk in disks for kind in ("mdt", "ost")]
    network = settings.networks[0] if settings.networks else "tcp"
    nids = tuple(nid.replace("%h", host) for nid in settings.nids) or (f"{host}@{network}",)
    names = {nid.rpartition("@")[0]: (nid.rpartition("@")[0],) for nid in nids}
    content = ZFS if settings.backend == "zfs" else "ext4"
    mgt = Slice("", settings.mgs_device or "dacc-mgt", "mgt", label="MGS", content=content)
    return HostFacts(host, tuple(slices), nids=nids, resolved=names, mgt=mgt)


def _planned(phase: Phase, step: LustreStep, facts: Facts, job: Mapping[str, Any]) -> PlannedStep:
    made = COMMANDS[phase.verb](step, facts[step.host], job)
    return PlannedStep(phase=phase.name, host=step.host, commands=tuple(made), seconds=phase.seconds, undo=phase.undo)


def _start_mgt(step: LustreStep, facts: HostFacts, job: Mapping[str, Any]) -> Iterator[Command]:
    if facts.mgt and not facts.mgt.mounted:
        yield ("mkdir", "-p", argv.MGS_POINT)
        yield from _mount(facts.mgt, "MGS", "MGS", argv.MGS_POINT, job)
    if step.arguments["erase"]:
        yield tuple(argv.erase_logs(job["fsname"]))


def _nodemap(step: LustreStep, facts: HostFacts, job: Mapping[str, Any]) -> Iterator[Command]:
    yield from (tuple(argv.look_up_nid(nid)) for nid in step.arguments["nids"])


def _format(step: LustreStep, facts: HostFacts, job: Mapping[str, Any]) -> Iterator[Command]:
    yield ("modprobe", "lustre")
    for target in step.arguments["targets"]:
        path = _slice(facts, target).path
        yield tuple(argv.wipe(path))
        if job["discard"]:
            yield tuple(argv.discard_blocks(path))
        yield tuple(argv.format_target(dict(job), target, path))
        if job["backend"] == "zfs":
            yield tuple(argv.export_pool(argv.new_label(job["fsname"], target["name"])))


def _start(step: LustreStep, facts: HostFacts, job: Mapping[str, Any]) -> Iterator[Command]:
    for target in step.arguments["targets"]:
        fsname, name = job["fsname"], target["name"]
        point = argv.target_point(fsname, name)
        yield ("mkdir", "-p", point)
        yield from _mount(_slice(facts, target), argv.new_label(fsname, name), f"{fsname}-{name}", point, job)


def _mount(found: Slice, new: str, service: str, point: str, job: Mapping[str, Any]) -> Iterator[Command]:
    """Start a target that is called ``new`` until it starts for the first time, and ``service`` from then on. What was started keeps its
    backend; the rest has just been formatted."""
    source, started = found.path, found.label == service
    on_zfs = found.content == ZFS if started else job["backend"] == "zfs"
    if on_zfs:
        yield tuple(argv.import_pool(found.path, service if started else new, service))
        source = argv.dataset(service)
    yield tuple(argv.mount_target(source, point))


def _tune(step: LustreStep, facts: HostFacts, job: Mapping[str, Any]) -> Iterator[Command]:
    if step.arguments["parameters"]:
        yield tuple(argv.set_parameters(list(step.arguments["parameters"])))


def _settle(step: LustreStep, facts: HostFacts, job: Mapping[str, Any]) -> Iterator[Command]:
    wished, point = step.arguments, argv.target_point(job["fsname"], "client")
    yield ("mkdir", "-p", point)
    yield tuple(argv.mount_client(wished["source"], point, list(wished["options"])))
    if wished["layout"]:
        yield tuple(argv.set_layout(list(wished["layout"]), point))
    if wished["spread"]:
        yield tuple(argv.spread_directories(point))
    yield ("install", "-d", "-m", f"{wished['mode']:o}", "-o", str(wished["owner"]), "-g", str(wished["group"]), f"{point}/global")
    yield ("umount", point)


def _slice(facts: HostFacts, target: Mapping[str, Any]) -> Slice:
    return next(one for one in facts.slices if (one.device, one.kind) == (target["device"], target["kind"]))


COMMANDS = {"mgs-start": _start_mgt, "nodemap": _nodemap, "format": _format, "start": _start, "tune": _tune, "settle": _settle}
