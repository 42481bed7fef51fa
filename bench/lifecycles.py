"""Many clients at once, each taking jobs through their whole lives; and what that leaves in the store."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from dacc_core.demo.site import LocalSite
from tests.support.registries import Registry

from .baselines import COUNTS, LARGE, MANY, on
from .rows import Row
from .site import LIFECYCLE, CallFailed, Client, running_site, stopped_site
from .stores import Census, census, fill, stores
from .timing import BARE_NAME, milliseconds

CLIENTS = (1, 4, 16, 64)
FEW_CLIENTS = (1, 4)
LARGE_CLIENTS = 16
OTHERS = Registry(2400, draining=True)


@dataclass(frozen=True, slots=True)
class Crowd:
    """What clients at work at once did: lifecycles a second, the seconds of each setup, why lifecycles failed."""

    rate: float
    setups: tuple[float, ...]
    failures: tuple[str, ...]


def measure(*, quick: bool) -> Iterator[Row]:
    """Rows for each number of clients, for a large registry, and for the store; on each keystore."""
    for store in stores():
        yield from _measure(store, quick)


def _measure(store: str, quick: bool) -> Iterator[Row]:
    with running_site(store=store) as site:
        before = census(site)
        tokens = itertools.count(1)
        for clients in FEW_CLIENTS if quick else CLIENTS:
            yield from _rows(on(store, MANY), site, clients, _lives(clients, quick), tokens)
        yield from _counts(on(store, COUNTS), before, census(site), next(tokens) - 1)
    with stopped_site(hosts=1, bricks=64, store=store) as site:
        fill(site, OTHERS)
        site.start()
        clients = FEW_CLIENTS[-1] if quick else LARGE_CLIENTS
        yield from _rows(on(store, LARGE), site, clients, _lives(clients, quick), itertools.count(1))


def _lives(clients: int, quick: bool) -> int:
    """How many lifecycles each client does."""
    return 1 if quick else max(4, 40 // clients)


def _rows(group: str, site: LocalSite, clients: int, lives: int, tokens: Iterator[int]) -> Iterator[Row]:
    crowds, bare = [], []
    for _ in range(1 if lives == 1 else 3):
        bare.append(_bare_rate(site, clients, 2 * lives))
        crowds.append(_crowd(site, clients, lives, tokens))
    rate = median(crowd.rate for crowd in crowds)
    part = median(crowd.rate / one for crowd, one in zip(crowds, bare, strict=True))
    setups = [seconds for crowd in crowds for seconds in crowd.setups]
    failures = [why for crowd in crowds for why in crowd.failures]
    yield Row(group, f"{clients} clients: lifecycles", rate, "/s", part, f"9 times {BARE_NAME}")
    yield Row(group, f"{clients} clients: setup", milliseconds(setups) if setups else float("inf"), "ms")
    yield Row(group, f"{clients} clients: failed", len(failures), "", beside=failures[0][:60] if failures else "")


def _crowd(site: LocalSite, clients: int, lives: int, tokens: Iterator[int]) -> Crowd:
    setups: list[float] = []
    failures: list[str] = []

    def live(client: Client) -> None:
        for _ in range(lives):
            try:
                setups.append(client.lifecycle(str(next(tokens)))["setup"])
            except CallFailed as error:
                failures.append(str(error))

    seconds = _together(site, clients, live)
    return Crowd(clients * lives / seconds, tuple(setups), tuple(failures))


def _bare_rate(site: LocalSite, clients: int, calls: int) -> float:
    """As many lifecycles a second as interpreters that do nothing would make."""

    def live(client: Client) -> None:
        for _ in range(calls):
            client.bare()

    return clients * calls / len(LIFECYCLE) / _together(site, clients, live)


def _together(site: LocalSite, clients: int, live: Callable[[Client], None]) -> float:
    """The seconds until all of them are done."""
    everyone = [Client(site, f"client{number}") for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        list(pool.map(live, everyone))
        return time.perf_counter() - begun


def _counts(group: str, before: Census, after: Census, lifecycles: int) -> Iterator[Row]:
    yield Row(group, "revisions", (after.revision - before.revision) / lifecycles, "a lifecycle")
    yield Row(group, "leases granted", (after.leases - before.leases) / lifecycles, "a lifecycle")
    yield Row(group, "keys left beside the history", after.others - before.others, "in all")
    yield Row(group, "keys of the history", after.history - before.history, "in all")
