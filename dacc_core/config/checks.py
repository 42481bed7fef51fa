"""What must hold between settings, once each of them is well formed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..names import expand
from .document import Document, Problem, dotted
from .settings import BrickSetting, HostsSettings, Settings

_SSH_ONLY = ("addresses", "port", "user", "identity", "known_hosts", "connect_timeout", "ssh_config")
# The login shells of hosts read it.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+-]*")


def cross_checks(settings: Settings, document: Document) -> Iterator[Problem]:
    """Every contradiction between settings."""
    # A pool whose own settings are wrong is missing from `settings`, but it does exist.
    raw = document.value.get("pools") if isinstance(document.value, Mapping) else None
    pools = set(raw) if isinstance(raw, Mapping) else set(settings.pools)
    yield from _hosts(settings.hosts)
    if pools and settings.default_pool not in pools:
        yield Problem(("default_pool",), _no_pool(settings.default_pool, pools))
    yield from _bricks(settings, pools)
    yield from _repeated_devices(settings)


def _hosts(hosts: HostsSettings) -> Iterator[Problem]:
    local = hosts.runner == "local"
    for name in _SSH_ONLY if local else ():
        if getattr(hosts, name) != getattr(HostsSettings(), name):
            yield Problem(("hosts", name), "is for the runners ssh and openssh: set hosts.runner, or leave it out")
    if hosts.namespace and not local:
        yield Problem(("hosts", "namespace"), f"is for the runner local, not {hosts.runner}: leave it out")
    if hosts.ssh_config and hosts.runner == "ssh":
        yield Problem(("hosts", "ssh_config"), "is for the runner openssh, and ssh reads no such file: set hosts.runner, or leave it out")
    if hosts.python and not local and not _PLAIN_PATH.fullmatch(hosts.python):
        yield Problem(("hosts", "python"), f"must be a path of letters, digits and _ . / + -, not {hosts.python!r}: a shell reads it there")
    yield from _repeated_hosts(hosts)


def _repeated_hosts(hosts: HostsSettings) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for nodes in hosts.addresses:
        twice = next((host for host in expand(nodes) if seen.setdefault(host, nodes) != nodes), "")
        if twice:
            yield Problem(("hosts", "addresses", nodes), f"host {twice} is also in {seen[twice]}: keep one", on_key=True)


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
