"""What goes into the core and what comes out of it. Plain data: an executor runs effects and brings events back.

Every effect that has an outcome (:data:`Asked`) carries ``ref``; exactly one event with the same ``ref`` answers it, whatever happens.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..errors import DaccError
from ..keystore.base import Batch, Compare, Op, Snapshot, TxnResult
from ..registry.records import Session, Status
from ..values import Progress
from ..verbs.frontend import Answer
from ..verbs.operations import User, Verb
from .plan import Step
from .rules import Rules as Rules
from .transitions import StepOutcome


class Now(msgspec.Struct, frozen=True):
    """The time of an event: ``mono`` for measuring (seconds, any start), ``wall`` for records (since the epoch)."""

    mono: float
    wall: float


# --- events ---


@dataclass(frozen=True, slots=True)
class Loaded:
    """The whole store was read; the watch goes on from its revision."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Watched:
    """News from the watch (perhaps only that the store is alive)."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Transacted:
    """The outcome of a transaction; an error means that it may have been done or not."""

    ref: int
    result: TxnResult | DaccError


@dataclass(frozen=True, slots=True)
class Granted:
    """The outcome of asking for a lease."""

    ref: int
    lease: int | DaccError


@dataclass(frozen=True, slots=True)
class Renewed:
    """The outcome of renewing the lease: whether it still lives. ``asked`` is when the request was sent."""

    ref: int
    alive: bool | DaccError
    asked: float


@dataclass(frozen=True, slots=True)
class UserResolved:
    """The outcome of a passwd look-up."""

    ref: int
    user: User | DaccError | None


@dataclass(frozen=True, slots=True)
class StepEnded:
    """The outcome of a step, whatever it was."""

    ref: int
    outcome: StepOutcome


@dataclass(frozen=True, slots=True)
class Fenced:
    """Which hosts could not be fenced, and why."""

    ref: int
    failures: dict[str, DaccError]


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far the copy of a running step is."""

    ref: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Called:
    """A front end's call arrived; ``verb`` will answer it. ``seconds`` is how long its caller waits."""

    ref: int
    verb: Verb[Answer]
    seconds: float
    token: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """Come to a good end: start nothing, let short steps finish, give the lease back."""


Event = Loaded | Watched | Transacted | Granted | Renewed | UserResolved | StepEnded | Fenced | Progressed | Called | Tick | Stopping

# --- effects ---


@dataclass(frozen=True, slots=True)
class Load:
    """Read the whole store and watch it from there."""


@dataclass(frozen=True, slots=True)
class Transact:
    """A keystore transaction."""

    ref: int
    compares: tuple[Compare, ...]
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A new lease of ``ttl`` seconds."""

    ref: int
    ttl: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the lease."""

    ref: int
    lease: int


@dataclass(frozen=True, slots=True)
class Revoke:
    """Give the lease back. Nobody waits for the outcome."""

    lease: int


@dataclass(frozen=True, slots=True)
class ResolveUser:
    """Look a user up, by uid or by name."""

    ref: int
    uid: int
    name: str


@dataclass(frozen=True, slots=True)
class StepOrder:
    """A step of a session, with the status that was recorded when it began: its generation is the step's fencing token."""

    step: Step
    session: Session
    status: Status


@dataclass(frozen=True, slots=True)
class RunStep:
    """Run a step; it ends with :class:`StepEnded`, whatever happens."""

    ref: int
    order: StepOrder


@dataclass(frozen=True, slots=True)
class CancelStep:
    """Stop a running step."""

    ref: int


@dataclass(frozen=True, slots=True)
class FenceHosts:
    """Raise the generation at these hosts and end what an older one runs there."""

    ref: int
    key: str
    generation: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call."""

    ref: int
    answer: Answer | Exception


@dataclass(frozen=True, slots=True)
class Exit:
    """The daemon ends: the reason of a failure, or empty when it was asked to stop and is done."""

    error: DaccError | None = None


Effect = Load | Transact | Grant | Renew | Revoke | ResolveUser | RunStep | CancelStep | FenceHosts | Reply | Exit
Asked = Transact | Grant | Renew | ResolveUser | RunStep | FenceHosts
"""The effects that an event answers."""


def broken(effect: Asked, error: DaccError) -> Event:
    """The answer to an effect whose execution broke: its own, or whoever waits for it would wait for ever."""
    match effect:
        case Transact():
            return Transacted(effect.ref, error)
        case Grant():
            return Granted(effect.ref, error)
        case Renew():
            return Renewed(effect.ref, error, asked=0.0)
        case ResolveUser():
            return UserResolved(effect.ref, error)
        case RunStep():
            # Nobody knows how far it came.
            return StepEnded(effect.ref, StepOutcome(error=error, mover_left=True, unsure=True))
        case FenceHosts():
            return Fenced(effect.ref, dict.fromkeys(effect.hosts, error))
