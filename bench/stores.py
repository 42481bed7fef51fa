"""The keystores of sites: what is in them, and how to fill them before any daemon starts."""

from __future__ import annotations

import sqlite3
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

from dacc_core.config import parse_text
from dacc_core.demo.site import LocalSite
from dacc_core.keystore.base import Keystore
from dacc_core.keystore.open import open_store
from dacc_core.registry import keys
from tests.support.etcd import lacking
from tests.support.registries import Registry, write

SQLITE, ETCD = "sqlite", "etcd"
REQUESTS = ("KV", "Lease")
"""The services of etcd whose calls count as requests; a watch is one stream for as long as it lasts."""


@cache
def stores() -> tuple[str, ...]:
    """The keystores that this machine can measure."""
    if lacks := lacking():
        print(f"bench: etcd is left out: it needs {lacks}", file=sys.stderr)
    return (SQLITE,) if lacks else (SQLITE, ETCD)


def opened(site: LocalSite) -> Keystore:
    """A site's keystore, made if need be."""
    return open_store(parse_text((site.directory / "dacc.yaml").read_text(), "bench"), create=True)


def fill(site: LocalSite, registry: Registry) -> None:
    """Put this registry into a site's keystore."""
    with closing(opened(site)) as store:
        write(store, registry)


@dataclass(frozen=True, slots=True)
class Census:
    """A store at a moment: its revision, the leases that it ever granted, its keys of the history and all others."""

    revision: int
    leases: int
    history: int
    others: int


def census(site: LocalSite) -> Census:
    """The store as it is now. The leases are counted in the store itself, as the keystore's code does not report them."""
    with closing(opened(site)) as store:
        snapshot = store.range(keys.PREFIX)
    history = sum(item.key.startswith(keys.key("history", "")) for item in snapshot.items)
    return Census(snapshot.revision, _leases(site), history, len(snapshot.items) - history)


def requests(site: LocalSite) -> int:
    """How many requests a site's etcd has received so far."""
    return _sum(site, "grpc_server_started_total", *(f"etcdserverpb.{service}" for service in REQUESTS))


def _leases(site: LocalSite) -> int:
    if "keystore" in site.extra:
        return _sum(site, "etcd_debugging_lease_granted_total")
    with closing(sqlite3.connect(f"{(site.directory / 'state' / 'store.db').as_uri()}?mode=ro", uri=True)) as database:
        (leases,) = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'leases'").fetchone()
    return int(leases)


def _sum(site: LocalSite, metric: str, *labels: str) -> int:
    """A metric of a site's etcd, over those of its series that have one of the labels."""
    keystore: Mapping[str, Any] = site.extra["keystore"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{keystore['endpoints'][0]}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    series = (line for line in lines if line.startswith(metric) and (not labels or any(f'"{label}"' in line for label in labels)))
    return sum(int(float(line.rpartition(" ")[2])) for line in series)
