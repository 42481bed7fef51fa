"""Whole sites whose state is in etcd: Slurm's calls there, and a look at what is in the store."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import pytest

from dacc_core.demo.site import LocalSite
from dacc_core.keystore.base import Batch, Keystore
from dacc_core.registry import keys
from dacc_core.registry.view import View
from dacc_core.simulation.invariants import broken_rules
from tests.support.etcd import EtcdCluster
from tests.support.registries import Registry, write
from tests.support.waiting import until

SCRIPT = "#!/bin/sh\n#DW jobdw capacity=1GiB access_mode=striped type=scratch\n"
OURS = (b"/dacc/", b"/dacc0")
BEGINNING = ("job_process", "setup", "data_in", "paths", "pre_run")
"""Slurm's calls up to a job's start."""
END = ("post_run", "data_out", "teardown")
"""Slurm's calls after it."""
POLLED = ("pools", "show_instances", "show_sessions", "show_configurations")
CALL_SECONDS = 120.0
"""A call that takes longer hangs, whatever its deadline is in these tests."""
CALM_SECONDS = 40.0
"""How long a site may take to be well after the last fault: a lease that its daemon lost has to end by itself."""


@dataclass(frozen=True)
class Answer:
    """What a call printed, to the one pipe that both of its outputs are; its exit code; how long it took."""

    rc: int
    output: str
    seconds: float = 0.0

    @property
    def is_clear(self) -> bool:
        """Whether it failed as a call may: with one line for people, and nothing that Slurm could take for an answer."""
        line = self.output.removesuffix("\n")
        return self.rc != 0 and line.isprintable() and bool(line) and not re.search(r"[{}\[]|Traceback|internal error", line)


@contextmanager
def running(
    etcd: EtcdCluster,
    place: Path,
    *,
    hosts: int = 2,
    bricks: int = 2,
    others: int = 0,
    provider: Any = None,
    **extra: Any,
) -> Iterator[Site]:
    """A site on a cluster; both are started here and end. ``provider``: the fake provider's settings; ``extra``: more of dacc's.

    ``others``: further hosts that are records only, and take no sessions.
    """
    etcd.directory.mkdir(exist_ok=True)
    settings = {"keystore": etcd.settings, **extra}
    local = LocalSite(place, hosts=hosts, bricks=bricks, backing="none", granularity=1 << 30, extra=settings, provider=provider or {})
    site = Site(local, etcd)
    with etcd, local:
        if others:
            with site.store() as store:
                write(store, Registry(others, draining=True))
        local.start()
        yield site


