"""Verbs on brick hosts, for operators: look at them, keep new sessions away from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from ..errors import Denied, InvalidRequest, NotFound
from ..names import expand, fold
from ..registry.records import Allocations, BrickHost
from ..registry.transaction import TransactionBuilder
from ..registry.view import View
from ..values import Brick
from .frontend import PeerCredentials
from .operations import Sleep, Verb
from .sessions import VerbContext


def check_operator(caller: PeerCredentials, what: str) -> None:
    """Raises Denied unless the caller is trusted."""
    if not caller.trusted:
        raise Denied(who=f"uid {caller.uid}", what=what, why="only operators may")


def select(view: View, folded: str) -> tuple[str, ...]:
    """The registered hosts of a folded set. Raises NotFound, naming every unknown host, InvalidRequest when it names none, and BadName."""
    asked = expand(folded)
    if not asked:
        raise InvalidRequest(why="no host is named: give hosts such as dac[1-4]")
    unknown = [host for host in asked if host not in view.hosts]
    if unknown:
        raise NotFound(why=f"no host is called {fold(unknown)}: see dacc hosts")
    return asked


def state_of(view: View, host: str) -> str:
    """``alive``, ``draining``, ``dead``, ``dead, draining`` or ``forgotten``."""
    held = view.allocations.get(host)
    if held is not None and held.record.forgotten:
        return "forgotten"
    words = ([] if host in view.alive else ["dead"]) + (["draining"] if held and held.record.draining else [])
    return ", ".join(words) or "alive"


def told_to(caller: PeerCredentials, reason: str) -> str:
    """Why a brick is in quarantine: to operators in full, to others without the text of the error, which may name paths."""
    return reason if caller.trusted else reason.partition(":")[0]


def described(view: View, caller: PeerCredentials, folded: str = "") -> list[dict[str, Any]]:
    """Hosts in every detail, for ``dacc hosts``: all of them, or those of a folded set."""
    coordinated: dict[str, list[str]] = defaultdict(list)
    for token, entry in view.statuses.items():
        coordinated[entry.record.coordinator].append(token)
    if folded:
        return [_described(view, host, sorted(coordinated[host]), caller) for host in select(view, folded)]
    gone = (host for host, held in view.allocations.items() if host not in view.hosts and held.record.forgotten)
    return [_described(view, host, sorted(coordinated[host]), caller) for host in sorted([*view.hosts, *gone])]


def _described(view: View, host: str, coordinates: list[str], caller: PeerCredentials) -> dict[str, Any]:
    facts = view.hosts[host].record if host in view.hosts else _as_it_was(view, host)
    owners = view.owners_on(host)
    bricks = [_brick(view, host, brick, owners, caller) for brick in facts.bricks]
    return {
        "name": host,
        "state": state_of(view, host),
        "providers": facts.providers,
        "bricks": bricks,
        "free": sum(brick["state"] == "free" for brick in bricks),
        "taken": sum(brick["state"] == "taken" for brick in bricks),
        "quarantined": sum(brick["state"] == "quarantined" for brick in bricks),
        "coordinates": coordinates,
    }


def _as_it_was(view: View, host: str) -> BrickHost:
    """A forgotten host: what would be in quarantine if it came back."""
    devices = view.allocations[host].record.quarantined
    return BrickHost(name=host, number=0, bricks=tuple(Brick(device=device, capacity=0, pool="") for device in sorted(devices)))


def _brick(view: View, host: str, brick: Brick, owners: Mapping[str, str], caller: PeerCredentials) -> dict[str, Any]:
    held = view.allocations[host].record if host in view.allocations else Allocations()
    return {
        "device": brick.device,
        "pool": brick.pool,
        "capacity": brick.capacity,
        "state": brick_state(view, host, brick),
        "session": owners.get(brick.device, ""),
        "reason": told_to(caller, held.quarantined.get(brick.device, "")),
    }


def brick_state(view: View, host: str, brick: Brick) -> str:
    """``taken``, ``quarantined``, ``dead`` or ``draining`` (free, on such a host), or ``free``: only the last may be claimed."""
    held = view.allocations[host].record if host in view.allocations else Allocations()
    if brick.device in held.taken:
        return "taken"
    if brick.device in held.quarantined:
        return "quarantined"
    if host not in view.alive:
        return "dead"
    return "draining" if held.draining else "free"


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain did to a host: whether it changed anything, and the sessions that have bricks there."""

    host: str
    changed: bool
    sessions: tuple[str, ...]


def drain(context: VerbContext, folded: str, caller: PeerCredentials, *, draining: bool) -> Verb[tuple[Drained, ...]]:
    """Give hosts no new sessions, or give them some again; running ones go on. Raises Denied, NotFound and BadName before any change."""
    check_operator(caller, "drain hosts" if draining else "undrain hosts")
    hosts = select(context.view, folded)
    changed: set[str] = set()
    for part in _parts(hosts, context.most_changes):
        changed |= yield from _set(context, part, draining)
    return tuple(Drained(host, host in changed, tuple(sorted(set(context.view.owners_on(host).values())))) for host in hosts)


def _set(context: VerbContext, hosts: tuple[str, ...], draining: bool) -> Verb[set[str]]:
    """One transaction for some hosts, made anew until nothing else was written to them meanwhile; which of them it changed."""
    while True:
        held = {host: context.view.allocations[host].record for host in hosts if host in context.view.allocations}
        others = {host: record for host, record in held.items() if record.draining != draining}
        if not others:
            return set()
        draft = TransactionBuilder(context.view)
        for host, record in others.items():
            draft.put(msgspec.structs.replace(record, draining=draining), "allocations", host)
        result = yield draft.commit()
        if result.ok:
            return set(others)
        yield Sleep(0.01)


def _parts(hosts: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    rest = iter(hosts)
    while part := tuple(islice(rest, size)):
        yield part
