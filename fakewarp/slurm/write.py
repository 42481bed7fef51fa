"""Writing a set of files: all of them or none, and nothing of somebody else's is replaced."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from dacc_core.errors import AlreadyExists, BadArguments

from .files import File


def write_files(directory: Path, files: Sequence[File], *, force: bool) -> set[str]:
    """Write those that are not so already; their names. Raises BadArguments, or AlreadyExists if one differs, and has written none then."""
    try:
        changed = [file for file in files if not _is_so(directory / file.name, file)]
        _check(directory, changed, force=force)
        with contextlib.ExitStack() as undo:
            prepared = [(_prepare(directory / file.name, file, undo), directory / file.name) for file in changed]
            for new, path in prepared:
                new.replace(path)
            undo.pop_all()
    except OSError as error:
        raise BadArguments(why=f"cannot write into {directory}: {error.strerror}") from None
    return {file.name for file in changed}


def _is_so(path: Path, file: File) -> bool:
    try:
        return path.stat().st_mode & 0o777 == file.mode and path.read_bytes() == file.text.encode()
    except (FileNotFoundError, IsADirectoryError):
        return False


def _check(directory: Path, files: Sequence[File], *, force: bool) -> None:
    folders = [str(directory / file.name) for file in files if (directory / file.name).is_dir()]
    if folders:
        raise AlreadyExists(why=f"{', '.join(folders)} must be a file and is a directory: remove it, or write into another directory")
    others = [path for file in files if _differs(path := directory / file.name, file)]
    if others and not force:
        names = ", ".join(str(path) for path in others)
        raise AlreadyExists(why=f"{names}: differs from what would be written: merge by hand from --print, or replace it with --force")


def _differs(path: Path, file: File) -> bool:
    return os.path.lexists(path) and (not path.is_file() or path.read_bytes() != file.text.encode())


def _prepare(path: Path, file: File, undo: contextlib.ExitStack) -> Path:
    """The file's content under another name next to it, which no pattern such as ``prolog.d/*`` finds."""
    for folder in [folder for folder in reversed(path.parents) if not folder.exists()]:
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask says: Slurm's user and slurmd must get in
        undo.callback(_quietly, folder.rmdir)
    with tempfile.NamedTemporaryFile(prefix=".dacc-", dir=path.parent, delete=False) as new:
        undo.callback(_quietly, Path(new.name).unlink)
        new.write(file.text.encode())
        new.flush()
        os.fchmod(new.fileno(), file.mode)
        os.fsync(new.fileno())
    return Path(new.name)


def _quietly(action: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        action()
