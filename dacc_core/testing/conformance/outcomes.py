"""How a check can end, besides well: it found a breach, or it could not be made and says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NotReached(AssertionError):
    """What a check needs first did not work. Another check tells what is wrong with that."""


class NotDeclared(Exception):
    """The provider does not say that it can do what is checked."""

    def __init__(self, capability: str) -> None:
        super().__init__(f"not declared: {capability}")
        self.capability = capability


class NotPossible(Exception):
    """The scratch resources do not suffice for the check."""

    def __init__(self, needs: str) -> None:
        super().__init__(f"not possible: it needs {needs}")


def expect(condition: object, otherwise: str) -> None:
    """Raise AssertionError with the text unless the condition holds (a statement ``assert`` would vanish with ``python -O``)."""
    if not condition:
        raise AssertionError(otherwise)


@contextmanager
def given(what: str) -> Iterator[None]:
    """What is done inside is needed for a check and not what it checks. Raises :class:`NotReached` for any failure of it."""
    try:
        yield
    except (NotReached, NotDeclared, NotPossible):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise NotReached(f"not reached, since {what} failed: {type(error).__name__}: {text}") from error
