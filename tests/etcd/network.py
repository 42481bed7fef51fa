"""A site on etcd all of whose machines have networks of their own, and a log of what is done on its hosts."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dacc_core.keystore.base import Change
from dacc_core.keystore.etcd.access import EtcdAccess
from dacc_core.keystore.etcd.store import EtcdKeystore
from dacc_core.registry import keys
from tests.support.etcd import EtcdCluster
from tests.support.waiting import until

from ..e2e.crash.harness import CrashSite
from .conftest import QUICK

T = TypeVar("T")
TTL = 3.0
MEMBERS = ("etcd1", "etcd2", "etcd3")

_PYTHON = """#!/bin/sh
export PATH="{here}/bin:$PATH"
[ "$3" = - ] && [ -n "$DACC_FENCE" ] && [ -w "{fences}" ] || exec "{python}" "$@"
verb=$4
. "{here}/effect"
"{python}" "$@"
code=$?
tell done
exit $code
"""
_RSYNC = """#!/bin/sh
verb=rsync
. "{here}/effect"
exec /usr/bin/rsync "$@"
"""
_EFFECT = """
host=$(uname -n)
tell() {{
    behind=$(awk -v mark="$DACC_FENCE" '
        $1 == "group" && $5 == mark {{ n = split(FILENAME, path, "/"); print path[n], $2 }}
    ' "{fences}/$host"/*.fence < /dev/null 2> /dev/null)
    echo "$1 ${{verb:--}} $host $$ ${{behind:-- 0}}" >> "{here}/log"
}}
tell begun
if rmdir "{here}/hold/$verb@$host" 2> /dev/null; then
    tell held
    while :; do sleep 0.02; done
fi
"""


class Effect(NamedTuple):
    """A line of the log: it has ``begun``, is ``held`` or ``done``. ``session`` and ``generation`` are of the fence around it.

    A user's programs cannot know them.
    """

    what: str
    verb: str
    host: str
    pid: int
    session: str
    generation: int

    @property
    def running(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()


@dataclass
class Effects:
    """What providers and movers run on the hosts, behind the fence, as the hosts see it.

    Stands between the fence and the programs: as the hosts' Python, and as ``rsync``. An effect can be made to hang there.
    """

    here: Path
    fences: Path

    def install(self, hosts: list[str]) -> None:
        for place in (self.here, self.here / "bin", self.here / "hold"):
            place.mkdir()
            place.chmod(0o777)  # rsync runs as a user
        self._write("effect", _EFFECT)
        self._write("python", _PYTHON)
        self._write("bin/rsync", _RSYNC)
        self._write("log", "").chmod(0o666)
        self._hosts = hosts

    def _write(self, name: str, text: str) -> Path:
        path = self.here / name
        path.write_text(text.format(here=self.here, fences=self.fences, python=shutil.which("python3", path=os.defpath)))
        path.chmod(0o755)
        return path

    @property
    def log(self) -> list[Effect]:
        lines = (line.split(" ") for line in (self.here / "log").read_text().splitlines())
        return [Effect(what, verb, host, int(pid), session, int(generation)) for what, verb, host, pid, session, generation in lines]

    @contextlib.contextmanager
    def hanging(self, verb: str) -> Iterator[None]:
        """The next effect of this kind on each host hangs for ever, if it begins now."""
        places = [self.here / "hold" / f"{verb}@{host}" for host in self._hosts]
        for place in places:
            place.mkdir()
        try:
            yield
        finally:
            for place in places:
                with contextlib.suppress(FileNotFoundError):
                    place.rmdir()

    def held(self, verb: str) -> list[Effect]:
        """Those of a kind that hang, or did."""
        return [effect for effect in self.log if (effect.what, effect.verb) == ("held", verb)]

    def out_of_order(self) -> list[Effect]:
        """What was done on a host after something of a higher generation had begun there."""
        highest: dict[tuple[str, str], int] = {}
        late = []
        for effect in self.log:
            place = (effect.host, effect.session)
            if effect.session != "-" and effect.generation < highest.get(place, 0):
                late.append(effect)
            highest[place] = max(highest.get(place, 0), effect.generation)
        return late


class NetworkSite(CrashSite):
    """Three members of etcd, three brick hosts, two compute nodes and a controller, each on a cable of its own to one switch."""

    def __init__(self) -> None:
        super().__init__(hosts=3, bricks=1, nodes=2, backing="image", ssh="ssh", others=MEMBERS)
        place = self.site.directory
        self.etcd = EtcdCluster(Path(tempfile.mkdtemp(prefix="dacc-etcd-")), machines=self.site.machines, hosts=MEMBERS, flags=QUICK)
        self.effects = Effects(place / "effects", place / "fence")
        self.site.extra = {
            "keystore": self.etcd.settings,
            "lease_ttl": TTL,
            "hosts": {"python": f"{place}/effects/python", "connect_timeout": 1},
            "retries": {"attempts": 2, "first_wait": 0.05},
        }

    def open(self) -> NetworkSite:
        self.site.open()
        self.effects.install(list(self.site.machines.hosts))
        self.etcd.start()
        self.site.start()
        return self

    def close(self) -> None:
        self.etcd.close()
        shutil.rmtree(self.etcd.directory)
        super().close()

    # --- cables ---

    @contextlib.contextmanager
    def cut(self, host: str) -> Iterator[None]:
        """For a while a host is cut off. Afterwards every daemon is well again."""
        self.site.machines.cut(host)
        try:
            yield
        finally:
            self.mend(host)

    def mend(self, host: str) -> None:
        """Plug its cable in, and see every daemon well."""
        self.site.machines.mend(host)
        until(lambda: all(map(self.is_well, self.site.daemons)), "every daemon is well", 30.0)

    def is_well(self, daemon: str) -> bool:
        """Whether a daemon and every other one are alive by its view of the store."""
        try:
            return all(host["alive"] for host in self.site.ask("status", host=daemon)["hosts"])
        except (OSError, ValueError):
            return False

    # --- logs ---

    def logged(self, host: str, words: str) -> list[str]:
        """The times of the lines of a daemon's log that have these words."""
        return [line.split()[0] for line in self.site.log(host).splitlines() if words in line]

    # --- the store, seen over a way that no test cuts ---

    def _read(self, question: Callable[[Any], T]) -> T:
        store = EtcdKeystore(EtcdAccess(tuple(member.near(member.client_port) for member in self.etcd.members)))
        try:
            return question(store)
        finally:
            store.close()

    def changes(self, since: int) -> list[Change]:
        """Every change of the store after a revision."""

        def follow(store: EtcdKeystore) -> list[Change]:
            now = store.range(keys.PREFIX).revision
            changes: list[Change] = []
            watch, end = store.watch(keys.PREFIX, since), time.monotonic() + 20.0
            reached = since
            while reached < now:
                assert time.monotonic() < end, "the watch does not come"
                batch = watch.next(1.0)
                if batch is not None:
                    changes += batch.changes
                    reached = batch.revision
            return changes

        return self._read(follow)

    def await_member(self, host: str) -> None:
        """Wait until a member of etcd is healthy, as itself sees it."""
        self.etcd.await_member(MEMBERS.index(host))

    @property
    def leader(self) -> str:
        """The host of the member that leads."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for member in self.etcd.members:
            with opener.open(f"http://{member.near(member.health_port)}/metrics", timeout=5) as answer:
                if b"\netcd_server_is_leader 1\n" in answer.read():
                    return member.host
        return ""

    def history(self, kind: str, name: str, since: int) -> list[Any]:
        key = keys.key(kind, name)
        return [keys.decode(key, change.item.value) for change in self.changes(since) if change.key == key and change.item is not None]
