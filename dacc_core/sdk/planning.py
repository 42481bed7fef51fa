"""What creating a volume would do, for people to read: an optional protocol, which ``dacc plan`` asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..values import Volume
from .context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanCreate:
    """What would ``create`` do? Nothing may be changed to answer."""

    context: Context

    volume: Volume
    """What would be built. No such volume exists."""

    look: bool = True
    """Look at the hosts, as ``create`` would first. Otherwise no command runs, and all is assumed to be as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """What one host would do in one phase. Phases follow one another; the steps of a phase run at once."""

    phase: str
    host: str

    commands: tuple[tuple[str, ...], ...]
    """The commands, as lists of words, in order."""

    seconds: float = 0.0
    """How long the step may take; 0: no limit of its own."""

    undo: str = ""
    """How deleting the volume takes it back."""


@runtime_checkable
class PlanProvider(Protocol):
    """Optional: say what ``create`` would do."""

    def plan(self, request: PlanCreate) -> Sequence[PlannedStep]:
        """The steps, in order. Raises what ``create`` would raise before it changes anything."""
        ...
