"""The servers' side: look at the hosts, plan what is missing, do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dacc_core.sdk import Context, HostUnreachable, NodeAnswers, NodeResult, NoSpace, Unavailable, Volume

from . import lnet, reconcile, remote
from .plan import Plan
from .probe import HostFacts, facts_of
from .reports import SHAPES, EvictedClients, HostReport, RoomReport
from .settings import LustreSettings
from .targets import LustreLayout, layout_of

Shape = TypeVar("Shape", bound=NodeResult)
LAID_OUT = ("mdts_per_host", "max_mdts", "mgs_host")


class Servers:
    """A volume's filesystem on its hosts."""

    def __init__(self, context: Context, volume: Volume, settings: LustreSettings, state: Mapping[str, Any] | None = None) -> None:
        self.context = context
        self.volume = volume
        # As it was laid out when it was made: settings may have changed since.
        self.settings = replace(settings, **(state or {}).get("laid_out", {}))
        self.layout: LustreLayout = layout_of(volume, self.settings)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of targets and of the MGS."""
        return tuple(dict.fromkeys((*self.layout.hosts, self.layout.mgs_host)))

    def create(self, owner: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Make what is missing; the state to keep and the capacity."""
        facts = self.facts()
        plan = reconcile.create(self.layout, facts, self.settings, owner)
        groups = lnet.mgs_nids(self.layout, facts, self.settings)
        last = self.perform(plan, facts)[self.layout.primary.host]
        assert isinstance(last, RoomReport), "settle is the last phase"
        room = last.capacity
        if room < self.volume.capacity:
            text = f"volume {self.volume.name} is to hold {self.volume.capacity} bytes and its OSTs hold {room}"
            raise NoSpace(why=f"{text}: lower the granularity of pool {self.volume.pool}, or mdt_slice")
        laid_out = {name: getattr(self.settings, name) for name in LAID_OUT}
        return {"mgs": groups, "partuuids": reconcile.uuids_of(self.layout, facts), "laid_out": laid_out}, room

    def restore(self, uuids: Mapping[str, str]) -> None:
        """Start what does not run."""
        facts = self.facts()
        self.perform(reconcile.restore(self.layout, facts, self.settings, uuids), facts)

    def delete(self, gone: Sequence[str]) -> None:
        """Remove all that is there, and look again. What can be cleaned is, before an error is raised for a host that cannot."""
        hosts = [host for host in self.hosts if host not in gone]
        answers = self._probe(hosts)
        unreachable = list(answers.outcome().failed.values())
        facts = {host: facts_of(host, report) for host, report in answers.succeeded.items()}
        if unreachable and self._logs_would_be_forgotten(facts, gone):
            raise unreachable[0]
        self.perform(reconcile.delete(self.layout, facts, self.settings), facts)
        if unreachable:
            raise unreachable[0]
        self._check_clean(hosts)

    def _logs_would_be_forgotten(self, facts: Mapping[str, HostFacts], gone: Sequence[str]) -> bool:
        """Whether an MGS host without bricks cannot be reached: once all labels are wiped nobody would know of the logs there."""
        mgs = self.layout.mgs_host
        return mgs not in facts and mgs not in gone and mgs not in self.layout.hosts

    def _check_clean(self, hosts: Sequence[str]) -> None:
        facts = self.facts(hosts)
        left = reconcile.delete(self.layout, facts, self.settings)
        if left.phases:
            where = ", ".join(dict.fromkeys(host for one in left.phases for host in one.hosts))
            raise Unavailable(why=f"something of {self.volume.name} came back on {where} while it was deleted: see what mounts it there")
        if error := reconcile.left_behind(self.layout, facts):
            raise error

    def facts(self, hosts: Sequence[str] = ()) -> dict[str, HostFacts]:
        """What the hosts are like. Raises the first error."""
        return {host: facts_of(host, report) for host, report in self._probe(hosts or self.hosts).results().items()}

    def _probe(self, hosts: Sequence[str]) -> NodeAnswers[HostReport]:
        names = {host: lnet.names_of(self.settings.nids, host) for host in hosts}
        jobs = {host: {**self._host(host), "names": names[host], "mgs": host == self.layout.mgs_host} for host in hosts}
        return self._call("probe", HostReport, {}, jobs, seconds=self.settings.probe_seconds)

    def perform(self, plan: Plan, facts: Mapping[str, HostFacts]) -> dict[str, NodeResult]:
        """Do the phases in order; the results of the last. Raises the first error of a phase, when all its hosts are done."""
        results: dict[str, NodeResult] = {}
        common = self.formatting(facts) if any(phase.verb == "format" for phase in plan.phases) else {}
        for phase in plan.phases:
            jobs = {host: {**self._host(host), **arguments} for host, arguments in phase.arguments().items()}
            shape = SHAPES.get(phase.verb, NodeResult)
            results = self._call(phase.verb, shape, common, jobs, seconds=phase.seconds, tries=phase.tries).results()
        return results

    def at_primary(self, verb: str, shape: type[Shape], arguments: Mapping[str, Any], state: Mapping[str, Any]) -> Shape:
        """A verb that looks at the filesystem on the host of MDT0000. Raises its error."""
        host = self.layout.primary.host
        look = {"source": lnet.source(state["mgs"], self.layout.fsname), "options": list(lnet.mount_options(self.settings))}
        seconds = self.settings.mount_seconds + 30.0
        answers = self._call(verb, shape, {**look, **arguments}, {host: {}}, seconds=seconds, tries=self.settings.mount_tries)
        return answers.results()[host]

    def evict(self, clients: Sequence[str], state: Mapping[str, Any]) -> list[str]:
        """Have the targets drop dead clients, as far as their hosts answer; the NIDs that were told."""
        patterns = self.settings.client_nids or self.settings.nids
        common = {"clients": [{"host": host, "nids": lnet.expanded(patterns, host)} for host in clients]}
        try:
            hosts: dict[str, Mapping[str, Any]] = {host: {} for host in self.layout.hosts}
            answers = self._call("evict", EvictedClients, common, hosts, seconds=self.settings.probe_seconds)
        except (HostUnreachable, Unavailable):
            return []
        return sorted({nid for report in answers.succeeded.values() for nid in report.evicted})

    def _call(
        self,
        verb: str,
        shape: type[Shape],
        common: Mapping[str, Any],
        jobs: Mapping[str, Mapping[str, Any]],
        *,
        seconds: float,
        tries: int = 1,
    ) -> NodeAnswers[Shape]:
        shared = {"fsname": self.layout.fsname, "mgs_device": self.settings.mgs_device, "discard": self.settings.discard}
        hosts = list(jobs)
        return remote.ask(self.context, self.settings, verb, hosts, shape, {**shared, **common}, jobs, seconds=seconds, tries=tries)

    def _host(self, host: str) -> dict[str, Any]:
        return {"disks": [one.device for one in self.layout.osts if one.host == host]}

    def formatting(self, facts: Mapping[str, HostFacts]) -> dict[str, Any]:
        """What all hosts need to know to format."""
        settings = self.settings
        return {
            "mgsnode": lnet.mgsnode(lnet.mgs_nids(self.layout, facts, settings)),
            "mdt_mkfs_options": settings.mdt_mkfs_options,
            "ost_mkfs_options": settings.ost_mkfs_options,
            "zfs_mkfs_options": settings.zfs_mkfs_options,
            "backend": settings.backend,
            "timeout": settings.timeout,
            "failout": settings.failout,
            "discard": settings.discard,
        }
