"""The daemon's socket as a file: whose it is, who may connect, and what was left there."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BadConfig, Busy

BACKLOG = 1024
_MAX_PATH = 107  # of sun_path's 108 bytes the last one is NUL


class SocketListener:
    """A listening socket at a path. From its making to its closing nobody else listens there: a lock next to it says so."""

    def __init__(self, path: str, *, group: str | int | None = None, mode: int = 0o666) -> None:
        self.path = path
        if len(os.fsencode(path)) >= _MAX_PATH:
            raise BadConfig(problems=f"socket {path}: longer than the {_MAX_PATH - 1} bytes that a socket may have")
        try:
            _make_directory(Path(path).parent)
            self._lock = self._take_lock()
            with self._unlocked_on_error():
                self._refuse_to_replace()
                self.socket = self._listen(group, mode)
                self._identity = _identity(path)
        except OSError as error:
            raise BadConfig(problems=f"socket {path}: cannot listen there: {error.strerror or error}") from error
        except LookupError as error:
            raise BadConfig(problems=f"socket {path}: there is no group {group}") from error

    def close(self) -> None:
        """Wake who waits in ``accept``, and take the file away if it is still ours."""
        with suppress(OSError):
            if _identity(self.path) == self._identity:
                Path(self.path).unlink()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.close(self._lock)

    def _take_lock(self) -> int:
        """The lock file stays for ever: removing it would let two daemons hold two files of the same name."""
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise _taken(self.path) from None
        return lock

    @contextmanager
    def _unlocked_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            os.close(self._lock)
            raise

    def _refuse_to_replace(self) -> None:
        """What a dead daemon left may be replaced, nothing else."""
        try:
            is_socket = stat.S_ISSOCK(os.lstat(self.path).st_mode)
        except FileNotFoundError:
            return
        if not is_socket:
            raise BadConfig(problems=f"socket {self.path}: something else has that name: remove it")
        if _answers(self.path):
            raise _taken(self.path)

    def _listen(self, group: str | int | None, mode: int) -> socket.socket:
        """Make the socket under another name, so that its own one appears when it is complete."""
        draft = f"{self.path}~"
        Path(draft).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(draft)
            if group is not None:
                shutil.chown(draft, group=group)
            Path(draft).chmod(mode)
            listening.listen(BACKLOG)
            Path(draft).rename(self.path)
        except BaseException:
            listening.close()
            Path(draft).unlink(missing_ok=True)
            raise
        return listening


def _taken(path: str) -> Busy:
    return Busy(why=f"another daemon listens on {path}: stop it, or give this one another place with --socket")


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # its queue of callers is full
            return True
        return True


def _identity(path: str) -> tuple[int, int]:
    info = os.lstat(path)
    return info.st_dev, info.st_ino


def _make_directory(directory: Path) -> None:
    """Make the directory: root's can be passed by every client, a user's by that user only."""
    if directory.is_dir():
        return
    mode = 0o755 if os.geteuid() == 0 else 0o700
    directory.mkdir(mode, parents=True, exist_ok=True)
    directory.chmod(mode)  # whatever the umask
