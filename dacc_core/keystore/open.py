"""Opening the store that the configuration names."""

from __future__ import annotations

from pathlib import Path

from ..config import Config
from ..errors import AlreadyExists, BadConfig, KeystoreMissing
from .base import Keystore


def open_store(config: Config, *, create: bool = False) -> Keystore:
    """The site's keystore. Only a daemon may ``create`` one that is not there.

    Raises KeystoreMissing, KeystoreUnavailable and BadConfig.
    """
    # Each backend is imported where it is used: gRPC alone takes longer than a whole call on SQLite.
    return _open_etcd(config) if config.keystore.backend == "etcd" else _open_sqlite(config, create)


def _open_etcd(config: Config) -> Keystore:
    try:
        from .etcd.access import configured_access
        from .etcd.store import EtcdKeystore
    except ImportError as error:
        place = f"{config.position('keystore')}: keystore"
        raise BadConfig(problems=f"{place}: etcd needs packages that are not installed ({error}): install dacc[etcd]") from error
    return EtcdKeystore(configured_access(config))


def _open_sqlite(config: Config, create: bool) -> Keystore:
    from .sqlite.store import SqliteKeystore

    path = Path(config.keystore.path)
    try:
        return SqliteKeystore.open(path)
    except KeystoreMissing:
        if not create:
            raise
    try:
        return SqliteKeystore.create(path, config.group or None)
    except AlreadyExists:  # another daemon of this machine was quicker
        return SqliteKeystore.open(path)
