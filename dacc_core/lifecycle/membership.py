"""This host in the cluster: its facts, its pools, and the lease that proves it alive. One of the core's parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import BadConfig, DaccError, HostNameTaken, Unavailable, WrongCluster
from ..keystore.base import TxnResult
from ..registry.allocation import returned
from ..registry.records import Alive, Allocations, BrickHost, Cluster, Counters, Pool
from ..registry.transaction import TransactionBuilder
from ..values import Brick
from . import effects as fx

if TYPE_CHECKING:
    from .engine import Engine, Timer

log = logging.getLogger("dacc.host")
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 3.0
"""A store that was silent for so long may have missed renewals itself, and gives leases their whole time anew."""
TTLS = 2
"""A lease that is there after so many of its ttls is renewed. One could do, but etcd gives it anew whenever its leader changes."""


class Membership:
    """Registers the host, keeps its lease, and knows whether that lease can be relied on."""

    def __init__(
        self, core: Engine, bricks: tuple[Brick, ...], pools: dict[str, tuple[int, str]], cluster: str, providers: dict[str, str]
    ) -> None:
        self._core, self._bricks, self._pools, self._providers = core, bricks, pools, providers
        self._cluster = cluster
        self._lease = 0
        self._renewed_at = float("-inf")
        self._registered = False
        self._base, self._lives = core.incarnation, 0
        self._renewal: Timer | None = None
        self._watchdog: Timer | None = None
        self._registering = False
        self._other, self._other_since = "", 0.0

    @property
    def sure(self) -> bool:
        """Whether this incarnation certainly still holds its lease.

        Certain only for half the ttl after the last renewal was *asked for*: beyond, another host may already be taking over.
        """
        fresh = self._core.now.mono - self._renewed_at <= self._core.rules.lease_ttl / 2
        return self._registered and fresh and self._core.view.is_alive(self._core.host, self._core.incarnation)

    def loaded(self) -> None:
        """The store was read (anew)."""
        if not self._registered and not self._registering:
            self._safe(self._register)()

    def _safe(self, act: Callable[..., None]) -> Callable[..., None]:
        """``act``, a part of registering: after a defect in it, registering begins anew in a while."""

        def run(*args: Any) -> None:
            if (bug := self._core.guarded(act, *args)) is not None:
                self._again(f"a defect of dacd: {bug}")

        return run

    def changed(self, changed: set[tuple[str, str]]) -> None:
        """Notice when our own key is gone although we believed in it."""
        mine = ("alive", self._core.host)
        if mine in changed and self._registered and not self._core.view.is_alive(self._core.host, self._core.incarnation):
            self._lost("its key is gone")

    def leave(self) -> None:
        """Give the lease back: another host may take over at once."""
        if self._lease:
            self._core.emit(fx.Revoke(self._lease))
        self._registered, self._lease = False, 0

    # --- registering ---

    def _register(self) -> None:
        problem, other = self._problem(), self._other_daemon()
        if problem is not None:
            self._core.emit(fx.Exit(problem))
        elif other is not None:
            self._give_way(other)
        else:
            self._registering = True
            ttl = self._core.rules.lease_ttl
            asked = self._core.now.mono
            self._core.ask(lambda ref: fx.Grant(ref, ttl), self._safe(lambda event: self._granted(event, asked)))

    def _problem(self) -> DaccError | None:
        cluster = self._core.view.cluster
        if cluster is not None and self._cluster and cluster.record.id != self._cluster:
            return WrongCluster(where="store", found=cluster.record.id, wanted=self._cluster)
        if cluster is not None and cluster.record.restoring:
            return Unavailable(why="a restore into the keystore is under way or did not end: wait, or repeat dacc restore")
        for name, (granularity, provider) in self._pools.items():
            entry = self._core.view.pools.get(name)
            if entry and (entry.record.granularity, entry.record.provider) != (granularity, provider):
                there = f"granularity {entry.record.granularity}, provider {entry.record.provider}"
                return BadConfig(problems=f"pool {name} is registered with {there}; this host says {granularity}, {provider}")
        return None

    def _other_daemon(self) -> Alive | None:
        """Who holds our name and may be alive.

        Of a former daemon that held the lock which we hold now, that lock proves its death. Of any other only its lease can tell, even
        if a machine of the same name or id was started anew: machines are cloned.
        """
        entry = self._core.view.alive.get(self._core.host)
        ours = entry is None or (entry.record.boot, entry.record.lock) == (self._core.boot, self._core.lock)
        return None if ours or entry is None else entry.record

    def _give_way(self, other: Alive) -> None:
        """Wait for the other's lease to end; one that does not end is renewed by a daemon that lives."""
        now = self._core.now.mono
        if other.incarnation != self._other or self._core.age > SILENCE_SECONDS:
            self._other, self._other_since = other.incarnation, now
        who = f"{other.who or other.incarnation}, says the keystore"
        if now - self._other_since > TTLS * max(other.ttl, self._core.rules.lease_ttl):
            self._core.emit(fx.Exit(HostNameTaken(host=self._core.host, who=who)))
        else:
            self._again(f"another daemon holds the name ({who}): if it is dead, its lease ends soon")

    def _again(self, why: str) -> None:
        log.warning("not registered yet", extra={"host": self._core.host, "why": why})
        self._registering = False
        self._core.at(self._core.now.mono + RETRY_SECONDS, self.loaded)

    def _anew(self) -> None:
        """What was asked for is outdated: look again."""
        self._registering = False
        self._core.emit(fx.Revoke(self._lease))
        self._core.at(self._core.now.mono + 0.01, self.loaded)

    def _granted(self, event: fx.Granted, asked: float) -> None:
        if isinstance(event.lease, DaccError):
            self._again(str(event.lease))
            return
        self._lease = event.lease
        if self._problem() is not None or self._other_daemon() is not None:
            self._anew()  # it was recorded meanwhile
            return
        self._core.transact(self._registration().commit(), self._safe(lambda result: self._written(result, asked)))

    def _registration(self) -> TransactionBuilder:
        core, view = self._core, self._core.view
        draft = TransactionBuilder(view)
        if view.cluster is None:
            draft.put(Cluster(id=self._cluster or self._base), "cluster")
        else:
            draft.expect("cluster")
        alive = Alive(host=core.host, incarnation=core.incarnation, boot=core.boot, lock=core.lock, who=core.who, ttl=core.rules.lease_ttl)
        draft.put(alive, "alive", core.host, lease=self._lease)
        facts = BrickHost(name=core.host, number=self._number(draft), bricks=self._bricks, providers=self._providers)
        draft.expect("hosts", core.host)  # also when nothing of it changes: it may be forgotten at this moment
        present, held = view.hosts.get(core.host), view.allocations.get(core.host)
        if present is None or present.record != facts:
            draft.put(facts, "hosts", core.host)
        if held is None:
            draft.put(Allocations(), "allocations", core.host)
        elif held.record.forgotten:
            log.warning("this host was forgotten: its bricks are in quarantine", extra={"host": core.host})
            draft.put(returned(held.record, [brick.device for brick in self._bricks]), "allocations", core.host)
        for name, (granularity, provider) in self._pools.items():
            if name not in view.pools:
                draft.put(Pool(name=name, granularity=granularity, provider=provider), "pools", name)
        return draft

    def _number(self, draft: TransactionBuilder) -> int:
        view = self._core.view
        if self._core.host in view.hosts:
            return view.hosts[self._core.host].record.number
        counters = view.counters.record if view.counters else Counters()
        draft.put(msgspec.structs.replace(counters, host=counters.host + 1), "counters")
        return counters.host

    def _written(self, result: TxnResult, asked: float) -> None:
        if not result.ok:
            self._anew()
            return
        self._registering = False
        self._registered, self._renewed_at = True, asked
        log.info("registered", extra={"host": self._core.host, "incarnation": self._core.incarnation, "bricks": len(self._bricks)})
        self._schedule()
        self._core.pursuits.changed(None)

    # --- keeping the lease ---

    def _schedule(self) -> None:
        ttl = self._core.rules.lease_ttl
        for timer in (self._renewal, self._watchdog):
            if timer is not None:
                timer.cancel()
        self._renewal = self._core.at(self._core.now.mono + ttl / 4, self._renew)
        self._watchdog = self._core.at(self._renewed_at + ttl / 2 + 0.001, self._doubt)

    def _renew(self) -> None:
        if self._registered:
            asked = self._core.now.mono
            self._core.ask(lambda ref: fx.Renew(ref, self._lease), lambda event: self._renewed(event, asked))

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
                self._core.pursuits.changed(None)
        else:
            log.warning("lease not renewed", extra={"why": str(event.alive)})
            self._renewal = self._core.at(self._core.now.mono + RETRY_SECONDS / 4, self._renew)

    def _doubt(self) -> None:
        if self._registered and not self.sure:
            log.warning("lease not renewed for half its time: steps stop")
            self._core.pursuits.halt()

    def _lost(self, why: str) -> None:
        log.warning("lease lost", extra={"why": why, "host": self._core.host})
        self._registered, self._lease = False, 0
        self._lives += 1
        self._core.incarnation = f"{self._base}.{self._lives}"
        self._core.pursuits.halt()
        if not self._core.stopping:
            self._core.at(self._core.now.mono + 0.01, self.loaded)
