"""What Slurm polls every 30 seconds, with registries of several sizes, with the daemon and without, on each keystore."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from tests.support.registries import Registry

from .baselines import FALLBACK, LISTINGS, on
from .rows import Row
from .site import Client, stopped_site
from .stores import fill, requests, stores
from .timing import BARE_NAME, memory_of, milliseconds, ratio

REGISTRIES = (Registry(24, 100), Registry(240, 1000), Registry(2400, 10000))
FUNCTIONS = ("pools", "show_instances", "show_sessions")
CONTROLLER = "ctl"
Call = Callable[[str], float]


@dataclass
class Figures:
    """Calls of one kind at one size: seconds by what was run, keystore requests of each call, MB."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: list[int] = field(default_factory=list)
    memory: float = 0.0


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for each function, size and keystore."""
    for store in stores():
        sizes = {registry.name: _measure(store, registry, quick) for registry in REGISTRIES}
        from_daemon, without_daemon = ({size: groups[group] for size, (groups, _) in sizes.items()} for group in (LISTINGS, FALLBACK))
        yield from _rows(on(store, LISTINGS), from_daemon)
        for size, (_, memory) in sizes.items():
            yield Row(on(store, LISTINGS), f"memory of dacd {size}", memory, "MB")
        yield from _rows(on(store, FALLBACK), without_daemon)


def _measure(store: str, registry: Registry, quick: bool) -> tuple[dict[str, Figures], float]:
    """What the calls took with the daemon and without, and the daemon's memory."""
    with stopped_site(hosts=1, bricks=1, store=store) as site:
        fill(site, registry)
        site.start(CONTROLLER)
        client = Client(site)
        from_daemon = _figures(client, client.call, client.memory, 1 if quick else 15)
        memory = memory_of(site.daemons[CONTROLLER].pid)
        site.stop(CONTROLLER)
        without_daemon = _figures(client, client.call_without_daemon, client.memory_without_daemon, 1 if quick else 5)
        return {LISTINGS: from_daemon, FALLBACK: without_daemon}, memory


def _figures(client: Client, call: Call, memory: Call, turns: int) -> Figures:
    figures = Figures()
    call("pools")  # for what only the first call compiles or opens
    for function in turns * FUNCTIONS:
        figures.times[f"bare {function}"].append(client.bare())
        figures.times[function].append(call(function))
    figures.memory = max(map(memory, FUNCTIONS))
    if "keystore" in client.site.extra:
        _on_etcd(client, call, figures, turns)
    return figures


def _on_etcd(client: Client, call: Call, figures: Figures, turns: int) -> None:
    etcdctl = shutil.which("etcdctl")
    for function in 3 * FUNCTIONS:  # the median excludes what the daemon requests once in 2 s
        before = requests(client.site)
        call(function)
        figures.requests.append(requests(client.site) - before)
    for _ in range(turns if etcdctl else 0):
        figures.times["bare etcdctl get"].append(client.bare())
        figures.times["etcdctl get"].append(client.etcdctl(str(etcdctl)))


def _rows(group: str, by_size: dict[str, Figures]) -> Iterator[Row]:
    for name in (*FUNCTIONS, "etcdctl get"):
        for size, figures in by_size.items():
            if times := figures.times[name]:
                yield Row(group, f"{name} {size}", milliseconds(times), "ms", ratio(times, figures.times[f"bare {name}"]), BARE_NAME)
    for size, figures in by_size.items():
        if figures.requests:
            yield Row(group, f"keystore requests of a call {size}", median(figures.requests), "")
    for size, figures in by_size.items():
        yield Row(group, f"memory of a call {size}", figures.memory, "MB")
