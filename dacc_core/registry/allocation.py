"""Which bricks a session gets: pure, deterministic for the same view and token, spread over hosts for bandwidth."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from ..errors import NoSuchPool, PoolFull, PoolTooSmall
from ..values import BrickRef, Volume
from .records import Allocations, Session
from .transaction import TransactionBuilder
from .view import View, names

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_HOST_DIGITS = 3
_SERIAL_DIGITS = 4


def bricks_needed(size: int, granularity: int) -> int:
    """How many bricks hold ``size`` bytes."""
    return -(-size // granularity)


def rendezvous(token: str, host: str) -> int:
    """A token's order of hosts: each token has its own, so that concurrent claims rarely meet."""
    return zlib.crc32(f"{token}\0{host}".encode("utf-8", "surrogateescape"))


def choose(view: View, token: str, pool: str, size: int, held: tuple[BrickRef, ...] = ()) -> tuple[BrickRef, ...]:
    """Bricks that together with those ``held`` are for ``size`` bytes: one from each host in turn, hosts in the token's order.

    Raises NoSuchPool, PoolTooSmall (never enough) and PoolFull (not enough now).
    """
    entry = view.pools.get(pool)
    if entry is None:
        available = names(view.pools)
        raise NoSuchPool(pool=pool, hint=f"there are {available}" if available else "no brick host has registered one yet")
    needed = bricks_needed(size, entry.record.granularity)
    free = {host: view.free_devices(host, pool) for host in view.hosts}
    if sum(map(len, free.values())) + len(held) < needed:
        raise _no_space(view, pool, needed, size, len(held))
    return _spread(token, free, needed, held)


def _spread(token: str, free: dict[str, tuple[str, ...]], needed: int, held: tuple[BrickRef, ...]) -> tuple[BrickRef, ...]:
    order = sorted((host for host in free if free[host]), key=lambda host: (rendezvous(token, host), host))
    mine = Counter(brick.host for brick in held)  # a host that gave some had its turns
    chosen: list[BrickRef] = []
    turn = 0
    while len(chosen) < needed - len(held):
        for host in order:
            if 0 <= turn - mine[host] < len(free[host]) and len(chosen) < needed - len(held):
                chosen.append(BrickRef(host=host, device=free[host][turn - mine[host]]))
        turn += 1
    return tuple(chosen)


def _arranged(token: str, bricks: tuple[BrickRef, ...]) -> tuple[BrickRef, ...]:
    """The order in which one claim would have chosen them."""
    turns: Counter[str] = Counter()
    keyed: list[tuple[tuple[int, int, str], BrickRef]] = []
    for brick in bricks:
        keyed.append(((turns[brick.host], rendezvous(token, brick.host), brick.host), brick))
        turns[brick.host] += 1
    return tuple(brick for _, brick in sorted(keyed, key=lambda pair: pair[0]))


def is_full(view: View, pool: str, size: int, held: int) -> bool:
    """Whether ``size`` bytes fit into a pool but not now, for a session that has ``held`` bricks. Asked often, so it costs little."""
    entry = view.pools.get(pool)
    total, free = view.quantity(pool)
    return entry is not None and free + held < bricks_needed(size, entry.record.granularity) <= total


def shortage(view: View, session: Session) -> str:
    """Why a session that waits for bricks cannot have them: how many there are, and what would help. Empty when it could."""
    pool, held = session.request.pool, len(session.bricks)
    if not session.wanted or not is_full(view, pool, session.wanted, held):
        return ""
    return str(_no_space(view, pool, bricks_needed(session.wanted, view.pools[pool].record.granularity), session.wanted, held))


def _no_space(view: View, pool: str, needed: int, size: int, held: int) -> PoolFull | PoolTooSmall:
    granularity = view.pools[pool].record.granularity
    total, free = view.quantity(pool)
    facts = {"pool": pool, "free": free + held, "total": total, "needed": needed, "needed_bytes": size, "granularity": granularity}
    if needed > total:
        return PoolTooSmall(**facts, total_bytes=total * granularity)
    return PoolFull(**facts, hint=_way_out(_out_of_use(view, pool), total, needed))


def _way_out(lost: Counter[str], total: int, needed: int) -> str:
    """What to do when not enough is free. Whoever waits for a host that is down must know that no job's end helps."""
    others = ", ".join(f"{number} {why}" for why, number in sorted(lost.items()))
    if total - lost.total() < needed:
        return others + ": ask an operator"
    return f"wait for other jobs to end ({others})" if others else "wait for other jobs to end"


