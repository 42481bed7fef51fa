"""How long a job waits for a storage host whose daemon dies in the middle of a step, until another host has done it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from dacc_core.config.settings import Settings
from dacc_core.demo.site import LocalSite

from .baselines import TAKEOVER, on
from .rows import Row
from .site import CallFailed, Client, stopped_site
from .stores import stores

TOKEN = "1"
PATIENCE = 30.0


def measure(*, quick: bool) -> Iterator[Row]:
    """A row for each keystore. ``quick`` has a shorter lease, so that its seconds tell nothing."""
    ttl = 2.0 if quick else Settings().lease_ttl
    for store in stores():
        times = [_takeover(store, ttl) for _ in range(1 if quick else 3)]
        yield Row(on(store, TAKEOVER), f"lease of {ttl:g} s", median(times), "s", median(times) / ttl, "lease_ttl")


def _takeover(store: str, ttl: float) -> float:
    with stopped_site(hosts=2, bricks=1, store=store, lease_ttl=ttl) as site:
        # The first one to make the filesystem never gets done; it is counted in a directory, so that the next one does.
        site.provider = {"faults": [{"call": "create", "hang": True}], "fault_dir": str(site.directory / "faults")}
        site.configure()
        site.start()
        with Client(site).begun("setup", TOKEN) as setup:
            site.kill(_until(lambda: _stuck(site)))
            begun = time.perf_counter()
            if setup.wait(PATIENCE + ttl):
                raise CallFailed("setup did not get over the death of a daemon")
            return time.perf_counter() - begun


def _stuck(site: LocalSite) -> str:
    """The host that makes the filesystem and hangs, or nothing."""
    if not any((site.directory / "faults").glob("*")):
        return ""
    return str(site.ask("show", TOKEN)["status"]["coordinator"])


def _until(find: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := find()):
        if time.monotonic() > end:
            raise TimeoutError("no host makes the filesystem")
        time.sleep(0.01)
    return found
