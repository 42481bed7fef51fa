"""How a cluster is reached: endpoints, certificates, user and password, from the configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...config import Config
from ...config.etcd import USER, password
from ...errors import BadConfig
from .failures import NO_CHANNEL
from .protocol import RpcFailure, TlsCertificates


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """``endpoints`` as in the settings; ``cacert``, ``cert`` and ``key`` are paths, empty for none."""

    endpoints: tuple[str, ...]
    cacert: str = ""
    cert: str = ""
    key: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def addresses(self) -> list[str]:
        """The endpoints as ``HOST:PORT``."""
        return [endpoint.rpartition("/")[2] for endpoint in self.endpoints]

    @property
    def where(self) -> str:
        """The store in messages."""
        return f"etcd at {','.join(self.addresses)}"

    def read_certificates(self) -> TlsCertificates | None:
        """The certificates as they are now; ``None`` without TLS. Raises RpcFailure when a file cannot be read."""
        if not (self.cacert or self.cert or self.endpoints[0].startswith("https:")):
            return None
        return TlsCertificates(*map(_contents, (self.cacert, self.cert, self.key)))


def _contents(path: str) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise RpcFailure(NO_CHANNEL, f"{path} cannot be read: {error.strerror}") from None


def configured_access(config: Config, environ: Mapping[str, str] = os.environ) -> EtcdAccess:
    """The access that the configuration describes. Raises BadConfig for files that cannot be used."""
    keystore = config.keystore
    for name in ("cacert", "cert", "key"):
        _require_readable(config, name)
    return EtcdAccess(keystore.endpoints, keystore.cacert, keystore.cert, keystore.key, keystore.user, _password(config, environ))


def _require_readable(config: Config, name: str) -> None:
    try:
        _contents(getattr(config.keystore, name))
    except RpcFailure as error:
        raise _problem(config, name, error.details) from None


def _password(config: Config, environ: Mapping[str, str]) -> str:
    """The environment's, if the environment names the user; else the file's."""
    name = config.keystore.password_file
    if environ.get(USER) and password(environ):
        return password(environ)
    if not name:
        return ""
    _require_readable(config, "password_file")
    if Path(name).stat().st_mode & 0o007:
        raise _problem(config, "password_file", f"everyone has access to {name}: chmod o= {name}")
    return Path(name).read_text("utf-8").rstrip("\n")


def _problem(config: Config, name: str, text: str) -> BadConfig:
    return BadConfig(problems=f"{config.position('keystore', name)}: keystore.{name}: {text}")
