"""What is installed and whether it works: a row for each provider, for people."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from ..config import SettingDoc, describe
from ..errors import DaccError, NoSuchProvider, ProviderLoadError
from ..sdk import Provider, RestoreProvider, UsageProvider
from . import discovery
from .discovery import CannotLoad, DiscoveredPlugin
from .loading import Incompatible, Package, check_capabilities, disabled_by_site, dotted, provider_package

State = Literal["ok", "broken", "incompatible", "shadowed", "disabled", "incomplete"]
PROBLEMS = ("broken", "incompatible", "shadowed")
"""The states that are nobody's wish."""

_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
OPTIONAL = {"usage": UsageProvider, "restore": RestoreProvider}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a provider. ``default`` is empty when it must be given."""

    name: str
    type: str
    default: str
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One installed provider.

    ``state``: ``ok``; ``broken``; ``incompatible``, written for another API; ``shadowed``, its name is offered by another package too, so
    neither can be used; ``disabled`` by the site; ``incomplete``, as its authors say. ``reason`` says why it is not ok and what mends
    that. What comes after it is only known of a provider that loads, and ``capabilities`` only if it has no settings that must be given.
    """

    name: str
    package: str
    version: str
    entry_point: str
    api: str
    state: State
    reason: str = ""
    capabilities: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = ()


def list_providers(disabled: Collection[str] = (), name: str | None = None) -> list[ProviderRow]:
    """A row for each installed provider, or for each that offers ``name``. One that cannot load is a row with its reason."""
    offers = discovery.find(discovery.PROVIDERS, name)
    wanted = [offer for offer in offers if not offer.is_in(disabled)]
    rows = {offer: _row(offer, discovery.others(offer, wanted)) for offer in wanted}
    return [rows.get(offer) or _bad_row(offer, "disabled", disabled_by_site(offer)) for offer in offers]


def show_provider(name: str, disabled: Collection[str] = ()) -> list[ProviderRow]:
    """The rows of one name, of which there are several only if packages disagree. Raises NoSuchProvider."""
    rows = list_providers(disabled, name)
    if not rows:
        raise NoSuchProvider(name=name)
    return rows


def is_strict(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether any problem with a plugin is to be fatal, also with one that nobody uses."""
    return environ.get("DACC_STRICT_PLUGINS") == "1"


def refuse_problems(rows: Collection[ProviderRow]) -> None:
    """Raise ProviderLoadError, a line for each provider that cannot be used for a reason that nobody intended."""
    lines = [str(_error(row)) for row in rows if row.state in PROBLEMS]
    if lines:
        raise ProviderLoadError.from_text("\n".join(lines))


def _error(row: ProviderRow) -> ProviderLoadError:
    text = ProviderLoadError.template.partition(": {why}")[0]
    shown = {"provider": row.name, "entry_point": f"`{row.entry_point}`", "package": row.package, "version": row.version}
    return ProviderLoadError.from_text(f"{text.format(**shown)}: {row.reason}")


def _row(offer: DiscoveredPlugin, rest: list[DiscoveredPlugin]) -> ProviderRow:
    if rest:
        return _bad_row(offer, "shadowed", discovery.duplicate(offer, rest))
    try:
        return _good_row(offer, provider_package(offer))
    except Incompatible as problem:
        return _bad_row(offer, "incompatible", problem, problem.api)
    except (CannotLoad, DaccError) as problem:
        return _bad_row(offer, "broken", problem)


def _good_row(offer: DiscoveredPlugin, package: Package) -> ProviderRow:
    incomplete = getattr(package.cls, "incomplete", "")
    return ProviderRow(
        offer.name,
        offer.package,
        offer.version,
        offer.text,
        dotted(package.cls.api),
        "incomplete" if incomplete else "ok",
        incomplete,
        () if incomplete else _capabilities(package.cls),
        package.hooks,
        _settings(package.cls),
    )


def _bad_row(offer: DiscoveredPlugin, state: State, problem: CannotLoad | DaccError, api: str = "") -> ProviderRow:
    reason = f"{problem.why}; {problem.fix}" if isinstance(problem, CannotLoad) else str(problem)
    return ProviderRow(offer.name, offer.package, offer.version, offer.text, api, state, reason)


def _capabilities(cls: type[Provider]) -> tuple[str, ...]:
    """What the provider can do with default settings; nothing when it has settings that must be given."""
    try:
        provider = discovery.guarded("making it", lambda: cls(cls.Settings()))
    except (CannotLoad, DaccError):  # a list must not fail because a provider wants settings
        return ()
    able = asdict(check_capabilities(provider))
    optional = [name for name, protocol in OPTIONAL.items() if isinstance(provider, protocol)]
    return (*(name for name, can in able.items() if can), *optional)


def _settings(cls: type[Provider]) -> tuple[Setting, ...]:
    docs = discovery.guarded("reading its Settings", lambda: describe(cls.Settings))
    return tuple(map(_setting, docs))


def _setting(row: SettingDoc) -> Setting:
    text = _ROLE.sub(lambda role: role[1].rpartition(".")[2], row.text)
    return Setting(*(part.replace("`", "") for part in (row.path, row.type, row.default, row.unit, text)))
