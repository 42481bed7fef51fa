"""A filesystem made by hand on a cluster, as an operator would with Lustre's programs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from .cluster import LustreCluster

MIB = 1 << 20
PLACE = "/mnt/lustre"
_PARTS = {"dacc-mgt": (1, 33), "dacc-mdt": (33, 97), "dacc-ost": (97, 0)}


@dataclass
class ByHand:
    """An MGS, an MDT and OSTs, one on each brick of a cluster, by their partitions' numbers."""

    cluster: LustreCluster
    fsname: str = "fs1"

    @property
    def first(self) -> str:
        """The host of the MGS and of the MDT."""
        return self.cluster.hosts[0]

    @property
    def nid(self) -> str:
        return self.cluster.nid(self.first)

    def part(self, name: str, host: str = "", brick: int = 0) -> str:
        """A partition's device."""
        return f"{self.cluster.bricks[host or self.first][brick]}p{list(_PARTS).index(name) + 1}"

    def partition(self) -> None:
        """Partition all bricks; what they had is lost."""
        for host, bricks in self.cluster.bricks.items():
            for brick in bricks:
                made = [["mkpart", name, f"{start}MiB", f"{end}MiB" if end else "100%"] for name, (start, end) in _PARTS.items()]
                self.cluster.check(host, "parted", "-s", brick, "mklabel", "gpt", *(word for words in made for word in words))

    def format(self, kind: str, index: int = 0, *more: str, host: str = "", brick: int = 0) -> subprocess.CompletedProcess[str]:
        """Format an MGT, MDT or OST."""
        named = [] if kind == "mgs" else [f"--fsname={self.fsname}", f"--index={index}", f"--mgsnode={self.nid}"]
        part = self.part({"mgs": "dacc-mgt", "mdt": "dacc-mdt", "ost": "dacc-ost"}[kind], host, brick)
        return self.cluster.run(host or self.first, ["mkfs.lustre", f"--{kind}", *named, *more, part])

    def start(self, part: str, *, host: str = "", brick: int = 0, place: str = "") -> subprocess.CompletedProcess[str]:
        """Mount a target."""
        host = host or self.first
        place = place or f"/run/targets/{part}-{brick}"
        self.cluster.check(host, "mkdir", "-p", place)
        return self.cluster.run(host, ["mount.lustre", self.part(part, host, brick), place, "-o", "rw"])

    def start_mgs(self) -> None:
        assert self.format("mgs", 0, "--reformat").returncode == 0
        assert self.start("dacc-mgt").returncode == 0

    def start_mdt(self) -> None:
        assert self.format("mdt", 0, "--reformat").returncode == 0
        assert self.start("dacc-mdt").returncode == 0

    def start_osts(self) -> None:
        """One on each brick."""
        places = [(host, brick) for host, bricks in self.cluster.bricks.items() for brick in range(len(bricks))]
        for index, (host, brick) in enumerate(places):
            assert self.format("ost", index, "--reformat", host=host, brick=brick).returncode == 0
            assert self.start("dacc-ost", host=host, brick=brick).returncode == 0

    def start_all(self) -> None:
        self.start_mgs()
        self.start_mdt()
        self.start_osts()

    def mount(self, client: str, options: str = "flock,nodev,nosuid,noatime", spec: str = "") -> subprocess.CompletedProcess[str]:
        """Mount it on a client, with mount(8)."""
        self.cluster.check(client, "mkdir", "-p", PLACE)
        return self.cluster.run(client, ["mount", "-t", "lustre", "-o", options, spec or f"{self.nid}:/{self.fsname}", PLACE])

    def reset(self) -> None:
        """Unmount all, mend what is spoilt, and wipe all."""
        cluster = self.cluster
        cluster.unknob()
        for host in reversed(cluster.hosts):
            cluster.mend(host)
            cluster.check(host, "modprobe", "lustre")
            while cluster.run(host, ["umount", PLACE]).returncode == 0:
                pass
            cluster.check(host, "sh", "-c", "for place in /run/targets/*; do ! mountpoint -q $place || umount $place; done")
        for host, bricks in cluster.bricks.items():
            for brick in range(len(bricks)):
                cluster.check(host, "wipefs", "-qa", *(self.part(name, host, brick) for name in _PARTS))
