"""A filesystem made by hand on a cluster, as an operator would with Lustre's programs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from .cluster import LustreCluster

MIB = 1 << 20
PLACE = "/mnt/lustre"
_PARTS = {"dacc-mgt": (1, 33), "dacc-mdt": (33, 97), "dacc-ost": (97, 0)}

_RESET = """
modprobe lustre
for place in {place} /run/targets/*; do
    while mountpoint -q $place; do umount $place || exit 1; done
done
for part in {parts}; do wipefs -qa $part || exit 1; done
"""


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

    @staticmethod
    def _made(done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done

    def start_mgs(self) -> None:
        self._made(self.format("mgs", 0, "--reformat"))
        self._made(self.start("dacc-mgt"))

    def start_mdt(self) -> None:
        self._made(self.format("mdt", 0, "--reformat"))
        self._made(self.start("dacc-mdt"))

    def start_osts(self) -> None:
        """One on each brick."""
        places = [(host, brick) for host, bricks in self.cluster.bricks.items() for brick in range(len(bricks))]
        for index, (host, brick) in enumerate(places):
            self._made(self.format("ost", index, "--reformat", host=host, brick=brick))
            self._made(self.start("dacc-ost", host=host, brick=brick))

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
        self.cluster.unknob()
        for host in reversed(self.cluster.hosts):
            if not self.cluster.machines[host].pid:
                self.cluster.boot(host)
            self.cluster.mend(host)
            bricks = range(len(self.cluster.bricks.get(host, [])))
            parts = " ".join(self.part(name, host, brick) for brick in bricks for name in _PARTS)
            self.cluster.check(host, "sh", "-c", _RESET.format(place=PLACE, parts=parts))
