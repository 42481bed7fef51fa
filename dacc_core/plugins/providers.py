"""Providers by name: loading the one that a pool names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from ..config import Config, Reader
from ..config.document import dotted
from ..errors import BadConfig, NoSuchProvider
from ..sdk import Provider
from . import discovery, registration
from .discovery import CannotLoad, DiscoveredPlugin


def load_provider(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    config: Config | None = None,
    manager: pluggy.PluginManager | None = None,
) -> Provider:
    """The provider that the site calls ``name``, made with its settings.

    ``settings`` is the section ``providers.<name>``, by default that of ``config``, which also tells where in the file a wrong
    setting stands, and which plugins are disabled. The package's hooks are registered with ``manager``. Raises NoSuchProvider,
    ProviderLoadError, BadConfig.
    """
    one = _the_one(name, config.plugins.disabled if config else ())
    try:
        package = registration.provider_package(one)
        _refuse_incomplete(package.cls)
        provider = _make(package.cls, _settings(package.cls, name, settings, config))
    except CannotLoad as problem:
        raise one.provider_error(problem) from problem
    if manager is not None and not manager.is_registered(package.plugin):
        manager.register(package.plugin, name=f"{one.package}:{name}")
    return provider


def disabled(one: DiscoveredPlugin) -> CannotLoad:
    """The problem that the site does not want it."""
    return CannotLoad("the setting plugins.disabled names it", "take it out of there, or name another provider in the pool's configuration")


def _the_one(name: str, off: tuple[str, ...]) -> DiscoveredPlugin:
    offers = discovery.find(discovery.PROVIDERS, name)
    if not offers:
        raise NoSuchProvider(name=name)
    wanted = [one for one in offers if not one.is_in(off)]
    if not wanted:
        raise offers[0].provider_error(disabled(offers[0]))
    if len(wanted) > 1:
        raise wanted[0].provider_error(discovery.duplicate(wanted[0], wanted[1:]))
    return wanted[0]


def _refuse_incomplete(cls: type[Provider]) -> None:
    reason = getattr(cls, "incomplete", "")
    if reason:
        raise CannotLoad(f"it is incomplete: {reason}", "name another provider in the pool's configuration")


def _settings(cls: type[Provider], name: str, settings: Mapping[str, Any] | None, config: Config | None) -> Any:
    path = ("providers", name)
    given = settings if settings is not None else (config.providers.get(name, {}) if config else {})
    reader = Reader()
    try:
        read = discovery.guarded("reading its settings", lambda: reader.section(given, cls.Settings, path))
    except CannotLoad as problem:
        if isinstance(problem.__cause__, TypeError | NameError):
            raise CannotLoad(f"its Settings cannot be read: {problem.__cause__}", discovery.REPORT) from problem
        raise
    if reader.problems:
        places = [f"{config.position(*problem.path)}: " if config else "" for problem in reader.problems]
        lines = [f"{place}{dotted(problem.path)}: {problem.text}" for place, problem in zip(places, reader.problems, strict=True)]
        raise BadConfig(problems="\n".join(lines))
    return read


def _make(cls: type[Provider], settings: Any) -> Provider:
    provider = discovery.guarded("making it", lambda: cls(settings))
    registration.check_capabilities(provider)
    return provider
