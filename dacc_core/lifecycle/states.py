"""The states of a session's reconciler, and what follows when a transaction was done.

Every state but :class:`Idle` has a deadline. When it passes, what was asked for is abandoned, and a late answer to it is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never

from ..registry.records import Session, Status
from .plan import Step
from .transitions import StepOutcome


@dataclass(frozen=True, slots=True)
class Tenure:
    """As what this host acts for a session: for this very session, under this generation."""

    created_at: float
    generation: int


@dataclass(frozen=True, slots=True)
class Considered:
    """What a plan was made from, as far as it decides: as long as nothing of it changes, the plan does not either.

    ``status`` is 0 while a step runs: what is written of it meanwhile does not change what is to be done.
    """

    session: int
    status: int
    rebooted: str
    detached: bool

    @property
    def of_a_step(self) -> Considered:
        """The same for a step that runs."""
        return replace(self, status=0)


# --- what follows when a transaction was done ---


@dataclass(frozen=True, slots=True)
class Act:
    """Run the step whose beginning was recorded."""

    step: Step
    session: Session
    considered: Considered


@dataclass(frozen=True, slots=True)
class Enforce:
    """Fence these hosts: the higher generation was recorded."""

    key: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try this kind of step again after a while."""

    kind: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing more, unless something changed meanwhile; ``considered``, if the plan was to do nothing more."""

    considered: Considered | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The session has ended. ``revisions``: of its records, when that was decided."""

    session: Session
    status: Status
    step: Step
    revisions: tuple[int, int]


Next: TypeAlias = Act | Enforce | Retry | Rest | Release


# --- states ---


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is under way. ``considered``: what was looked at when there was nothing to do."""

    considered: Considered | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits before it looks again; ``again``: the ending that another transaction got in the way of."""

    until: float
    again: Release | None = None


@dataclass(frozen=True, slots=True)
class Committing:
    """A transaction is under way, and ``then`` follows."""

    ref: int
    then: Next
    tenure: Tenure
    deadline: float


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step is under way. ``lost``: the hosts that had been forgotten when it was planned; ``cancelled``: why it was cancelled.

    ``overran``: it passed its deadline. ``saving``: the transaction that saves its progress, which ``ended`` waits for: of two writes of
    one status at once, one would be lost.
    """

    step: Step
    ref: int
    tenure: Tenure
    deadline: float
    considered: Considered
    lost: tuple[str, ...]
    saved_at: float
    saving: int = 0
    cancelled: str = ""
    overran: bool = False
    ended: StepOutcome | None = None


@dataclass(frozen=True, slots=True)
class Fencing:
    """Commands of lower generations are being ended on these hosts."""

    ref: int
    tenure: Tenure
    hosts: tuple[str, ...]
    deadline: float


State: TypeAlias = Idle | Backoff | Committing | RunningStep | Fencing


def deadline_of(state: State) -> float | None:
    """When (monotonic) a state is left even if nothing happens."""
    match state:
        case Idle():
            return None
        case Backoff():
            return state.until
        case Committing() | RunningStep() | Fencing():
            return state.deadline
        case _:
            assert_never(state)


def awaited_by(state: State) -> frozenset[int]:
    """The effects whose answers a state waits for."""
    match state:
        case Idle() | Backoff():
            return frozenset()
        case Committing() | Fencing():
            return frozenset({state.ref})
        case RunningStep():
            return frozenset({state.ref, state.saving})
        case _:
            assert_never(state)