def _out_of_use(view: View, pool: str) -> Counter[str]:
    """How many bricks of a pool no job's end gives back, by the reason."""
    lost: Counter[str] = Counter()
    for host, entry in view.hosts.items():
        held = view.allocations[host].record if host in view.allocations else Allocations()
        for brick in entry.record.bricks:
            if brick.pool != pool:
                continue
            if host not in view.alive:
                lost["on hosts that are down"] += 1
            elif held.draining:
                lost["on hosts that are drained"] += 1
            elif brick.device in held.quarantined:
                lost["in quarantine"] += 1
    return lost


def volume_name(host_number: int, serial: int) -> str:
    """A name that is never used again: the first brick host's number and its own count, as ``[a-z][a-z0-9]{7}``.

    A valid Lustre fsname (at most 8 characters). 26 * 36**4 volumes for each of 36**3 hosts.
    """
    letter, rest = divmod(serial, 36**_SERIAL_DIGITS)
    return chr(ord("a") + letter) + _base36(host_number, _HOST_DIGITS) + _base36(rest, _SERIAL_DIGITS)


def _base36(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def claim(view: View, draft: TransactionBuilder, session: Session, size: int, most_hosts: int) -> tuple[Volume | None, bool]:
    """Add to ``draft`` what takes bricks for ``size`` bytes, of so many hosts at most, beside those that the session holds.

    The volume, ``None`` when no bytes are asked for, and whether it is complete.
    """
    if size == 0:
        return None, True
    held = session.bricks
    chosen = choose(view, session.token, session.request.pool, size, held)
    hosts = dict.fromkeys(list(dict.fromkeys(brick.host for brick in chosen))[:most_hosts])
    part = tuple(brick for brick in chosen if brick.host in hosts)
    volume = session.volume or _new_volume(view, session.request.pool, size, chosen[0].host)
    for host in hosts:
        draft.put(_taken(view, host, volume.name, part, count=not held and host == chosen[0].host), "allocations", host)
    bricks = _arranged(session.token, held + part)
    return msgspec.structs.replace(volume, bricks=bricks), len(part) == len(chosen)


def _new_volume(view: View, pool: str, size: int, first: str) -> Volume:
    name = volume_name(view.hosts[first].record.number, view.allocations[first].record.serial)
    entry = view.pools[pool].record
    capacity = bricks_needed(size, entry.granularity) * entry.granularity
    return Volume(name=name, pool=pool, provider=entry.provider, capacity=capacity, bricks=())


def _taken(view: View, host: str, volume: str, bricks: tuple[BrickRef, ...], *, count: bool) -> Allocations:
    held = view.allocations[host].record
    devices = {brick.device: volume for brick in bricks if brick.host == host}
    return msgspec.structs.replace(held, taken=held.taken | devices, serial=held.serial + count)


def release(view: View, draft: TransactionBuilder, bricks: tuple[BrickRef, ...], *, quarantine: str = "") -> None:
    """Add to ``draft`` what gives bricks back: free, or quarantined with a reason."""
    for host in dict.fromkeys(brick.host for brick in bricks):
        entry = view.allocations.get(host)
        if entry is not None:
            devices = [brick.device for brick in bricks if brick.host == host]
            draft.put(_given(entry.record, devices, quarantine), "allocations", host)


def _given(held: Allocations, devices: list[str], quarantine: str) -> Allocations:
    taken = {device: volume for device, volume in held.taken.items() if device not in devices}
    quarantined = held.quarantined | (dict.fromkeys(devices, quarantine) if quarantine else {})
    return msgspec.structs.replace(held, taken=taken, quarantined=quarantined)


# --- hosts that are forgotten, and perhaps come back ---


def forgotten(held: Allocations, owners: Mapping[str, str], devices: Iterable[str], at: float) -> Allocations:
    """What stays of a host that is forgotten: nothing is taken, and every device is in quarantine in case the host comes back."""
    return Allocations(quarantined=put_aside(held, owners, devices, at).quarantined, serial=held.serial, forgotten=at)


def put_aside(held: Allocations, owners: Mapping[str, str], devices: Iterable[str], at: float) -> Allocations:
    """The record with devices in quarantine because their host is forgotten: some of sessions, by device, and some that are free."""
    day = time.strftime("%Y-%m-%d", time.gmtime(at))
    aside = dict.fromkeys(devices, f"forgotten on {day}")
    aside |= {device: f"forgotten on {day}: has data of session {token}" for device, token in owners.items()}
    left = {device: volume for device, volume in held.taken.items() if device not in aside}
    return msgspec.structs.replace(held, taken=left, quarantined=aside | held.quarantined)


def returned(held: Allocations, devices: Iterable[str]) -> Allocations:
    """The record of a forgotten host that is back: no device is free, as any may hold old data, also one whose name is new."""
    return msgspec.structs.replace(put_aside(held, {}, devices, held.forgotten), forgotten=0.0)