@dataclass
class Site:
    """A running site, and Slurm's calls there."""

    local: LocalSite
    etcd: EtcdCluster

    # --- calls ---

    def ask(self, function: str, *arguments: str, **env: str) -> Answer:
        """One call, whatever comes of it, unless it hangs."""
        begun = time.monotonic()
        try:
            done = self.local.fakewarp("--function", function, *arguments, timeout=CALL_SECONDS, **env)
        except TimeoutExpired:
            pytest.fail(f"{function} {' '.join(arguments)} hangs")
        return Answer(done.returncode, done.stdout, time.monotonic() - begun)

    def call(self, function: str, *arguments: str, **env: str) -> str:
        """What a call prints that must succeed."""
        answer = self.ask(function, *arguments, **env)
        assert answer.rc == 0, (function, answer)
        return answer.output

    def listed(self, function: str, **env: str) -> list[Any]:
        rows: list[Any] = json.loads(self.call(f"show_{function}", **env))[function]
        return rows

    def free(self) -> tuple[int, int]:
        """The free bricks that Slurm gets, and all."""
        (pool,) = json.loads(self.call("pools"))["pools"]
        return pool["free"], pool["quantity"]

    @property
    def without_daemon(self) -> dict[str, str]:
        """The environment of a call that finds no dacd."""
        return {"DACC_SOCKET": str(self.local.directory / "nobody.sock")}

    def job(self, token: str, *nodes: str) -> Job:
        return Job(self, token, nodes or ("c1",))

    def begin(self, token: str) -> None:
        """All calls up to the job's start."""
        self.job(token).does(*BEGINNING)

    def end(self, token: str) -> None:
        """All calls after the job's end."""
        self.job(token).does(*END)

    # --- the store ---

    def keys(self) -> set[str]:
        """The keys of the store, but for the history."""
        reply = self.etcd.admin("Range", lambda m: m.RangeRequest(key=OURS[0], range_end=OURS[1], keys_only=True))
        return {kv.key.decode() for kv in reply.kvs if b"/history/" not in kv.key}

    def largest_record(self) -> int:
        """Bytes of the largest value in the store."""
        reply = self.etcd.admin("Range", lambda m: m.RangeRequest(key=OURS[0], range_end=OURS[1]))
        return max(len(kv.value) for kv in reply.kvs)

    def leases(self) -> int:
        return len(self.etcd.admin("LeaseLeases", lambda m: m.LeaseLeasesRequest()).leases)

    @contextmanager
    def store(self) -> Iterator[Keystore]:
        """The store, read by ourselves."""
        from dacc_core.keystore.etcd.access import EtcdAccess
        from dacc_core.keystore.etcd.store import EtcdKeystore

        store = EtcdKeystore(EtcdAccess(tuple(self.etcd.endpoints)))
        try:
            yield store
        finally:
            store.close()

    def records(self) -> View:
        """The whole store as it is."""
        view = View()
        with self.store() as store:
            view.load(store.range(keys.PREFIX))
        return view

    def broken_rules_since(self, records: View) -> list[str]:
        """Every rule that was broken at any revision since these records."""
        with self.store() as store:
            last = store.range(keys.PREFIX).revision
            watch = store.watch(keys.PREFIX, records.revision)
            broken: list[str] = []
            while records.revision < last:
                batch = until(lambda: watch.next(1.0), "history is read")
                for revision in sorted({change.revision for change in batch.changes}):
                    records.apply(Batch(tuple(change for change in batch.changes if change.revision == revision), revision))
                    broken += [f"revision {revision}: {rule}" for rule in broken_rules(records)]
                records.apply(Batch((), batch.revision))
        return broken

    # --- how it is ---

    def is_well(self) -> bool:
        """Whether all daemons are alive by the controller's view of the store."""
        try:
            return all(host["alive"] for host in self.local.ask("status")["hosts"])
        except ValueError:
            return False

    def dead(self) -> dict[str, int]:
        """Daemons that have ended, and how."""
        return {host: daemon.returncode for host, daemon in self.local.daemons.items() if daemon.poll() is not None}

    def assert_nothing_left(self) -> None:
        """No daemon has died; once all is calm, no session, no lease but one for each daemon, and all bricks free."""
        assert self.dead() == {}
        until(self.is_well, "all hosts are alive", CALM_SECONDS)
        until(lambda: self.leases() == len(self.local.daemons), "each daemon has one lease", CALM_SECONDS)
        lasting = {"cluster", "counters", "pools", "hosts", "alive", "allocations"}
        assert {key for key in self.keys() if keys.split(key)[0] not in lasting} == set()
        assert list(broken_rules(self.records())) == []
        total = self.local.hosts * self.local.bricks
        until(lambda: self.free() == (total, total), "all bricks are free")


class Job:
    """One job, called as slurmctld calls."""

    def __init__(self, site: Site, token: str, nodes: Sequence[str]) -> None:
        self.site, self.token = site, token
        self.place = site.local.directory / "jobs" / token
        self.place.mkdir(parents=True, exist_ok=True)
        (self.place / "script").write_text(SCRIPT)
        (self.place / "nodes").write_text("".join(f"{node}\n" for node in nodes))

    def arguments(self, function: str) -> tuple[str, ...]:
        script = ("--job", str(self.place / "script"))
        more = {
            "setup": ("--caller", "SLURM", "--user", "0", "--groupid", "0", "--capacity", "default:1GiB"),
            "paths": ("--pathfile", str(self.place / "paths")),
            "pre_run": ("--nodehostnamefile", str(self.place / "nodes")),
        }
        return script if function == "job_process" else ("--token", self.token, *script, *more.get(function, ()))

    def ask(self, function: str, **env: str) -> Answer:
        """One call, whatever comes of it."""
        return self.site.ask(function, *self.arguments(function), **env)

    def does(self, *functions: str, **env: str) -> Job:
        """Calls that must succeed."""
        for function in functions:
            answer = self.ask(function, **env)
            assert answer.rc == 0, (self.token, function, answer)
        return self

    def repeats(self, function: str, times: int, well: Callable[[], Any]) -> list[Answer]:
        """A call that is repeated as Slurm would: each time after a clear error, when things are ``well`` again. All its answers."""
        answers = [self.ask(function)]
        while answers[-1].rc != 0:
            assert answers[-1].is_clear, (self.token, function, answers[-1])
            assert len(answers) <= times, (self.token, function, answers)
            well()
            answers.append(self.ask(function))
        return answers
