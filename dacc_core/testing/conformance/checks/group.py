"""What a group of checks is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from ..kit import Kit


class CheckGroup:
    """Checks that belong together: its methods ``test_…``, each with a :class:`~..kit.Kit` of its own."""

    title: ClassVar[str] = ""
    """How it is called in reports."""

    destructive: ClassVar[bool] = True
    """Whether it changes what is on bricks and hosts."""

    needs: ClassVar[str] = ""
    """The optional operation or capability without which its checks are not made."""

    @classmethod
    def prepare(cls, kit: Kit) -> None:
        """Before each check. Raises NotDeclared where the capability is not declared."""
        if cls.needs:
            kit.need(cls.needs)


def checks_of(group: type[CheckGroup]) -> dict[str, Callable[..., Any]]:
    """The checks that a group defines, by name, in the order of its file."""
    return {name: thing for name, thing in vars(group).items() if name.startswith("test_") and inspect.isfunction(thing)}


def group_of(cls: type, name: str) -> type[CheckGroup]:
    """The group that defines a check of a class that inherits many; for a check of an author's own, none in particular."""
    return next((base for base in cls.__mro__ if CheckGroup in base.__bases__ and name in vars(base)), CheckGroup)


def as_words(name: str) -> str:
    """A check's name as a sentence."""
    return name.removeprefix("test_").replace("_", " ")
