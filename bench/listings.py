"""What Slurm asks every 30 seconds, of registries of several sizes, with the daemon and without, on each keystore."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from tests.support.registries import Registry

from .known import FALLBACK, LISTINGS, on
from .rows import Row
from .site import Client, stopped_site
from .stores import fill, requests, stores
from .timing import BARE_NAME, memory_of, milliseconds, ratio

REGISTRIES = (Registry(24, 100), Registry(240, 1000), Registry(2400, 10000))
FUNCTIONS = ("pools", "show_instances", "show_sessions")
CONTROLLER = "ctl"
Call = Callable[[str], float]


@dataclass
class Found:
    """What calls of one kind took at one size: seconds by what was run, keystore requests of each call, MB."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: list[int] = field(default_factory=list)
    memory: float = 0.0


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for each question, size and keystore."""
    for store in stores():
        found = {registry.name: _measure(store, registry, quick) for registry in REGISTRIES}
        asked, alone = ({size: kinds[group] for size, (kinds, _) in found.items()} for group in (LISTINGS, FALLBACK))
        yield from _rows(on(store, LISTINGS), asked)
        for size, (_, memory) in found.items():
            yield Row(on(store, LISTINGS), f"memory of dacd {size}", memory, "MB")
        yield from _rows(on(store, FALLBACK), alone)


def _measure(store: str, registry: Registry, quick: bool) -> tuple[dict[str, Found], float]:
    """What the calls took with the daemon and without, and the daemon's memory."""
    with stopped_site(hosts=1, bricks=1, store=store) as site:
        fill(site, registry)
        site.start(CONTROLLER)
        client = Client(site)
        asked = _found(client, client.call, client.memory, 1 if quick else 15)
        memory = memory_of(site.daemons[CONTROLLER].pid)
        site.stop(CONTROLLER)
        alone = _found(client, client.call_without_daemon, client.memory_without_daemon, 1 if quick else 5)
        return {LISTINGS: asked, FALLBACK: alone}, memory


def _found(client: Client, call: Call, memory: Call, turns: int) -> Found:
    found = Found()
    call("pools")  # what is compiled or opened at the first call only
    for function in turns * FUNCTIONS:
        found.times[f"bare {function}"].append(client.bare())
        found.times[function].append(call(function))
    found.memory = max(map(memory, FUNCTIONS))
    if "keystore" in client.site.extra:
        _on_etcd(client, call, found, turns)
    return found


def _on_etcd(client: Client, call: Call, found: Found, turns: int) -> None:
    etcdctl = shutil.which("etcdctl")
    for function in 3 * FUNCTIONS:  # the median is free of what the daemon asks once in 2 s
        before = requests(client.site)
        call(function)
        found.requests.append(requests(client.site) - before)
    for _ in range(turns if etcdctl else 0):
        found.times["bare etcdctl get"].append(client.bare())
        found.times["etcdctl get"].append(client.etcdctl(str(etcdctl)))


def _rows(group: str, found: dict[str, Found]) -> Iterator[Row]:
    for name in (*FUNCTIONS, "etcdctl get"):
        for size, of_size in found.items():
            if times := of_size.times[name]:
                yield Row(group, f"{name} {size}", milliseconds(times), "ms", ratio(times, of_size.times[f"bare {name}"]), BARE_NAME)
    for size, of_size in found.items():
        if of_size.requests:
            yield Row(group, f"keystore requests of a call {size}", median(of_size.requests), "")
    for size, of_size in found.items():
        yield Row(group, f"memory of a call {size}", of_size.memory, "MB")
