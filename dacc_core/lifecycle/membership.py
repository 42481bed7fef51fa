"""This host in the cluster: its record, its pools, and the lease that proves it alive. One of the engine's parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import BadConfig, DaccError, HostNameTaken, Unavailable, WrongCluster
from ..keystore.base import TxnResult
from ..registry.allocation import returned
from ..registry.records import Alive, Allocations, BrickHost, Cluster, Counters, Pool
from ..registry.transaction import TransactionBuilder
from ..values import Brick
from . import effects as fx
from .reactor import Reactor, Timer

log = logging.getLogger("dacc.host")
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""A store that was silent for so long may have missed renewals itself, and gives leases their whole time anew."""
TTLS = 2
"""A lease that is there after so many of its ttls is renewed. One could do, but etcd gives it anew whenever its leader changes."""


@dataclass(frozen=True, slots=True)
class LocalHost:
    """What this host offers and how it proves who it is. ``incarnation``: of the daemon's first life."""

    name: str
    incarnation: str
    bricks: tuple[Brick, ...]
    pools: dict[str, tuple[int, str]]
    cluster: str
    boot: str
    lock: str
    who: str
    providers: dict[str, str]


class Membership:
    """Registers the host, keeps its lease, and decides whether that lease can be relied on.

    ``on_sure``: called when it can be again; ``on_doubt``: when it cannot any more.
    """

    def __init__(self, reactor: Reactor, local: LocalHost, *, on_sure: Callable[[], None], on_doubt: Callable[[], None]) -> None:
        self._reactor, self._local, self._on_sure, self._on_doubt = reactor, local, on_sure, on_doubt
        self.host, self.incarnation = local.name, local.incarnation
        self._lease = 0
        self._renewed_at = float("-inf")
        self._registered = False
        self._lives = 0
        self._renewal: Timer | None = None
        self._watchdog: Timer | None = None
        self._registering = False
        self._other, self._other_since = "", 0.0

    def may_act(self) -> bool:
        """Whether this daemon may change anything but its own registration now."""
        return self._reactor.loaded and self.sure and not self._reactor.stopping

    @property
    def sure(self) -> bool:
        """Whether this incarnation certainly still holds its lease.

        Certain only for half the ttl after the last renewal was *asked for*: beyond, another host may already be taking over.
        """
        fresh = self._reactor.now.mono - self._renewed_at <= self._reactor.rules.lease_ttl / 2
        return self._registered and fresh and self._reactor.view.is_alive(self.host, self.incarnation)

    def loaded(self) -> None:
        """The store was read (anew)."""
        if not self._registered and not self._registering:
            self._safe(self._register)()

    def _safe(self, act: Callable[..., None]) -> Callable[..., None]:
        """``act``, a part of registering: after a defect in it, registering begins anew in a while."""

        def run(*args: Any) -> None:
            if (bug := self._reactor.guarded(act, *args)) is not None:
                self._again(f"a defect of dacd: {bug}")

        return run

    def changed(self, changed: set[tuple[str, str]]) -> None:
        """Notice when our own key is gone although we believed in it."""
        mine = ("alive", self.host)
        if mine in changed and self._registered and not self._reactor.view.is_alive(self.host, self.incarnation):
            self._lost("its key is gone")

    def leave(self) -> None:
        """Give the lease back: another host may take over at once."""
        if self._lease:
            self._reactor.emit(fx.Revoke(self._lease))
        self._registered, self._lease = False, 0

    # --- registering ---

    def _register(self) -> None:
        problem, other = self._problem(), self._other_daemon()
        if problem is not None:
            self._reactor.emit(fx.Exit(problem))
        elif other is not None:
            self._give_way(other)
        else:
            self._registering = True
            ttl = self._reactor.rules.lease_ttl
            asked = self._reactor.now.mono
            self._reactor.ask(lambda ref: fx.Grant(ref, ttl), self._safe(lambda event: self._granted(event, asked)))

    def _problem(self) -> DaccError | None:
        cluster = self._reactor.view.cluster
        if cluster is not None and self._local.cluster and cluster.record.id != self._local.cluster:
            return WrongCluster(where="store", found=cluster.record.id, wanted=self._local.cluster)
        if cluster is not None and cluster.record.restoring:
            return Unavailable(why="a restore into the keystore is under way or did not end: wait, or repeat dacc restore")
        for name, (granularity, provider) in self._local.pools.items():
            entry = self._reactor.view.pools.get(name)
            if entry and (entry.record.granularity, entry.record.provider) != (granularity, provider):
                there = f"granularity {entry.record.granularity}, provider {entry.record.provider}"
                return BadConfig(problems=f"pool {name} is registered with {there}; this host has {granularity}, {provider}")
        return None

    def _other_daemon(self) -> Alive | None:
        """Who holds our name and may be alive.

        Of a former daemon that held the lock which we hold now, that lock proves its death. Of any other only its lease can tell, even
        if a machine of the same name or id was started anew: machines are cloned.
        """
        entry = self._reactor.view.alive.get(self.host)
        ours = entry is None or (entry.record.boot, entry.record.lock) == (self._local.boot, self._local.lock)
        return None if ours or entry is None else entry.record

    def _give_way(self, other: Alive) -> None:
        """Wait for the other's lease to end; one that does not end is renewed by a daemon that lives."""
        now = self._reactor.now.mono
        if other.incarnation != self._other or self._reactor.age > SILENCE_SECONDS:
            self._other, self._other_since = other.incarnation, now
        who = f"{other.who or other.incarnation}, says the keystore"
        if now - self._other_since > TTLS * max(other.ttl, self._reactor.rules.lease_ttl):
            self._reactor.emit(fx.Exit(HostNameTaken(host=self.host, who=who)))
        else:
            self._again(f"another daemon holds the name ({who}): if it is dead, its lease ends soon")

    def _again(self, why: str) -> None:
        log.warning("not registered yet", extra={"host": self.host, "why": why})
        self._registering = False
        self._reactor.after(RETRY_SECONDS, self.loaded)

    def _anew(self) -> None:
        """What was asked for is outdated: look again."""
        self._registering = False
        self._reactor.emit(fx.Revoke(self._lease))
        self._reactor.after(0.01, self.loaded)

    def _granted(self, event: fx.Granted, asked: float) -> None:
        if isinstance(event.lease, DaccError):
            self._again(str(event.lease))
            return
        self._lease = event.lease
        if self._problem() is not None or self._other_daemon() is not None:
            self._anew()  # it was recorded meanwhile
            return
        self._reactor.transact(self._registration().commit(), self._safe(lambda result: self._written(result, asked)))

    def _registration(self) -> TransactionBuilder:
        view, local, ttl = self._reactor.view, self._local, self._reactor.rules.lease_ttl
        draft = TransactionBuilder(view)
        if view.cluster is None:
            draft.put(Cluster(id=self._local.cluster or self._local.incarnation), "cluster")
        else:
            draft.expect("cluster")
        alive = Alive(host=self.host, incarnation=self.incarnation, boot=local.boot, lock=local.lock, who=local.who, ttl=ttl)
        draft.put(alive, "alive", self.host, lease=self._lease)
        record = BrickHost(name=self.host, number=self._number(draft), bricks=self._local.bricks, providers=self._local.providers)
        draft.expect("hosts", self.host)  # also when nothing of it changes: it may be forgotten at this moment
        present, held = view.hosts.get(self.host), view.allocations.get(self.host)
        if present is None or present.record != record:
            draft.put(record, "hosts", self.host)
        if held is None:
            draft.put(Allocations(), "allocations", self.host)
        elif held.record.forgotten:
            log.warning("this host was forgotten: its bricks are in quarantine", extra={"host": self.host})
            draft.put(returned(held.record, [brick.device for brick in self._local.bricks]), "allocations", self.host)
        for name, (granularity, provider) in self._local.pools.items():
            if name not in view.pools:
                draft.put(Pool(name=name, granularity=granularity, provider=provider), "pools", name)
        return draft

    def _number(self, draft: TransactionBuilder) -> int:
        view = self._reactor.view
        if self.host in view.hosts:
            return view.hosts[self.host].record.number
        counters = view.counters.record if view.counters else Counters()
        draft.put(msgspec.structs.replace(counters, host=counters.host + 1), "counters")
        return counters.host

    def _written(self, result: TxnResult, asked: float) -> None:
        if not result.ok:
            self._anew()
            return
        self._registering = False
        self._registered, self._renewed_at = True, asked
        log.info("registered", extra={"host": self.host, "incarnation": self.incarnation, "bricks": len(self._local.bricks)})
        self._schedule()
        self._on_sure()

    # --- keeping the lease ---

    def _schedule(self) -> None:
        ttl = self._reactor.rules.lease_ttl
        for timer in (self._renewal, self._watchdog):
            if timer is not None:
                timer.cancel()
        self._renewal = self._reactor.after(ttl / 4, self._renew)
        self._watchdog = self._reactor.at(self._renewed_at + ttl / 2 + 0.001, self._doubt)

    def _renew(self) -> None:
        if self._registered:
            asked = self._reactor.now.mono
            self._reactor.ask(lambda ref: fx.Renew(ref, self._lease), lambda event: self._renewed(event, asked))

    def _renewed(self, event: fx.Renewed, asked: float) -> None:
        if not self._registered:
            return
        if event.alive is False:
            self._lost("it ended")
        elif event.alive is True:
            was_sure = self.sure
            self._renewed_at = asked
            self._schedule()
            if not was_sure:
                self._on_sure()
        else:
            log.warning("lease not renewed", extra={"why": str(event.alive)})
            self._renewal = self._reactor.after(RETRY_SECONDS / 4, self._renew)

    def _doubt(self) -> None:
        if self._registered and not self.sure:
            log.warning("lease not renewed for half its time: steps stop")
            self._on_doubt()

    def _lost(self, why: str) -> None:
        log.warning("lease lost", extra={"why": why, "host": self.host})
        self._registered, self._lease = False, 0
        self._lives += 1
        self.incarnation = f"{self._local.incarnation}.{self._lives}"
        self._on_doubt()
        if not self._reactor.stopping:
            self._reactor.after(0.01, self.loaded)
