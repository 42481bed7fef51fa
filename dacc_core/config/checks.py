"""What must hold between settings, once each of them is well formed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..names import expand
from .document import Document, Problem, dotted
from .settings import BrickSetting, Settings

NO_ETCD = "etcd is not supported by this version: without endpoints, the keystore is sqlite, for one machine"


def cross_checks(settings: Settings, document: Document) -> Iterator[Problem]:
    """Every contradiction between settings."""
    # A pool whose own settings are wrong is missing from `settings`, but it does exist.
    raw = document.value.get("pools") if isinstance(document.value, Mapping) else None
    pools = set(raw) if isinstance(raw, Mapping) else set(settings.pools)
    yield from _keystore(settings)
    if pools and settings.default_pool not in pools:
        yield Problem(("default_pool",), _no_pool(settings.default_pool, pools))
    yield from _bricks(settings, pools)
    yield from _repeated_devices(settings)


def _keystore(settings: Settings) -> Iterator[Problem]:
    if settings.keystore.endpoints:
        # Never fall back to SQLite: each host would then have a store of its own and give bricks out twice.
        yield Problem(("keystore", "endpoints"), NO_ETCD)


def _no_pool(name: str, pools: set[Any]) -> str:
    return f"pool {name!r} does not exist: the pools are {', '.join(sorted(map(str, pools))) or 'none, add it to `pools`'}"


def _bricks(settings: Settings, pools: set[Any]) -> Iterator[Problem]:
    for pattern, bricks in settings.bricks.items():
        for index, brick in enumerate(bricks):
            path = ("bricks", pattern, index)
            name = brick.pool or settings.default_pool
            pool = settings.pools.get(name)
            if name not in pools:
                yield Problem((*path, "pool"), _no_pool(name, pools))
            elif pool and brick.capacity and brick.capacity < pool.granularity:
                text = f"must be at least the granularity of pool {name} ({pool.granularity} bytes), not {brick.capacity}"
                yield Problem((*path, "capacity"), text)


def _repeated_devices(settings: Settings) -> Iterator[Problem]:
    seen: dict[tuple[str, str], tuple[str, int]] = {}
    reported: set[tuple[str, int]] = set()
    for pattern, index, host, brick in _each(settings):
        here = (pattern, index)
        first = seen.setdefault((host, brick.device), here)
        if first != here and here not in reported:
            reported.add(here)
            text = f"host {host} has {brick.device} twice, first as {dotted(('bricks', *first))}: keep one"
            yield Problem(("bricks", *here, "device"), text)


def _each(settings: Settings) -> Iterator[tuple[str, int, str, BrickSetting]]:
    for pattern, bricks in settings.bricks.items():
        for host in expand(pattern):
            for index, brick in enumerate(bricks):
                yield pattern, index, host, brick
