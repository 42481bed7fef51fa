"""The Lustre provider on a cluster: what dacc's daemon would ask of it, over dacc's own ssh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dacc_lustre import LustreProvider, LustreSettings, remote
from dacc_lustre.reports import PreparedDisks

from dacc_core.sdk import (
    BrickRef,
    Command,
    CommandResult,
    Context,
    Create,
    Deadline,
    Delete,
    Mount,
    PerHost,
    Unmount,
    Volume,
    VolumeRequest,
)

from .cluster import LustreCluster

MIB = 1 << 20
FSNAME = "dacc0001"
PATH = "/mnt/dacc/7_job"
SETTINGS: Mapping[str, Any] = {"mdt_slice": 64 * MIB, "mgt_slice": 40 * MIB, "nids": ("%h-opa@o2ib1",)}
ON_ZFS: Mapping[str, Any] = {"backend": "zfs", "mdt_slice": 80 * MIB, "mgt_slice": 80 * MIB}
_PREPARE = {"yes": True, "wipe": ()}


class Lost(Exception):
    """The coordinator died."""


@dataclass
class Volumes:
    """One volume on all bricks of a cluster, or on some; ``dies_at`` ends the coordinator before its call of that number."""

    cluster: LustreCluster
    fsname: str = FSNAME
    bricks: tuple[tuple[str, int], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    dies_at: int = 0
    calls: list[tuple[str, ...]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    path: str = PATH
    seconds: float = 120.0

    def __post_init__(self) -> None:
        self.runner = self.cluster.runner()
        self.provider = LustreProvider(LustreSettings(**{**SETTINGS, **self.settings}))

    # --- the runner that the provider sees ---

    @property
    def python(self) -> str:
        return self.runner.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        self.dies_at -= 1
        if self.dies_at == 0:
            raise Lost
        self.calls.append(tuple(hosts))
        return self.runner.run(hosts, command)

    # --- what is asked ---

    @property
    def volume(self) -> Volume:
        chosen = self.bricks or tuple((host, number) for host, count in self.cluster.storage.items() for number in range(count))
        found = tuple(BrickRef(host=host, device=self.cluster.bricks[host][number]) for host, number in chosen)
        return Volume(name=self.fsname, pool="default", provider="lustre", capacity=32 * MIB, bricks=found)

    def context(self, seconds: float = 0.0) -> Context:
        return Context(hosts=self, deadline=Deadline.after(seconds or self.seconds), token="7")

    def prepare(self) -> None:
        """What ``dacc lustre prepare --yes`` does on every storage host."""
        settings = self.provider.settings
        common = {**_PREPARE, "mdt_slice": settings.mdt_slice, "mgt_slice": settings.mgt_slice, "backend": settings.backend}
        jobs = {host: {"disks": list(disks), "mgt_on": disks[0]} for host, disks in self.cluster.bricks.items()}
        remote.ask(self.context(), settings, "prepare", list(jobs), PreparedDisks, common, jobs, seconds=self.seconds / 2).results()

    def create(self) -> int:
        made = self.provider.create(Create(context=self.context(), volume=self.volume, owner=0, group=0))
        self.state = dict(made.state)
        return made.capacity

    def delete(self, **more: Any) -> None:
        self.provider.delete(Delete(context=self.context(), volume=self.volume, state=self.state, **more))

    def restore(self) -> None:
        self.provider.restore(VolumeRequest(context=self.context(), volume=self.volume, state=self.state))

    def mount(self, *hosts: str, **more: Any) -> PerHost:
        fields: dict[str, Any] = {"path": self.path, "owner": 0, "group": 0, **more}
        return self.provider.mount(Mount(context=self.context(), volume=self.volume, state=self.state, hosts=hosts, **fields))

    def unmount(self, *hosts: str, seconds: float = 0.0, **more: Any) -> PerHost:
        fields: dict[str, Any] = {"path": self.path, **more}
        context = self.context(seconds)
        return self.provider.unmount(Unmount(context=context, volume=self.volume, state=self.state, hosts=hosts, **fields))

    # --- what is true ---

    def labels(self) -> list[str]:
        """Labels of this volume's targets on any disk."""
        found = (label for host in self.cluster.storage for label in self.cluster.labels(host).values())
        return sorted(label for label in found if label.startswith(self.fsname))

    def running(self) -> list[str]:
        """Mount points of this volume's targets."""
        hosts = [host for host in self.cluster.storage if self.cluster.machines[host].pid]
        lines = (self.cluster.run(host, ["findmnt", "-rn", "-t", "lustre", "-o", "TARGET"]).stdout for host in hosts)
        return sorted(place for text in lines for place in text.split() if f"/{self.fsname}/" in place)

    def logs(self) -> list[str]:
        """MGSs that have this volume's logs."""
        names = [host for host in self.cluster.storage if (self.cluster.wire / "targets" / f"{host}.MGS.json").exists()]
        return [host for host in names if self.fsname in self.cluster.mgs(host)["logs"]]

    def assert_gone(self) -> None:
        assert (self.labels(), self.running(), self.logs()) == ([], [], [])


def reached(results: PerHost) -> list[str]:
    """The hosts on which all went well."""
    return [host for host, error in results.hosts.items() if error is None]
