"""What the files need to know of a site: its settings, and where the programs of this installation are."""

from __future__ import annotations

import math
import os
import re
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from dacc_core.config import SYSTEM_FILE, Config, load
from dacc_core.config.kinds import check
from dacc_core.config.places import system_places
from dacc_core.errors import BadArguments, BadConfig, NotFound

PROGRAMS = ("fakewarp", "dwstat", "dacd")
TIMEOUTS = ("other_timeout", "validate_timeout", "stage_in_timeout", "stage_out_timeout")
MOST_SECONDS = 2**31 // 1000 - 1
"""Slurm counts its timeouts as milliseconds in an int (burst_buffer_datawarp.c)."""

_PLAIN = re.compile(r"/[A-Za-z0-9/_.+@:~-]*")


@dataclass(frozen=True, slots=True)
class SlurmSite:
    """``programs`` by name; ``timeouts`` by setting, in whole seconds; ``config`` and ``socket`` only if they are not the usual ones.

    ``directory`` is where the files will be; ``notes`` is what the caller should know.
    """

    programs: dict[str, str]
    timeouts: dict[str, int]
    default_pool: str
    slurm_user: str
    mount_root: str
    directory: str
    config: str = ""
    socket: str = ""
    notes: tuple[str, ...] = ()


def read_site(path: str | None, mount_root: str, directory: str) -> SlurmSite:
    """The site that a configuration file describes. Raises BadArguments, BadConfig and NotFound."""
    file = path or os.environ.get("DACC_CONFIG") or SYSTEM_FILE
    # The daemon that the files are for does not have our environment.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DACC_")}
    config = load(environ, None if file == SYSTEM_FILE else file)
    usual = system_places()
    socket = _place(config, "socket", f"{usual.runtime}/dacd.sock")
    return SlurmSite(
        programs=_programs(),
        timeouts={name: _seconds(config, name) for name in TIMEOUTS},
        default_pool=config.default_pool,
        slurm_user=_printable("slurm_user", str(config.slurm_user)),
        mount_root=_mount_root(mount_root) if mount_root else _printable("mount_root", _place(config, "mount_root", usual.mount_root)),
        directory=_plain(directory, "choose another directory for the files"),
        config="" if file == SYSTEM_FILE else _plain(str(Path(file).absolute()), "choose another place for the configuration"),
        socket="" if socket == f"{usual.runtime}/dacd.sock" else _plain(socket, "choose another socket"),
        notes=() if config.source.value is not None else (f"{file} does not exist or is empty: the files have the defaults",),
    )


def _place(config: Config, setting: str, usual: str) -> str:
    """A setting of the file, else what it is for root, who runs the daemon, whoever we are."""
    written = isinstance(config.source.value, dict) and config.source.value.get(setting)
    return str(getattr(config, setting)) if written else usual


def _programs() -> dict[str, str]:
    """The programs of this installation, in the directory of its interpreter or where its scripts go."""
    folders = [os.path.dirname(os.path.abspath(sys.executable)), sysconfig.get_path("scripts")]  # noqa: PTH100, PTH120 - links stay
    folder = next((folder for folder in folders if all(os.access(f"{folder}/{name}", os.X_OK) for name in PROGRAMS)), None)
    if folder is None:
        raise NotFound(why=f"{' or '.join(dict.fromkeys(folders))} does not have all of {', '.join(PROGRAMS)}: install dacc again")
    return {name: _plain(f"{folder}/{name}", "install dacc into another directory") for name in PROGRAMS}


def _seconds(config: Config, name: str) -> int:
    value = float(getattr(config.slurm, name))
    if not value <= MOST_SECONDS:
        text = f"Slurm cannot count more than {MOST_SECONDS} seconds, not {value:g}"
        raise BadConfig(problems=f"{config.position('slurm', name)}: slurm.{name}: {text}")
    return math.ceil(value)


def _plain(path: str, advice: str) -> str:
    """A path that means the same to Slurm, systemd and sh, without quotes."""
    if not _PLAIN.fullmatch(path):
        raise BadArguments(why=f"{path!a} has characters that Slurm or systemd would not take as they are: {advice}")
    return path


def _mount_root(path: str) -> str:
    try:
        return _printable("--mount-root", str(check("path", path)))
    except ValueError as error:
        raise BadArguments(why=f"--mount-root {error}") from None


def _printable(name: str, value: str) -> str:
    """A value that may stand in a comment: no line ends with it, and it can be written as UTF-8."""
    if not value.isprintable():
        raise BadArguments(why=f"{name} {value!a} has characters that cannot be printed: choose another")
    return value
