"""Providers by name: loading the one that a pool names, and listing all that are installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pluggy

from ..config import Config, Reader
from ..config.document import dotted
from ..errors import BadConfig, DaccError, NoSuchProvider
from ..sdk import Provider
from . import found, registration
from .found import CannotLoad, Found

State = Literal["ok", "broken", "incompatible", "shadowed", "incomplete"]


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One installed provider. ``state`` is ``shadowed`` when another package offers the same name: neither can then be used."""

    name: str
    package: str
    version: str
    api: str
    state: State
    reason: str
    capabilities: tuple[str, ...]


def load_provider(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    config: Config | None = None,
    manager: pluggy.PluginManager | None = None,
) -> Provider:
    """The provider that the site calls ``name``, made with its settings.

    ``settings`` is the section ``providers.<name>``, by default that of ``config``, which also tells where in the file a wrong
    setting stands. The package's hooks are registered with ``manager``. Raises NoSuchProvider, ProviderLoadError, BadConfig.
    """
    one = _the_one(name)
    try:
        plugin, cls = registration.provider_class(one)
        _refuse_incomplete(cls)
        provider = _make(cls, _settings(cls, name, settings, config))
    except CannotLoad as problem:
        raise one.provider_error(problem) from problem
    if manager is not None and not manager.is_registered(plugin):
        manager.register(plugin, name=f"{one.package}:{name}")
    return provider


def list_providers() -> list[ProviderRow]:
    """A row for each installed provider; one that cannot load is a row with its reason."""
    everything = found.find(found.PROVIDERS)
    return [_row(one, found.others(one, everything)) for one in everything]


def _the_one(name: str) -> Found:
    offers = found.find(found.PROVIDERS, name)
    if not offers:
        raise NoSuchProvider(name=name)
    if len(offers) > 1:
        raise offers[0].provider_error(found.duplicate(offers[0], offers[1:]))
    return offers[0]


def _refuse_incomplete(cls: type[Provider]) -> None:
    reason = getattr(cls, "incomplete", "")
    if reason:
        raise CannotLoad(f"it is incomplete: {reason}", "name another provider in the pool's configuration")


def _settings(cls: type[Provider], name: str, settings: Mapping[str, Any] | None, config: Config | None) -> Any:
    path = ("providers", name)
    given = settings if settings is not None else (config.providers.get(name, {}) if config else {})
    reader = Reader()
    try:
        read = reader.section(given, cls.Settings, path)
    except (TypeError, NameError) as error:
        raise CannotLoad(f"its Settings cannot be read: {error}", registration.REPORT) from error
    if reader.problems:
        places = [f"{config.position(*problem.path)}: " if config else "" for problem in reader.problems]
        lines = [f"{place}{dotted(problem.path)}: {problem.text}" for place, problem in zip(places, reader.problems, strict=True)]
        raise BadConfig(problems="\n".join(lines))
    return read


def _make(cls: type[Provider], settings: Any) -> Provider:
    try:
        provider = cls(settings)
        registration.check_capabilities(provider)
    except (DaccError, CannotLoad):
        raise
    except Exception as error:
        raise CannotLoad(f"making it raised {type(error).__name__}: {error}", registration.REPORT) from error
    return provider


def _row(one: Found, rest: list[Found]) -> ProviderRow:
    if rest:
        return _bad_row(one, "shadowed", found.duplicate(one, rest))
    try:
        _, cls = registration.provider_class(one)
    except registration.Incompatible as problem:
        return _bad_row(one, "incompatible", problem, problem.api)
    except CannotLoad as problem:
        return _bad_row(one, "broken", problem)
    api = registration.dotted(cls.api)
    incomplete = getattr(cls, "incomplete", "")
    if incomplete:
        return ProviderRow(one.name, one.package, one.version, api, "incomplete", incomplete, ())
    return ProviderRow(one.name, one.package, one.version, api, "ok", "", _capabilities(cls))


def _bad_row(one: Found, state: State, problem: CannotLoad, api: str = "") -> ProviderRow:
    return ProviderRow(one.name, one.package, one.version, api, state, f"{problem.why}; {problem.fix}", ())


def _capabilities(cls: type[Provider]) -> tuple[str, ...]:
    """What the provider can do with default settings; nothing when it has settings that must be given."""
    try:
        capabilities = cls(cls.Settings()).capabilities
    except Exception:  # a list must not fail because a provider wants settings
        return ()
    return tuple(name for name, can in asdict(capabilities).items() if can)
