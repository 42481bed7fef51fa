"""A cluster as data: it does to itself what the phases of a plan say, so that plans can be judged by where they lead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dacc_core.sdk import BrickRef, Volume

from dacc_lustre.plan import Phase, Plan
from dacc_lustre.probe import HostFacts, Slice
from dacc_lustre.reconcile import Facts
from dacc_lustre.targets import LustreLayout

FSNAME = "dacc0001"
OWNER = {"owner": 1001, "group": 1001, "mode": 0o700}


def volume(*bricks_of_hosts: int) -> Volume:
    """A volume over hosts h0, h1, … with so many bricks each."""
    bricks = tuple(BrickRef(host=f"h{host}", device=f"/dev/nvme{n}n1") for host, count in enumerate(bricks_of_hosts) for n in range(count))
    return Volume(name=FSNAME, pool="default", provider="lustre", capacity=len(bricks) << 30, bricks=bricks)


@dataclass
class World:
    """The slices of each host, what runs, and the MGS's logs."""

    layout: LustreLayout
    labels: dict[tuple[str, str, str], str] = field(default_factory=dict)
    running: set[tuple[str, str]] = field(default_factory=set)
    logs: bool = False
    mgs_runs: bool = False
    log: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, HostFacts]:
        """What probing all hosts finds."""
        return {host: self._facts(host) for host in dict.fromkeys((*self.layout.hosts, self.layout.mgs_host))}

    def _facts(self, host: str) -> HostFacts:
        disks = [one.device for one in self.layout.osts if one.host == host]
        names = tuple(name for where, name in sorted(self.running) if where == host)
        slices = tuple(self._slice(host, disk, kind) for disk in disks for kind in ("mdt", "ost"))
        mgt = Slice("", "/dev/mgt", "mgt", "uuid-mgt", "MGS", "ext4", ("/run/dacc/lustre/MGS",) if self.mgs_runs else ())
        return HostFacts(host, slices, running=names, nids=(f"10.0.0.{host[1:]}@o2ib1",), mgt=mgt)

    def _slice(self, host: str, disk: str, kind: str) -> Slice:
        label = self.labels.get((host, disk, kind), "")
        name = label[-7:]
        mounted = (f"/run/dacc/lustre/{FSNAME}/{name}",) if label.startswith(FSNAME) and (host, name) in self.running else ()
        number = 1 if kind == "mdt" else 2
        return Slice(disk, f"{disk}p{number}", kind, f"uuid-{host}{disk}{kind}", label, "ext4" if label else "", mounted, bool(mounted))

    def perform(self, plan: Plan) -> None:
        """Do all of it."""
        for phase in plan.phases:
            self.do(phase, phase.hosts)

    def do(self, phase: Phase, hosts: Iterable[str]) -> None:
        """Do a phase on some of its hosts, keeping to Lustre's rules."""
        for step in phase.steps:
            if step.host in hosts:
                self.log.append(phase.name)
                getattr(self, "_" + phase.verb.replace("-", "_"))(step.host, step.arguments)

    def _mgs_start(self, host: str, arguments: dict[str, bool]) -> None:
        assert host == self.layout.mgs_host
        self.mgs_runs = True
        if arguments["erase"]:
            assert not self.running, "the logs of a live filesystem were erased"
            self.logs = False

    def _format(self, host: str, arguments: dict[str, list[dict[str, str]]]) -> None:
        for one in arguments["targets"]:
            key = (host, one["device"], one["kind"])
            assert not self.labels.get(key, "").startswith(f"{FSNAME}-"), "a target with data was formatted"
            assert self.labels.get(key, FSNAME).startswith(FSNAME), "another filesystem's target was formatted"
            self.labels[key] = f"{FSNAME}:{one['name']}"

    def _start(self, host: str, arguments: dict[str, list[dict[str, str]]]) -> None:
        assert self.mgs_runs, "a target was started before the MGT"
        for one in arguments["targets"]:
            key, root = (host, one["device"], one["kind"]), any(name == "MDT0000" for _, name in self.running)
            assert self.labels[key] in (f"{FSNAME}:{one['name']}", f"{FSNAME}-{one['name']}")
            assert root or one["name"] == "MDT0000", "a target was started before MDT0000"
            assert one["kind"] == "mdt" or self._all_run("MDT"), "an OST was started before the MDTs"
            self.labels[key] = f"{FSNAME}-{one['name']}"
            self.logs = True
            self.running.add((host, one["name"]))

    def _all_run(self, kind: str) -> bool:
        names = {name for _, name in self.running}
        return {one.name for one in self.layout.targets if one.name.startswith(kind)} <= names

    def _tune(self, host: str, arguments: dict[str, list[str]]) -> None:
        assert self.mgs_runs
        assert host == self.layout.mgs_host
        assert all(FSNAME in name for name in arguments["parameters"]), "a parameter would count for other filesystems"

    def _settle(self, host: str, arguments: dict[str, object]) -> None:
        self._whole(host, arguments)

    def _whole(self, host: str, arguments: dict[str, object]) -> None:
        assert self.serves()
        assert arguments["osts"] == len(self.layout.osts)
        assert arguments["mdts"] == len(self.layout.mdts)

    def _stop(self, host: str, arguments: dict[str, list[str]]) -> None:
        for name in arguments["names"]:
            assert name != "MDT0000" or not any(other[:3] == "MDT" and other != name for _, other in self.running), "MDT0000 went first"
            assert not name.startswith("OST") or not any(other.startswith("MDT") for _, other in self.running), "an OST went before an MDT"
            self.running.discard((host, name))

    def _mgs_erase(self, host: str, arguments: dict[str, list[str]]) -> None:
        assert not self.running, "the logs of a live filesystem were erased"
        self.mgs_runs, self.logs = True, False

    def _wipe(self, host: str, arguments: dict[str, list[str]]) -> None:
        assert not self.logs, "a label, the only memory of the MGS's logs, went before they did"
        assert not any(where == host for where, _ in self.running)
        for key, label in list(self.labels.items()):
            if key[0] == host and key[1] in arguments["disks"] and label.startswith(FSNAME):
                del self.labels[key]

    def serves(self) -> bool:
        """Whether all targets run."""
        return self.running >= {(one.host, one.name) for one in self.layout.targets}

    def clean(self) -> bool:
        """Whether nothing is left."""
        return not self.labels and not self.running and not self.logs

    def reboot(self, host: str) -> None:
        """The host starts anew: nothing runs there."""
        self.running = {one for one in self.running if one[0] != host}
        if host == self.layout.mgs_host:
            self.mgs_runs = False


def with_health(facts: Facts, host: str, health: str) -> dict[str, HostFacts]:
    """The facts with another health on one host."""
    return {**facts, host: replace(facts[host], health=health)}
