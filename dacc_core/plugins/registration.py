"""From a package's module to its provider class, through pluggy, with every breach of the contract named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pluggy

from ..sdk import API_VERSION, Capabilities, Provider, SwapProvider, hookspecs
from .discovery import REPORT, CannotLoad, DiscoveredPlugin, guarded

METHODS = ("check_host", "create", "delete", "mount", "unmount")


@dataclass(frozen=True, slots=True)
class Package:
    """A provider's package, loaded: its plugin, its class, and the hooks that it implements."""

    plugin: Any
    cls: type[Provider]
    hooks: tuple[str, ...]


def new_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows dacc's hooks and no plugin yet."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def provider_package(point: DiscoveredPlugin) -> Package:
    """The package's plugin and its provider class, of a compatible API. Raises :class:`CannotLoad`."""
    plugin = point.load()
    manager = new_manager()
    cls = _registered(plugin, manager)
    _check_api(cls)
    _check_class(cls, point.name)
    return Package(plugin, cls, _hooks(plugin, manager))


def api_of(cls: Any) -> tuple[int, int]:
    """The API version that a provider class was written for."""
    api = getattr(cls, "api", None)
    if isinstance(api, tuple) and len(api) == 2 and all(type(part) is int for part in api):
        return api
    raise CannotLoad(f"its class has no usable `api` ({api!r}), which must be a tuple such as {API_VERSION}", REPORT)


class Incompatible(CannotLoad):
    """The provider was written for another version of the SDK."""

    def __init__(self, why: str, fix: str, api: str) -> None:
        super().__init__(why, fix)
        self.api = api


def _registered(plugin: Any, manager: pluggy.PluginManager) -> Any:
    try:
        guarded("registering it", lambda: manager.register(plugin))
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise CannotLoad(f"a hook is wrong: {' '.join(str(error).split())}", REPORT) from error
    if any(impl.wrapper or impl.hookwrapper for _, impl in _impls(plugin, manager)):
        raise CannotLoad("one of its hooks is a wrapper, which could change what other packages do", REPORT)
    if not manager.hook.dacc_register_provider.get_hookimpls():
        raise CannotLoad("it does not implement the hook dacc_register_provider", REPORT)
    cls = guarded("its hook dacc_register_provider", manager.hook.dacc_register_provider)
    if not isinstance(cls, type):
        raise CannotLoad(f"its hook dacc_register_provider returned {cls!r}, which is no class", REPORT)
    return cls


def _impls(plugin: Any, manager: pluggy.PluginManager) -> Iterator[tuple[pluggy.HookCaller, pluggy.HookImpl]]:
    for caller in manager.get_hookcallers(plugin) or ():
        yield from ((caller, impl) for impl in caller.get_hookimpls())


def _hooks(plugin: Any, manager: pluggy.PluginManager) -> tuple[str, ...]:
    return tuple(sorted(caller.name for caller, _ in _impls(plugin, manager)))


def _check_api(cls: Any) -> None:
    theirs, ours = api_of(cls), API_VERSION
    if theirs[0] == ours[0] and theirs[1] <= ours[1]:
        return
    older = theirs[0] < ours[0]
    raise Incompatible(
        f"it is written for API {dotted(theirs)} and this dacc has {dotted(ours)}",
        "upgrade the provider, or install an older dacc" if older else "upgrade dacc, or install an older version of the provider",
        dotted(theirs),
    )


def dotted(version: tuple[int, int]) -> str:
    """An API version as people write it."""
    return ".".join(map(str, version))


def _check_class(cls: Any, name: str) -> None:
    own = getattr(cls, "name", None)
    if own != name:
        raise CannotLoad(f"its class {cls.__qualname__} is named {own!r}, not {name!r} like the entry point", REPORT)
    missing = [method for method in (*METHODS, "capabilities") if _is_missing(cls, method)]
    if missing:
        raise CannotLoad(f"its class {cls.__qualname__} lacks {', '.join(missing)}", REPORT)
    if not dataclasses.is_dataclass(getattr(cls, "Settings", None)):
        raise CannotLoad(f"its class {cls.__qualname__} has no dataclass `Settings`", REPORT)


def _is_missing(cls: Any, method: str) -> bool:
    # A class that inherits from the protocol also inherits its empty methods, which would do nothing and report success.
    return getattr(cls, method, None) in (None, getattr(Provider, method))


def check_capabilities(provider: Provider) -> Capabilities:
    """What a provider says that it can do; it must have the methods for that. Raises :class:`~.found.CannotLoad`."""
    capabilities = guarded("its property capabilities", lambda: provider.capabilities)
    if not isinstance(capabilities, Capabilities):
        raise CannotLoad(f"its capabilities are {capabilities!r}, which is no Capabilities", REPORT)
    if capabilities.swap and not isinstance(provider, SwapProvider):
        raise CannotLoad("its capabilities say `swap`, but it has no methods swap_on and swap_off", REPORT)
    return capabilities
