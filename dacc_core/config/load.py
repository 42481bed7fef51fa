"""Finding the configuration, reading it, and filling in what it leaves open."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BadConfig
from ..names import expand
from . import etcd, places
from .checks import cross_checks
from .document import NOWHERE, ConfigFinding, Document
from .document import read as read_document
from .kinds import check
from .reader import BAD, Reader
from .settings import BrickSetting, KeystoreSettings, MetricsSettings, PoolSetting, Settings

ENVIRONMENT = {
    "DACC_STATE_DIR": ("state_dir", "path"),
    "DACC_SOCKET": ("socket", "path"),
    "DACC_CLUSTER": ("cluster", ""),
    "DACC_METRICS": ("metrics", "address and port"),
}
"""Environment variables that go before the file: each with its setting and the kind of its value."""

REMOTE_PYTHON = "/usr/bin/python3"


class Config(Settings, frozen=True, kw_only=True):
    """The settings in force, with every default place filled in. ``runtime_dir`` is what goes at a reboot."""

    runtime_dir: str = ""
    source: Document = msgspec.field(default_factory=lambda: Document(""))

    def bricks_of(self, host: str) -> tuple[BrickSetting, ...]:
        """The bricks that a host offers, each with its pool and capacity."""
        return tuple(self._filled(brick) for pattern, bricks in self.bricks.items() if host in expand(pattern) for brick in bricks)

    def position(self, *path: str | int) -> str:
        """``FILE:LINE:COLUMN`` of a setting, for messages about what is only found wrong later."""
        return self.source.where(path)

    def _filled(self, brick: BrickSetting) -> BrickSetting:
        pool = brick.pool or self.default_pool
        return msgspec.structs.replace(brick, pool=pool, capacity=brick.capacity or self.pools[pool].granularity)


def load(environ: Mapping[str, str] = os.environ, path: str | None = None) -> Config:
    """The configuration of this process.

    The file is ``path``, else ``$DACC_CONFIG``, else ``/etc/dacc/dacc.yaml``; without any, embedded defaults hold, with which
    dacc runs on one machine. Raises :class:`~dacc_core.errors.BadConfig` with every problem.
    """
    named = path or environ.get("DACC_CONFIG")
    text = _text(named or places.SYSTEM_FILE, must_exist=bool(named))
    if text is None:
        return _settle(None, Document("embedded defaults"), environ, system=_is_root())
    return parse_text(text, named or places.SYSTEM_FILE, environ)


def parse_text(text: str, name: str, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration that ``text`` describes; messages call it ``name``."""
    document = read_document(text, name)
    # Whoever reads the system's file (SlurmUser does) must come to the same places as the daemon, which is root.
    system = _is_root() or name == places.SYSTEM_FILE
    if document.value is None and document.findings:  # not YAML: there is nothing else to check
        raise BadConfig(problems="\n".join(finding.text for finding in document.findings))
    reader = Reader()
    settings = reader.section(document.value, Settings, ())
    if settings is BAD:
        settings = Settings()
    for problem in (*reader.problems, *cross_checks(settings, document)):
        document.add(problem)
    return _settle(settings, document, environ, system=system)


def make_runtime_dir(config: Config) -> None:
    """Make the runtime directory: root's is open to clients of its socket, a user's to that user alone, which is checked."""
    Path(config.runtime_dir).mkdir(mode=0o755 if _is_root() else 0o700, parents=True, exist_ok=True)
    problem = places.runtime_problem(config.runtime_dir, os.geteuid())
    if problem and not _is_root():
        raise BadConfig(problems=problem)


def _is_root() -> bool:
    return os.geteuid() == 0


def _text(file: str, *, must_exist: bool) -> str | None:
    try:
        return Path(file).read_text("utf-8")
    except FileNotFoundError:
        if not must_exist:
            return None
        raise BadConfig(problems=f"{file}: does not exist: correct DACC_CONFIG, or unset it to use {places.SYSTEM_FILE}") from None
    except UnicodeDecodeError as error:
        raise BadConfig(problems=f"{file}: is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise BadConfig(problems=f"{file}: cannot be read: {error.strerror}") from None


def _settle(settings: Settings | None, document: Document, environ: Mapping[str, str], *, system: bool) -> Config:
    """The last stage: environment, default places, and the end if there was any problem."""
    uid = os.geteuid()
    usual = places.system_places() if system else places.user_places(environ, uid)
    overrides: dict[str, Any] = _from_environment(environ, document.findings)
    overrides["keystore"] = etcd.settle((settings or Settings()).keystore, environ, document)
    if usual.shared_tmp and (problem := places.runtime_problem(usual.runtime, uid)):
        document.findings.append(ConfigFinding(NOWHERE, problem))
    if document.findings:
        raise BadConfig(problems="\n".join(finding.text for finding in sorted(document.findings)))
    embedded = settings is None
    chosen = msgspec.structs.replace(settings or Settings(), **overrides)
    filled = _fill(chosen, usual)
    if embedded:
        filled.update(_embedded(filled["state_dir"]))
    return Config(**{**msgspec.structs.asdict(chosen), **filled}, runtime_dir=usual.runtime, source=document)


def _from_environment(environ: Mapping[str, str], findings: list[ConfigFinding]) -> dict[str, Any]:
    given = {name: environ[name] for name in ENVIRONMENT if environ.get(name)}
    read: dict[str, Any] = {}
    for variable, value in given.items():
        setting, kind = ENVIRONMENT[variable]
        try:
            checked = check(kind, value)
            read[setting] = MetricsSettings(listen=checked) if setting == "metrics" else checked
        except ValueError as error:
            findings.append(ConfigFinding(NOWHERE, f"environment: {variable}: {error}"))
    return read


def _fill(settings: Settings, usual: places.SitePaths) -> dict[str, Any]:
    state = settings.state_dir or usual.state
    hosts = settings.hosts
    return {
        "state_dir": state,
        "socket": settings.socket or f"{usual.runtime}/dacd.sock",
        "mount_root": settings.mount_root or usual.mount_root or f"{state}/mnt",
        "mover_root": settings.mover_root or f"{usual.runtime}/movers",
        "keystore": _fill_keystore(settings.keystore, state),
        "hosts": msgspec.structs.replace(
            hosts,
            python=hosts.python or ("" if hosts.runner == "local" else REMOTE_PYTHON),
            fence_dir=hosts.fence_dir or f"{usual.runtime}/fence",
        ),
    }


def _fill_keystore(keystore: KeystoreSettings, state: str) -> KeystoreSettings:
    if keystore.backend == "etcd":
        return msgspec.structs.replace(keystore, path="")
    return KeystoreSettings(backend="sqlite", path=keystore.path or f"{state}/store.db")


def _embedded(state_dir: str) -> dict[str, Any]:
    host = socket.gethostname().partition(".")[0]
    bricks = tuple(BrickSetting(device=f"{state_dir}/bricks/b{number}") for number in range(4))
    return {"pools": {"default": PoolSetting(granularity=1 << 30, provider="fake")}, "bricks": {host: bricks}}
