"""Entry points with the package that offers each, and loading one without letting its errors through unnamed."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, TypeVar

from pluggy import PluginValidationError

from ..errors import DaccError, ProviderLoadError

PROVIDERS = "dacc.providers"
FRONTENDS = "dacc.frontends"
REPORT = "report it to the package's authors"

log = logging.getLogger("dacc.plugins")
T = TypeVar("T")


class CannotLoad(Exception):
    """Why an entry point cannot be used and what mends it; told to people as an error that also names the package."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix


@dataclass(frozen=True, slots=True)
class DiscoveredPlugin:
    """One entry point and who offers it."""

    entry_point: EntryPoint
    package: str
    version: str

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.entry_point.name

    @property
    def text(self) -> str:
        """The entry point as the package's metadata has it."""
        return f"{self.entry_point.name} = {self.entry_point.value}"

    def load(self) -> Any:
        """The module or object. Raises :class:`CannotLoad`."""
        if not EntryPoint.pattern.match(self.entry_point.value):
            raise CannotLoad(f"{self.entry_point.value!r} is neither a module nor module:object", REPORT)
        try:
            with redirect_stdout(sys.stderr):
                return self.entry_point.load()
        except ModuleNotFoundError as error:
            raise CannotLoad(_one_line(error), self._fix_missing(error)) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a package may raise anything while it is imported, and may call sys.exit
            raise CannotLoad(_one_line(error), f"reinstall or upgrade {self.package}, or report it to its authors") from error

    def _fix_missing(self, error: ModuleNotFoundError) -> str:
        own = self.entry_point.module.partition(".")[0]
        if (error.name or "").partition(".")[0] in ("", own):
            return f"reinstall {self.package}"
        return f"install what provides the module {error.name} in the environment of dacc, or reinstall {self.package}"

    def is_in(self, disabled: Collection[str]) -> bool:
        """Whether the setting ``plugins.disabled`` names this provider or its package."""
        return self.name in disabled or _normal(self.package) in map(_normal, disabled)

    def provider_error(self, problem: CannotLoad) -> ProviderLoadError:
        """The error for people."""
        return ProviderLoadError(
            provider=self.name,
            entry_point=f"`{self.text}`",
            package=self.package,
            version=self.version,
            why=problem.why,
            fix=problem.fix,
        )


def guarded(what: str, call: Callable[[], T]) -> T:
    """What a package's code returns. What it raises, ``sys.exit`` too, becomes :class:`CannotLoad`; errors of dacc and pluggy stay.

    What it prints goes to standard error: standard output may be an answer that a program reads.
    """
    try:
        with redirect_stdout(sys.stderr):
            return call()
    except (KeyboardInterrupt, DaccError, CannotLoad, PluginValidationError):
        raise
    except BaseException as error:
        raise CannotLoad(f"{what} raised {_one_line(error)}", REPORT) from error


def find(group: str, name: str | None = None) -> list[DiscoveredPlugin]:
    """The entry points of a group, by name and package. Of a package that is on the path twice the first one counts, as for imports."""
    first: dict[str, list[DiscoveredPlugin]] = {}
    for dist in distributions():
        package, offers = _offers(dist, group)
        first.setdefault(package, offers)
    named = {offer for offers in first.values() for offer in offers if name in (None, offer.name)}
    return sorted(named, key=lambda each: (each.name, each.package, each.text))


def others(offer: DiscoveredPlugin, offers: list[DiscoveredPlugin]) -> list[DiscoveredPlugin]:
    """What else has the same name."""
    return [each for each in offers if each.name == offer.name and each != offer]


def duplicate(offer: DiscoveredPlugin, rest: list[DiscoveredPlugin]) -> CannotLoad:
    """The problem that a name is offered more than once."""
    names = " and ".join(f"{each.package} {each.version} (`{each.text}`)" for each in rest)
    packages = ", ".join(_packages([offer, *rest]))
    return CannotLoad(f"the name is also offered by {names}", f"uninstall all but one, or name them in plugins.disabled: {packages}")


def _packages(offers: list[DiscoveredPlugin]) -> list[str]:
    return list(dict.fromkeys(each.package for each in offers))


def _offers(dist: Distribution, group: str) -> tuple[str, list[DiscoveredPlugin]]:
    """A package's name in its normal form, and its entry points: none when its metadata cannot be read, which hides no other package."""
    package = ""
    try:
        package = _normal(dist.metadata["Name"])
        return package, list(_entry_points(dist, group))
    except Exception as error:
        log.warning("package %s offers nothing, its metadata cannot be read: %s", package or "without a name", _one_line(error))
        return package or f"unreadable {id(dist)}", []


def _entry_points(dist: Distribution, group: str) -> Iterator[DiscoveredPlugin]:
    for point in dist.entry_points:
        if point.group == group:
            yield DiscoveredPlugin(point, dist.metadata["Name"], dist.version)


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
