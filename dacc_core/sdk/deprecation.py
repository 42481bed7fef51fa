"""Names that changed: the old one works for one release more, and whoever uses it is told once what replaces it and when it goes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Deprecation:
    """A hook that got another name, or a parameter of a hook. Listed in ``hookspecs.DEPRECATED`` until the release that drops it.

    A hook's old name needs nothing else: what implements it is called as the new one. A parameter's old name stays in the hook's
    specification, behind the new one, and gets the same value.
    """

    hook: str
    """The hook: by its old name, unless only a parameter changed."""

    new: str
    """The name that replaces the old one."""

    gone_in: str
    """The version of dacc that no longer knows the old name."""

    parameter: str = ""
    """The parameter's old name, if it is a parameter."""

    def __str__(self) -> str:
        what = f"parameter {self.parameter} of the hook {self.hook}" if self.parameter else f"hook {self.hook}"
        return f"{what} is deprecated: use {self.new}; the old name goes in dacc {self.gone_in}"


class OldName:
    """The old name of a field: ``brick_host = OldName("host", gone_in="0.3")`` in the class gives the new one's value and warns."""

    def __init__(self, new: str, *, gone_in: str) -> None:
        self._new, self._gone_in = new, gone_in
        self._told = False

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = f"{owner.__name__}.{name}"

    def __get__(self, thing: Any, owner: type) -> Any:
        if thing is None:
            return self
        if not self._told:
            self._told = True
            text = f"{self._old} is deprecated: use {self._new}; the old name goes in dacc {self._gone_in}"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
        return getattr(thing, self._new)
