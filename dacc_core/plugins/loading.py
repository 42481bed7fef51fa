"""From an entry point to what it offers, with every breach of the contract named: providers, front ends, and the commands of packages."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from ..config import Config, Reader
from ..config.document import dotted as dotted_path
from ..errors import BadConfig, DaccError, NoSuchProvider
from ..sdk import API_VERSION, Capabilities, Provider, SwapProvider, hookspecs
from . import discovery
from .discovery import REPORT, CannotLoad, DiscoveredPlugin, guarded

if TYPE_CHECKING:
    import click

METHODS = ("check_host", "create", "delete", "mount", "unmount")
PROBE_SECONDS = 30.0
# faulthandler says where it hangs; what an import raises is seen by whoever imports it next.
_PROBE = """
import faulthandler, importlib, sys
sys.path[:] = sys.argv[3:]
faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
try:
    importlib.import_module(sys.argv[1])
except BaseException:
    pass
faulthandler.cancel_dump_traceback_later()
print("imported", flush=True)
"""
_FRAME = re.compile(r'File "([^"]+)", line (\d+) in <module>')


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
    """What a provider says that it can do; it must have the methods for that. Raises :class:`CannotLoad`."""
    capabilities = guarded("its property capabilities", lambda: provider.capabilities)
    if not isinstance(capabilities, Capabilities):
        raise CannotLoad(f"its capabilities are {capabilities!r}, which is no Capabilities", REPORT)
    if capabilities.swap and not isinstance(provider, SwapProvider):
        raise CannotLoad("its capabilities say `swap`, but it has no methods swap_on and swap_off", REPORT)
    return capabilities


# --- providers ---


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
    offer = _only_offer(name, config.plugins.disabled if config else ())
    try:
        package = provider_package(offer)
        _refuse_incomplete(package.cls)
        provider = _make(package.cls, _settings(package.cls, name, settings, config))
    except CannotLoad as problem:
        raise offer.provider_error(problem) from problem
    if manager is not None and not manager.is_registered(package.plugin):
        manager.register(package.plugin, name=f"{offer.package}:{name}")
    return provider


def disabled_by_site(offer: DiscoveredPlugin) -> CannotLoad:
    """The problem that the site does not want it."""
    return CannotLoad("the setting plugins.disabled names it", "take it out of there, or name another provider in the pool's configuration")


def _only_offer(name: str, off: tuple[str, ...]) -> DiscoveredPlugin:
    offers = discovery.find(discovery.PROVIDERS, name)
    if not offers:
        raise NoSuchProvider(name=name)
    wanted = [offer for offer in offers if not offer.is_in(off)]
    if not wanted:
        raise offers[0].provider_error(disabled_by_site(offers[0]))
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
        read = guarded("reading its settings", lambda: reader.section(given, cls.Settings, path))
    except CannotLoad as problem:
        if isinstance(problem.__cause__, TypeError | NameError):
            raise CannotLoad(f"its Settings cannot be read: {problem.__cause__}", REPORT) from problem
        raise
    if reader.problems:
        places = [f"{config.position(*problem.path)}: " if config else "" for problem in reader.problems]
        lines = [f"{place}{dotted_path(problem.path)}: {problem.text}" for place, problem in zip(places, reader.problems, strict=True)]
        raise BadConfig(problems="\n".join(lines))
    return read


def _make(cls: type[Provider], settings: Any) -> Provider:
    provider = guarded("making it", lambda: cls(settings))
    check_capabilities(provider)
    return provider


def probe_provider(name: str) -> None:
    """Raise ProviderLoadError when importing the packages that offer ``name`` hangs or ends the interpreter. Other errors pass."""
    for offer in discovery.find(discovery.PROVIDERS, name):
        try:
            _probe(offer, PROBE_SECONDS)
        except CannotLoad as problem:
            raise offer.provider_error(problem) from problem


def _probe(offer: DiscoveredPlugin, seconds: float) -> None:
    fix = f"report it to the authors of {offer.package}"
    words = [sys.executable, "-P", "-c", _PROBE, offer.entry_point.module, str(seconds), *sys.path]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + 10.0, check=False)
    except subprocess.TimeoutExpired as error:
        raise CannotLoad(f"its import did not end within {seconds:g} s and could not be interrupted", fix) from error
    said = done.stderr.decode("utf-8", "replace")
    if "Timeout (" in said and done.stdout != b"imported\n":
        frames = _FRAME.findall(said)
        where = f" (it hangs at {frames[0][0]}:{frames[0][1]})" if frames else ""
        raise CannotLoad(f"its import did not end within {seconds:g} s{where}", fix)
    if not done.stdout.endswith(b"imported\n"):
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise CannotLoad(f"its import ended the interpreter with {how}", fix)


# --- front ends and commands ---


def load_frontend(name: str) -> Any:
    """The module or object of the front end that the setting ``frontends`` names. Raises BadConfig."""
    offers = discovery.find(discovery.FRONTENDS, name)
    if not offers:
        installed = ", ".join(dict.fromkeys(each.name for each in discovery.find(discovery.FRONTENDS))) or "none"
        raise BadConfig(problems=f"frontends: front end {name!r} is not installed: installed are {installed}")
    try:
        if len(offers) > 1:
            raise discovery.duplicate(offers[0], offers[1:])
        return offers[0].load()
    except CannotLoad as problem:
        offer = offers[0]
        where = f"entry point `{offer.text}` of {offer.package} {offer.version}"
        raise BadConfig(problems=f"frontends: front end {name} cannot load: {where}: {problem.why}; {problem.fix}") from problem


def add_commands(cli: click.Group, disabled: Collection[str] = ()) -> list[str]:
    """Let every provider package add its commands; a line for each that failed, which costs the others nothing."""
    failures = []
    offers = [offer for offer in discovery.find(discovery.PROVIDERS) if not offer.is_in(disabled)]
    for offer in offers:
        if discovery.others(offer, offers):
            continue
        try:
            _add(offer, cli)
        except CommandsFailed as failure:
            who = f"entry point `{offer.text}` of {offer.package} {offer.version}"
            failures.append(f"provider {offer.name} cannot add its commands: {who}: {failure.why}; {failure.fix}")
        except (CannotLoad, DaccError):
            continue  # `dacc providers list` tells
    return failures


class CommandsFailed(CannotLoad):
    """The package loads, and its hook dacc_add_commands fails."""


def _add(offer: DiscoveredPlugin, cli: click.Group) -> None:
    package = provider_package(offer)
    manager = new_manager()
    manager.register(package.plugin)
    try:
        guarded("its hook", lambda: manager.hook.dacc_add_commands(cli=cli))
    except (CannotLoad, DaccError) as problem:
        why, fix = (problem.why, problem.fix) if isinstance(problem, CannotLoad) else (str(problem), REPORT)
        raise CommandsFailed(why, fix) from problem
