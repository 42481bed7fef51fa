"""The files of an SQLite keystore: how they are created, and which places are refused because they would not be safe there."""

from __future__ import annotations

import grp
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from ...errors import AlreadyExists, KeystoreMissing, KeystoreUnavailable, NotFound
from .tables import APPLICATION_ID, SCHEMA, SCHEMA_VERSION

# WAL keeps its index in shared memory, which no two machines share; several of these have no reliable locks either.
NETWORK_FILESYSTEMS = frozenset(
    {
        *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "daos", "dvs", "gfs", "gfs2", "glusterfs", "gpfs"),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "virtiofs", "wekafs"),
    }
)
# Most FUSE filesystems are remote (sshfs, glusterfs, s3fs …); these are not.
LOCAL_FUSE_FILESYSTEMS = frozenset({"fuse.fuse-overlayfs", "fuse.bindfs", "fuseblk"})

WAKE_DIRECTORY = "wake"


class FileIdentity(NamedTuple):
    """Which file a path led to, so that a removed or replaced store is noticed."""

    device: int
    inode: int


def identity(path: Path) -> FileIdentity:
    """The file that ``path`` leads to now."""
    status = os.stat(path)  # noqa: PTH116 - called for every transaction, and Path.stat costs as much again
    return FileIdentity(status.st_dev, status.st_ino)


def filesystem_type(directory: Path) -> str:
    """The type of the filesystem that holds ``directory``, as the kernel's mount table names it."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        fdinfo = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    finally:
        os.close(descriptor)
    mount = next(line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id:"))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[0] == mount:
            return line.partition(" - ")[2].split()[0]
    return "unknown"


def is_network(kind: str) -> bool:
    """Whether a filesystem of this type may be shared with another machine."""
    remote_fuse = kind == "fuse" or kind.startswith("fuse.")
    return kind in NETWORK_FILESYSTEMS or (remote_fuse and kind not in LOCAL_FUSE_FILESYSTEMS)


def refuse_network(path: Path) -> None:
    """Raise when the store would lie on a network filesystem."""
    kind = filesystem_type(path.parent)
    if is_network(kind):
        why = f"{path.parent} is on a network filesystem ({kind}), where SQLite loses data: choose a local directory"
        raise KeystoreUnavailable(where=str(path), why=why)


def require_store(path: Path) -> FileIdentity:
    """Raise unless there is a file that this process may use as a store; its identity."""
    try:
        store = identity(path)
        if not path.is_file():
            raise KeystoreUnavailable(where=str(path), why="it is not a regular file")
        refuse_network(path)
    except FileNotFoundError:
        raise KeystoreMissing(where=str(path), hint="or set DACC_STATE_DIR") from None
    except OSError as error:
        raise unavailable(path, error) from error
    _require_writable(path)
    return store


def _require_writable(path: Path) -> None:
    # SQLite opens what it cannot write for reading only, without an error, and fails at some later moment.
    for required, mode in ((path.parent, os.R_OK | os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        if not os.access(required, mode, effective_ids=True):
            why = f"{required} cannot be written by uid {os.geteuid()}, and even readers of the store (SQLite's WAL) must write there"
            raise KeystoreUnavailable(where=str(path), why=why)


def unavailable(path: Path, error: Exception) -> KeystoreUnavailable:
    """An operating system's or SQLite's error as ours."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    culprit = error.filename if isinstance(error, OSError) else None
    return KeystoreUnavailable(where=str(path), why=f"{text} ({culprit})" if culprit and str(culprit) != str(path) else text)


def create_store(path: Path, group: str | int | None) -> None:
    """Create an empty store, complete or not at all; raise ``AlreadyExists`` when there is a file."""
    gid = _group_id(group)
    try:
        _make_directory(path.parent, gid, adopt_empty=True)
        if path.exists():
            raise AlreadyExists(why=f"{path} already exists")
        refuse_network(path)
        _make_directory(path.parent / WAKE_DIRECTORY, gid, adopt_empty=False)
        _make_database(path, gid)
    except (OSError, sqlite3.Error) as error:
        raise unavailable(path, error) from error


def _group_id(group: str | int | None) -> int | None:
    if group is None or isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise NotFound(why=f"group {group!r} does not exist on this host") from None


def _make_directory(directory: Path, gid: int | None, *, adopt_empty: bool) -> None:
    # A directory with other things in it keeps its mode: it may be the user's home, or /tmp.
    try:
        directory.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        if not adopt_empty or any(directory.iterdir()):
            return
    if gid is not None:
        os.chown(directory, -1, gid)
        directory.chmod(0o2770)


def _make_database(path: Path, gid: int | None) -> None:
    # Written under another name and linked into place: a crash leaves no half-written store, and of two creators one succeeds.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        if gid is not None:
            os.fchown(descriptor, -1, gid)
        os.fchmod(descriptor, 0o600 if gid is None else 0o660)
        _write_schema(draft)
        os.fsync(descriptor)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            raise AlreadyExists(why=f"{path} already exists") from None
    finally:
        os.close(descriptor)
        for leftover in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                draft.with_name(draft.name + leftover).unlink()
    _sync_directory(path.parent)


def _write_schema(draft: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.executescript(SCHEMA)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
