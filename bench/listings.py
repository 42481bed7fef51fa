"""What Slurm asks every 30 seconds, of registries of several sizes, with the daemon and without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dacc_core.testing.registries import Registry

from .known import FALLBACK, LISTINGS
from .rows import Row
from .site import Client, stopped_site
from .stores import fill
from .timing import BARE_NAME, milliseconds, ratio

REGISTRIES = (Registry(24, 100), Registry(240, 1000), Registry(2400, 10000))
FUNCTIONS = ("pools", "show_instances", "show_sessions")

Times = dict[str, list[float]]


def measure(*, quick: bool) -> Iterator[Row]:
    """A row for each question and size."""
    found = {registry.name: _times(registry, 1 if quick else 15, 1 if quick else 5) for registry in REGISTRIES}
    for group in (LISTINGS, FALLBACK):
        for function in FUNCTIONS:
            for name, by_group in found.items():
                times, bare = by_group[group][function], by_group[group][f"bare {function}"]
                yield Row(group, f"{function} {name}", milliseconds(times), "ms", ratio(times, bare), BARE_NAME)


def _times(registry: Registry, turns: int, turns_without: int) -> dict[str, Times]:
    found: dict[str, Times] = {LISTINGS: defaultdict(list), FALLBACK: defaultdict(list)}
    with stopped_site(hosts=1, bricks=1) as site:
        fill(site, registry)
        site.start("ctl")
        client = Client(site)
        client.call("pools")
        for group, call, times in ((LISTINGS, client.call, turns), (FALLBACK, client.call_without_daemon, turns_without)):
            for _ in range(times):
                for function in FUNCTIONS:
                    found[group][f"bare {function}"].append(client.bare())
                    found[group][function].append(call(function))
    return found
