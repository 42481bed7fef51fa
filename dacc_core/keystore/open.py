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
    # Each backend is imported where it is used: importing gRPC alone takes longer than a whole call on SQLite.
    return _open_etcd(config) if config.keystore.backend == "etcd" else _open_sqlite(config, create)


def _open_etcd(config: Config) -> Keystore:
    try:
        from .etcd.access import configured_access
        from .etcd.store import EtcdKeystore
    except ImportError as error:
        problem = f"etcd needs packages that are not installed ({error}): install dacc[etcd]"
        raise BadConfig(problems=f"{config.position('keystore')}: keystore: {problem}") from error
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
    except AlreadyExists:  # by another daemon of this machine, in the meantime
        return SqliteKeystore.open(path)
