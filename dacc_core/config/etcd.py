"""Which keystore the settings and the environment name together, and whether what they say of etcd fits together.

The environment goes before the file. Its names are those of etcdctl, and those that data-acc had for the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .document import NOWHERE, ConfigFinding, Document, Problem
from .kinds import check
from .settings import KeystoreSettings

ENDPOINTS = "ETCDCTL_ENDPOINTS"
USER = "ETCDCTL_USER"
FILES = {
    "cacert": ("ETCDCTL_CACERT", "ETCDCTL_CA_FILE"),
    "cert": ("ETCDCTL_CERT", "ETCDCTL_CERT_FILE"),
    "key": ("ETCDCTL_KEY", "ETCDCTL_KEY_FILE"),
}
"""The variables of each file; the first that is set counts."""


def settle(settings: KeystoreSettings, environ: Mapping[str, str], document: Document) -> KeystoreSettings:
    """The keystore's settings with the environment's, ``backend`` decided. Problems go to the document's findings."""
    if settings.backend == "sqlite":  # said in so many words: the variables are there for etcdctl
        problems = _sqlite_problems(settings)
        chosen = settings
    else:
        chosen = _chosen(settings, environ, document.findings)
        problems = _etcd_problems(chosen, environ) if chosen.backend == "etcd" else iter(())
    for problem in problems:
        document.add(problem)
    return chosen


def _chosen(settings: KeystoreSettings, environ: Mapping[str, str], findings: list[ConfigFinding]) -> KeystoreSettings:
    endpoints = _read(environ, (ENDPOINTS,), _endpoints, findings) or settings.endpoints
    if not endpoints and settings.backend == "auto":
        return msgspec.structs.replace(settings, backend="sqlite")
    files = {name: _read(environ, variables, _path, findings) for name, variables in FILES.items()}
    user = environ.get(USER, "").partition(":")[0]
    named = {name: value for name, value in {**files, "user": user}.items() if value}
    return msgspec.structs.replace(settings, backend="etcd", endpoints=endpoints, **named)


def _read(environ: Mapping[str, str], variables: Sequence[str], parse: Any, findings: list[ConfigFinding]) -> Any:
    variable = next((name for name in variables if environ.get(name)), "")
    try:
        return parse(environ[variable]) if variable else None
    except ValueError as error:
        findings.append(ConfigFinding(NOWHERE, f"environment: {variable}: {error}"))
        return None


def _endpoints(text: str) -> tuple[str, ...]:
    return tuple(check("endpoint", part.strip()) for part in text.split(",") if part.strip())


def _path(text: str) -> Any:
    return check("path", text)


def _sqlite_problems(settings: KeystoreSettings) -> Iterator[Problem]:
    if settings.endpoints:
        yield Problem(("keystore", "endpoints"), "are for etcd, but keystore.backend is sqlite: remove one of them")


def _etcd_problems(settings: KeystoreSettings, environ: Mapping[str, str]) -> Iterator[Problem]:
    if not settings.endpoints:
        yield Problem(("keystore", "backend"), f"etcd needs endpoints: set keystore.endpoints or {ENDPOINTS}")
    yield from _tls_problems(settings)
    if settings.user and not (settings.password_file or password(environ)):
        yield Problem(("keystore", "user"), f"needs a password: set keystore.password_file, or {USER} to user:password")
    if settings.password_file and not settings.user:
        yield Problem(("keystore", "password_file"), "is of no use without keystore.user")


def _tls_problems(settings: KeystoreSettings) -> Iterator[Problem]:
    plain = [endpoint for endpoint in settings.endpoints if endpoint.startswith("http:")]
    tls = [endpoint for endpoint in settings.endpoints if endpoint.startswith("https:")]
    files = [name for name in FILES if getattr(settings, name)]
    if plain and tls:
        yield Problem(("keystore", "endpoints"), f"some are without TLS ({plain[0]}), some with ({tls[0]}): use one of both")
    elif plain and files:
        text = f"{plain[0]} is without TLS, but keystore.{files[0]} is set: write https://, or remove the certificates"
        yield Problem(("keystore", "endpoints"), text)
    for name, other in (("cert", "key"), ("key", "cert")):
        if getattr(settings, name) and not getattr(settings, other):
            yield Problem(("keystore", name), f"is of no use without keystore.{other}")


def password(environ: Mapping[str, str]) -> str:
    """The password that the environment gives: it stays there, since settings are shown."""
    return environ.get(USER, "").partition(":")[2]
