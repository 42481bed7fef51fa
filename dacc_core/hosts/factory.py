"""The host runner that the configuration chooses."""

from __future__ import annotations

import os
import shutil

from ..config import Config
from ..errors import BadConfig
from .base import FencingRunner
from .local import LocalRunner
from .openssh import PROGRAM, OpenSshRunner
from .remote import access_of


def runner_for(config: Config) -> FencingRunner:
    """The runner of the setting ``hosts.runner``. Raises :class:`~dacc_core.errors.BadConfig` for what it lacks on this machine."""
    hosts = config.hosts
    if hosts.runner == "local":
        options = {"python": hosts.python} if hosts.python else {}
        return LocalRunner(fence_dir=hosts.fence_dir, namespace=hosts.namespace, **options)
    for name in ("identity", "known_hosts", "ssh_config"):
        _check_readable(config, name, getattr(hosts, name))
    return _openssh(config) if hosts.runner == "openssh" else _ssh(config)


def _openssh(config: Config) -> FencingRunner:
    if shutil.which(PROGRAM) is None:
        raise _problem(config, "runner", f"openssh needs the program {PROGRAM}: install the package openssh-client, or choose ssh")
    hosts = config.hosts
    return OpenSshRunner(access_of(hosts), fence_dir=hosts.fence_dir, python=hosts.python, ssh_config=hosts.ssh_config)


def _ssh(config: Config) -> FencingRunner:
    try:
        from .ssh import SshRunner  # late: asyncssh takes longer to import than all of dacc
    except ImportError as error:
        raise _problem(config, "runner", f"ssh needs the Python package asyncssh ({error}): install it, or choose openssh") from error
    return SshRunner(access_of(config.hosts), fence_dir=config.hosts.fence_dir, python=config.hosts.python)


def _check_readable(config: Config, name: str, path: str) -> None:
    if path and not os.access(path, os.R_OK):
        why = "may not be read" if os.path.lexists(path) else "does not exist"
        raise _problem(config, name, f"{path} {why}: correct the path, or make the file")


def _problem(config: Config, name: str, text: str) -> BadConfig:
    return BadConfig(problems=f"{config.position('hosts', name)}: hosts.{name}: {text}")
