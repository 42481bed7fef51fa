"""``dacc backup`` and ``dacc restore``: through the keystore itself, without a daemon."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

import click

from ..config import load
from ..errors import InvalidRequest
from ..keystore.open import open_store
from ..registry import backup as backups
from ..registry import keys
from .output import moment


@click.command()
@click.argument("file")
def backup(file: str) -> None:
    """Write the whole state to FILE, as it is at one moment; daemons may run."""
    store = open_store(load())
    try:
        data, header = backups.dump(store.range(keys.PREFIX, timeout=backups.SECONDS), time.time(), store.where)
    finally:
        store.close()
    _write(Path(file), data)
    click.echo(f"{header.records} records of cluster {header.cluster} at revision {header.revision}: {file}")


@click.command()
@click.argument("file")
@click.option("--force", is_flag=True, help="Replace the state of a store that is not empty. Refused while a host is alive.")
@click.option("--trust-free", is_flag=True, help="Leave free bricks free: say so only if no session has begun since the backup.")
def restore(file: str, force: bool, trust_free: bool) -> None:
    """Write the state in FILE into the keystore of the configuration, which must be empty; no daemon may run."""
    saved = backups.parse(_read(Path(file)), file)
    config = load()
    store = open_store(config, create=True)
    try:
        done = backups.restore(store, saved, cluster=config.cluster, force=force, trust_free=trust_free, at=time.time())
    finally:
        store.close()
    click.echo(f"{done.records} records of cluster {saved.header.cluster}, as of {moment(saved.header.taken)}, are in {store.where}")
    for host, devices in done.aside.items():
        click.echo(f"{host}: {len(devices)} free bricks are in quarantine: see that nothing uses them, then dacc release {host}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(why=f"backup {path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """At once, or not at all; for the caller's eyes only, as it names users and paths."""
    draft = ""
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
        _sync_directory(path.absolute().parent)
    except OSError as error:
        if draft:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
        raise InvalidRequest(why=f"backup {path} cannot be written: {error.strerror}") from error


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
