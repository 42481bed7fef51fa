"""What a script's directives ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import msgspec

from dacc_core.values import StageRequest
from fakewarp.directives.problems import ScriptPosition


@dataclass(frozen=True, slots=True)
class CreateBuffer:
    """``#BB create_persistent``. ``pool`` ``""`` is the default pool."""

    name: str
    capacity: int
    pool: str = ""
    access: str = "striped"
    type: str = "scratch"


@dataclass(frozen=True, slots=True)
class DestroyBuffer:
    """``#BB destroy_persistent``. ``hurry``: do not wait for what is owed to the data."""

    name: str
    hurry: bool = False


@dataclass(frozen=True, slots=True)
class Directives:
    """What a script asks for: one buffer for the job at most, and its use of persistent ones.

    ``capacity`` is in bytes and ``granules`` in units of the pool; several ``jobdw`` lines are summed, as Slurm
    sums them. ``pool`` is the one that Slurm charges, ``""`` for the default. ``swap`` is in bytes per node.
    ``notes`` tell what was accepted and has no effect, or is read otherwise than the user may think.
    ``positions`` tell where the script says something; neither of the two counts when comparing.
    """

    capacity: int = 0
    granules: int = 0
    pool: str = ""
    striped: bool = False
    private: bool = False
    swap: int = 0
    swap_pool: str = ""
    persistent: tuple[str, ...] = ()
    stage_in: tuple[StageRequest, ...] = ()
    stage_out: tuple[StageRequest, ...] = ()
    creates: tuple[CreateBuffer, ...] = ()
    destroys: tuple[DestroyBuffer, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    positions: Mapping[str, ScriptPosition] = field(default_factory=dict, compare=False, repr=False)

    @property
    def digest(self) -> str:
        """The same for every spelling of the same request; a field with its default value does not count."""
        asked = {part.name: getattr(self, part.name) for part in fields(self) if part.compare}
        asked = {name: value for name, value in asked.items() if value}
        return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
