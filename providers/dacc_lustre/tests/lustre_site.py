"""A site in memory: the real provider and the real node helper, on hosts whose programs are played.

Each host has disks with slices and a mount table. What the helper does to files is real, below a directory of the test.
A host may crash at any of its commands: :class:`Crash` then ends the call as a power cut would.
"""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dacc_core.sdk import (
    BrickRef,
    Command,
    CommandResult,
    Context,
    Create,
    Deadline,
    Delete,
    HostUnreachable,
    Mount,
    PerHost,
    Unmount,
    Volume,
)

from dacc_lustre import LustreProvider, LustreSettings, remote

CODE = compile(remote.PROGRAM.text, "helper", "exec")
FSNAME = "dacc0001"


class Crash(BaseException):
    """The host lost power."""


@dataclass
class Played:
    """A host: its slices by path, what is mounted, what was run. ``answers`` overrule programs, by the beginning of their words."""

    site: Site
    name: str
    root: Path
    nid: str
    slices: dict[str, dict[str, str]] = field(default_factory=dict)
    disks: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)
    ran: list[list[str]] = field(default_factory=list)
    answers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    crash_at: int = 0
    up: bool = True
    pools: dict[str, str] = field(default_factory=dict)
    """The slices of the pools that are imported, by their names."""

    nodemaps: dict[str, str] = field(default_factory=dict)
    """Its parameters of nodemaps, without their first word."""

    strangers: dict[str, str] = field(default_factory=dict)
    """NIDs that are not in the nodemap ``site``, with the one that they are in."""

    pretend: set[str] = field(default_factory=set)
    """Devices that are in use by something unseen."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()

    def add_disk(self, name: str, mgt: bool = False) -> None:
        """A prepared disk."""
        self.disks.append(name)
        for number, kind in enumerate((["mgt"] if mgt else []) + ["mdt", "ost"], 1):
            label = "MGS" if kind == "mgt" else ""
            self.slices[f"{name}p{number}"] = {
                "disk": name,
                "kind": kind,
                "uuid": f"{self.name}-{name}-{kind}",
                "label": label,
                "type": "zfs_member" if self.site.settings.get("backend") == "zfs" else "ext4",
            }

    def labels(self) -> list[str]:
        """Every label here but the MGT's."""
        return [one["label"] for one in self.slices.values() if one["label"] not in ("", "MGS")]

    def helper(self) -> dict[str, Any]:
        """The helper's names, its hands on this host."""
        names: dict[str, Any] = {"__name__": "helper"}
        exec(CODE, names)
        run = str(self.root / "run")
        names.update(
            run=self.run,
            RUN=run,
            RUN_DIRECTORY=run,
            MGS_POINT=run + "/MGS",
            is_block=lambda path: path in self.slices or path in self.disks,
            in_use=lambda path: path in self.pretend or any(row[1] == path for row in self.table) or path in self.pools.values(),
            partitions=lambda disk: [path for path, one in self.slices.items() if one["disk"] == disk],
            _all_disks=lambda: list(self.disks),
            resolve=lambda wanted: {name: [self.site.addresses[name]] for name in wanted if name in self.site.addresses},
        )
        return names

    def run(self, *argv: str, **_: Any) -> Any:
        """Play a program."""
        with self.lock:
            if not self.up:
                raise Crash
            self.ran.append(list(argv))
            self.crash_at -= 1
            if self.crash_at == 0:
                self.power_off()
                raise Crash
            rc, out, text = self._answer(list(argv))
            return self.site.done(rc, out, text)

    def power_off(self) -> None:
        """All mounts are gone."""
        self.up = False
        self.table.clear()
        self.pools.clear()

    def power_on(self) -> None:
        """The host is back."""
        self.up, self.crash_at = True, 0

    def _answer(self, argv: list[str]) -> tuple[int, str, str]:
        line = " ".join(argv)
        for beginning, waiting in self.answers.items():
            if line.startswith(beginning) and waiting:
                rc, text = waiting.pop(0)
                if rc >= 0:
                    return rc, "", text
        play: Callable[[list[str]], tuple[int, str, str]] = getattr(self, "_" + argv[0].replace(".", "_"), lambda _: (0, "", ""))
        return play(argv[1:])

    def _findmnt(self, words: list[str]) -> tuple[int, str, str]:
        rows = [{"target": point, "source": source, "fstype": kind, "options": options} for point, source, kind, options in self.table]
        return 0, json.dumps({"filesystems": rows}), ""

    def _blkid(self, words: list[str]) -> tuple[int, str, str]:
        one = self.slices.get(words[-1])
        if one is None:
            return 2, "", ""
        lines = [f"PART_ENTRY_NAME=dacc-{one['kind']}", f"PART_ENTRY_UUID={one['uuid']}"]
        return 0, "\n".join([*lines, *([f"LABEL={one['label']}", f"TYPE={one['type']}"] if one["label"] else [])]), ""

    def _wipefs(self, words: list[str]) -> tuple[int, str, str]:
        self.slices[words[-1]]["label"] = ""
        return 0, "", ""

    def _mkfs_lustre(self, words: list[str]) -> tuple[int, str, str]:
        options = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
        kind = "MDT" if "--mdt" in words else "OST"
        one = self.slices[words[-1]]
        assert not one["label"], "mkfs.lustre on what was not clean"
        one["label"] = f"{options['fsname']}:{kind}{int(options['index']):04x}"
        one["type"] = "ext4"
        if "--backfstype=zfs" in words:
            assert words[-2] == f"{one['label']}/target"
            one.update(type="zfs_member", svname=one["label"])
            self.pools[one["label"]] = words[-1]
        return 0, "", ""

    def _zpool(self, words: list[str]) -> tuple[int, str, str]:
        if words[0] == "import":
            path, *names = words[words.index("-d") + 1 :]
            if self.slices[path]["label"] != names[0] or names[-1] in self.pools or path in self.pools.values():
                return 1, "", f"cannot import '{names[0]}'"
            self.slices[path]["label"] = names[-1]
            self.pools[names[-1]] = path
            return 0, "", ""
        found = self.pools.get(words[-1])
        if found is None or (words[0] != "list" and any(row[1] == f"{words[-1]}/target" for row in self.table)):
            return 1, "", f"cannot open '{words[-1]}'"
        if words[0] == "destroy":
            self.slices[found]["label"] = ""
        if words[0] != "list":
            del self.pools[words[-1]]
        return 0, "", ""

    def _mount(self, words: list[str]) -> tuple[int, str, str]:
        source, point = words[-2:]
        if "remount" in words[1]:
            for row in self.table:
                row[3] = words[1] if row[0] == words[-1] else row[3]
            return 0, "", ""
        rc = self.site.client_mounts(source) if ":/" in source else self.site.target_starts(self, source)
        if not rc:
            self.table.append([point, source, "lustre", words[words.index("-o") + 1] if "-o" in words else "rw"])
        return rc, "", f"mount.lustre: mount {source} failed" if rc else ""

    def _umount(self, words: list[str]) -> tuple[int, str, str]:
        found = [row for row in self.table if row[0] == words[-1]]
        if found:
            self.table.remove(found[-1])
        return (0, "", "") if found else (32, "", "not mounted")

    def _lctl(self, words: list[str]) -> tuple[int, str, str]:
        if words[0] == "list_nids":
            return 0, self.nid + "\n", ""
        if words[0] == "nodemap_test_nid":
            return 0, self.strangers.get(words[1], "site") + "\n", ""
        if words[0] == "lcfg_erase":
            assert not self.site.running(reached=True), "the logs of a live filesystem were erased"
            known = self.site.logs.pop(words[1], None)
            return (0, "", "") if known else (2, "", "No such file or directory")
        if words[:2] == ["get_param", "-n"]:
            return self._parameter(words[2])
        return 0, "", ""

    def _parameter(self, name: str) -> tuple[int, str, str]:
        kinds = {"lov": "OST", "lmv": "MDT"}
        if name.partition(".")[0] in kinds:
            return 0, str(sum(kinds[name[:3]] in one for one in self.site.running())) + "\n", ""
        values = {"health_check": "healthy", "version": "2.15.8", **{f"nodemap.{key}": value for key, value in self.nodemaps.items()}}
        return (0, values[name] + "\n", "") if name in values else (2, "", "No such file")

    def _lfs(self, words: list[str]) -> tuple[int, str, str]:
        return 0, f"filesystem_summary: {self.site.room} 1024 {self.site.room - 1024} 1% {words[-1]}\n" if words[0] == "df" else "", ""


