"""The store of a site: what is in it, and how to fill it before any daemon starts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from dacc_core.keystore.sqlite import SqliteKeystore
from dacc_core.registry import keys
from dacc_core.testing.registries import Registry, write
from dacc_core.testing.site import LocalSite


def path_of(site: LocalSite) -> Path:
    """Where a site's store is when its configuration does not say."""
    return site.directory / "state" / "store.db"


def fill(site: LocalSite, registry: Registry) -> None:
    """Make the site's store with this registry in it."""
    store = SqliteKeystore.create(path_of(site))
    try:
        write(store, registry)
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class Census:
    """A store at a moment: its revision, the leases that it ever granted, its keys of the history and all others."""

    revision: int
    leases: int
    history: int
    others: int


def census(site: LocalSite) -> Census:
    """The store as it is now; read without the keystore's own code, which does not tell of leases."""
    with closing(sqlite3.connect(f"{path_of(site).as_uri()}?mode=ro", uri=True)) as database:
        (revision,) = database.execute("SELECT revision FROM meta").fetchone()
        (leases,) = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'leases'").fetchone()
        (history,) = database.execute("SELECT count(*) FROM items WHERE key LIKE ?", (keys.key("history", "%"),)).fetchone()
        (total,) = database.execute("SELECT count(*) FROM items").fetchone()
    return Census(revision, leases, history, total - history)
