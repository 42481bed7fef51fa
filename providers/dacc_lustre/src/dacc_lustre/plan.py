"""Plans: phases of steps, as data. Phases follow one another; the steps of a phase run at once, one call for each host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KEPT = "nothing: the MGT belongs to the host"
LOOKED = "nothing: it only looks"
GONE = "nothing: it goes with the filesystem"


@dataclass(frozen=True, slots=True)
class LustreStep:
    """What one host is asked to do in a phase."""

    host: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps that do not depend on each other."""

    name: str
    verb: str
    """Of the node helper."""

    steps: tuple[LustreStep, ...]
    seconds: float
    """The deadline of each call; the host enforces it too."""

    tries: int = 1
    """How often a command is tried whose error passes, by the table in ``errors.py``."""

    undo: str = ""
    """The verb that takes this back, or why nothing has to."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that take part."""
        return tuple(step.host for step in self.steps)

    def arguments(self) -> dict[str, Mapping[str, Any]]:
        """By host, what is particular to it."""
        return {step.host: step.arguments for step in self.steps}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done, in order; nothing when the facts are as wished."""

    fsname: str
    phases: tuple[Phase, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def phase(
    name: str, verb: str, steps: Mapping[str, Mapping[str, Any]], seconds: float, *, tries: int = 1, undo: str = ""
) -> tuple[Phase, ...]:
    """The phase, or none when no host has anything to do."""
    made = tuple(LustreStep(host, arguments) for host, arguments in steps.items())
    return (Phase(name, verb, made, seconds, tries, undo),) if made else ()
