"""Where things are when the file does not say: root's places, and those of a user who tries dacc out."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass

SYSTEM_FILE = "/etc/dacc/dacc.yaml"


@dataclass(frozen=True, slots=True)
class SitePaths:
    """Default directories. ``shared_tmp``: the runtime directory is below ``/tmp``, where anyone could have made it first."""

    state: str
    runtime: str
    mount_root: str = ""
    shared_tmp: bool = False


def system_places() -> SitePaths:
    """The places of the system's daemon."""
    return SitePaths(state="/var/lib/dacc", runtime="/run/dacc", mount_root="/mnt/dac")


def user_places(environ: Mapping[str, str], uid: int) -> SitePaths:
    """The places of a user. A relative XDG variable counts as unset, as its specification says."""
    state = _absolute(environ, "XDG_STATE_HOME") or f"{_absolute(environ, 'HOME') or '/'}/.local/state".replace("//", "/")
    runtime = _absolute(environ, "XDG_RUNTIME_DIR")
    return SitePaths(
        state=f"{state}/dacc",
        runtime=f"{runtime}/dacc" if runtime else f"/tmp/dacc-{uid}",  # noqa: S108 - guarded by runtime_problem
        shared_tmp=not runtime,
    )


def runtime_problem(directory: str, uid: int) -> str:
    """Why a runtime directory below ``/tmp`` must not be used, or nothing. One that does not exist is no problem."""
    try:
        info = os.lstat(directory)
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(info.st_mode) and info.st_uid == uid and not info.st_mode & 0o077:
        return ""
    return f"{directory} is not a directory of uid {uid} with mode 0700: someone else may have made it; remove it or set XDG_RUNTIME_DIR"


def _absolute(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").rstrip("/")
    return value if value.startswith("/") else ""