@dataclass
class Site:
    """Storage hosts b0, b1 … with two bricks each, and compute nodes c0, c1 …"""

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    storage: int = 2
    clients: int = 2
    room: int = 1 << 22
    logs: dict[str, set[str]] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    calls: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    python: str = "/usr/bin/python3"

    def __post_init__(self) -> None:
        names = [f"b{number}" for number in range(self.storage)] + [f"c{number}" for number in range(self.clients)]
        self.hosts = {name: Played(self, name, self.root / name, f"10.0.0.{n}@o2ib1") for n, name in enumerate(names, 1)}
        for name in names[: self.storage]:
            self.hosts[name].add_disk("/dev/nvme0n1", mgt=True)
            self.hosts[name].add_disk("/dev/nvme1n1")
        self.done: Any = self.hosts["b0"].helper()["ProgramResult"]
        self.provider = LustreProvider(LustreSettings(**self.settings))

    @property
    def volume(self) -> Volume:
        bricks = tuple(BrickRef(host=f"b{host}", device=f"/dev/nvme{n}n1") for host in range(self.storage) for n in range(2))
        return Volume(name=FSNAME, pool="default", provider="lustre", capacity=1 << 30, bricks=bricks)

    def running(self, reached: bool = False) -> list[str]:
        """The names of targets that run; ``reached``: on hosts that can be."""
        points = [row[0] for host in self.hosts.values() for row in host.table if not (reached and host.name in self.unreachable)]
        return [Path(point).name for point in points if Path(point).name[:3] in ("MDT", "OST")]

    def labels(self) -> list[str]:
        """Every label but those of MGTs."""
        return sorted(label for host in self.hosts.values() for label in host.labels())

    def mgs_runs(self) -> bool:
        return any(row[0].endswith("/MGS") for host in self.hosts.values() for row in host.table)

    def target_starts(self, host: Played, source: str) -> int:
        """What starting a target returns, and does to its label."""
        pool, mark, _ = source.partition("/target")
        one = host.slices[host.pools[pool] if mark else source]
        if one["label"] == "MGS":
            return 0
        if not self.mgs_runs():
            return 5
        kept = "svname" if mark else "label"
        fsname, name = one[kept][:-8], one[kept][-7:]
        known = self.logs.setdefault(fsname, set())
        if one[kept][-8] == ":" and name in known:
            return 98
        known.add(name)
        one[kept] = f"{fsname}-{name}"
        return 0

    def client_mounts(self, source: str) -> int:
        fsname = source.rpartition("/")[2]
        if not self.mgs_runs():
            return 5
        return 0 if "MDT0000" in self.logs.get(fsname, ()) else 2

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Be the host runner: the end of the text that the provider sends says what is asked."""
        verb, document = ast.literal_eval("(" + command.stdin.decode().rpartition("\nanswer_sent(")[2].rpartition(", sys.argv")[0] + ")")
        self.calls.append((verb, tuple(hosts)))
        return {host: self._call(host, verb, json.loads(document)) for host in hosts}

    def _call(self, name: str, verb: str, document: dict[str, Any]) -> CommandResult:
        host = self.hosts[name]
        if name in self.unreachable or not host.up:
            return CommandResult(name, -1, error=HostUnreachable(host=name, why="no route"))
        document["common"]["retry"]["wait"] = 0.0
        try:
            return CommandResult(name, 0, json.dumps(host.helper()["answer_request"](verb, document, name)).encode())
        except Crash:
            return CommandResult(name, -9, stderr=b"killed")

    def context(self, seconds: float = 60.0) -> Context:
        return Context(hosts=self, deadline=Deadline.after(seconds), token="7")

    def create(self) -> int:
        made = self.provider.create(Create(context=self.context(), volume=self.volume, owner=0, group=0))
        self.state = dict(made.state)
        return made.capacity

    def whole(self, **more: Any) -> Delete:
        return Delete(context=self.context(), volume=self.volume, state=self.state, **more)

    def delete(self, **more: Any) -> None:
        self.provider.delete(self.whole(**more))

    def mount(self, *hosts: str, **more: Any) -> PerHost:
        fields: dict[str, Any] = {"path": str(self.root / "mnt" / "7_job"), "owner": 0, "group": 0, **more}
        return self.provider.mount(Mount(context=self.context(), volume=self.volume, state=self.state, hosts=hosts, **fields))

    def unmount(self, *hosts: str, **more: Any) -> PerHost:
        fields: dict[str, Any] = {"path": str(self.root / "mnt" / "7_job"), **more}
        return self.provider.unmount(Unmount(context=self.context(), volume=self.volume, state=self.state, hosts=hosts, **fields))

    def commands(self, host: str, *beginnings: str) -> list[str]:
        """The command lines of a host that begin so."""
        lines = [" ".join(argv) for argv in self.hosts[host].ran]
        return [line for line in lines if line.startswith(beginnings)]
