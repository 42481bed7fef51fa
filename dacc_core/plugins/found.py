"""Entry points with the package that offers each, and loading one without letting its errors through unnamed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..errors import ProviderLoadError

PROVIDERS = "dacc.providers"
FRONTENDS = "dacc.frontends"


class CannotLoad(Exception):
    """Why an entry point cannot be used and what mends it; told to people as an error that also names the package."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Found:
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
        try:
            return self.entry_point.load()
        except ModuleNotFoundError as error:
            raise CannotLoad(_one_line(error), self._fix_missing(error)) from error
        except (Exception, SystemExit) as error:  # a package may raise anything while it is imported
            raise CannotLoad(_one_line(error), f"reinstall or upgrade {self.package}, or report it to its authors") from error

    def _fix_missing(self, error: ModuleNotFoundError) -> str:
        own = self.entry_point.module.partition(".")[0]
        if (error.name or "").partition(".")[0] in ("", own):
            return f"reinstall {self.package}"
        return f"install what provides the module {error.name} in the environment of dacc, or reinstall {self.package}"

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


def find(group: str, name: str | None = None) -> list[Found]:
    """The entry points of a group, by name and package. Each installed package counts once, however often it is on the path."""
    points = entry_points(group=group) if name is None else entry_points(group=group, name=name)
    found = {_found(point) for point in points}
    return sorted(found, key=lambda each: (each.name, each.package, each.text))


def others(one: Found, all_found: list[Found]) -> list[Found]:
    """What else has the same name."""
    return [each for each in all_found if each.name == one.name and each != one]


def duplicate(one: Found, rest: list[Found]) -> CannotLoad:
    """The problem that a name is offered more than once."""
    names = " and ".join(f"{each.package} {each.version} (`{each.text}`)" for each in rest)
    return CannotLoad(f"the name is also offered by {names}", f"uninstall all but one: {', '.join(_packages([one, *rest]))}")


def _packages(found: list[Found]) -> list[str]:
    return list(dict.fromkeys(each.package for each in found))


def _found(point: EntryPoint) -> Found:
    dist = point.dist
    return Found(point, dist.name if dist else "an unknown package", dist.version if dist else "")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
