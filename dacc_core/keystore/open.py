"""Opening the store that the configuration names."""

from __future__ import annotations

from pathlib import Path

from ..config import Config
from ..errors import AlreadyExists, KeystoreMissing
from .base import Keystore


def open_store(config: Config, *, create: bool = False) -> Keystore:
    """The site's keystore. Only a daemon may ``create`` one that is not there.

    Raises KeystoreMissing and KeystoreUnavailable.
    """
    from .sqlite import SqliteKeystore  # the only backend yet; programs that open no store do not pay for its import

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
