"""How a front end meets the daemon: a call comes in, a verb runs, an answer goes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from ..config import Config
from ..errors import DaccError, StaleView, Unavailable
from ..registry.view import View
from .operations import Verb
from .sessions import VerbContext

STALE_SECONDS = 3.0
A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """Who calls, by ``SO_PEERCRED``. ``trusted``: root, the site's Slurm user, or the store's owner in user mode."""

    uid: int
    gid: int = 0
    pid: int = 0
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came: arguments, and the contents of the files that they name (read by the caller's own process).

    ``session``: the key of the session that a repeated call is about, as an earlier daemon has told. ``age``: for how many seconds the
    caller has been asking, at this moment. ``missing``: the files that are named and do not exist; one in neither could not be read.
    """

    args: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    caller: PeerCredentials = PeerCredentials(uid=-1)
    session: str = ""
    age: Callable[[], float] = field(default=lambda: 0.0, compare=False, repr=False)
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SessionNotice:
    """What a caller is told before the answer: the key of the session that its call is about, to be named when it repeats the call."""

    session: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the calling program does: write ``stdout`` at once, write ``pathfile`` to the file it was told, exit with ``rc``."""

    rc: int = 0
    stdout: str = ""
    pathfile: str | None = None


@dataclass(frozen=True, slots=True)
class FrontEndContext:
    """What a verb of a front end may look at. ``send_notice`` lets the caller know which session the call is about.

    ``by_owner``: the caller is not trusted, but owns the session.
    """

    verb_context: VerbContext
    config: Config
    silence: Callable[[], float] = lambda: 0.0
    send_notice: Callable[[str], None] = lambda _: None
    by_owner: bool = False

    @property
    def view(self) -> View:
        """The store as this program has seen it."""
        return self.verb_context.view

    @property
    def age(self) -> float:
        """Seconds since the keystore was last heard from, at this moment: a verb may begin long after its call came in."""
        return self.silence()


@dataclass(frozen=True, slots=True)
class Function(Generic[A, T]):
    """One function of a front end. ``read`` is pure: what the function needs of the call's arguments. ``run`` makes the verb that answers.

    ``seconds`` is how long the caller will wait. ``open_to`` whom: the site's Slurm user and root may call everything, an owner what ends
    his own sessions, anyone the rest, in which the verb itself may refuse a caller. ``ending``: it undoes what a job has; repeated, it
    must not meet the session that the requeued job has by then.
    """

    name: str
    read: Callable[[A], T]
    run: Callable[[T, FrontEndContext], Verb[Answer]]
    seconds: Callable[[Config], float]
    open_to: Literal["anyone", "owner", "slurm"]
    ending: bool = False


def at_once(read: Callable[[T, FrontEndContext], R]) -> Callable[[T, FrontEndContext], Verb[R]]:
    """The verb of a function that waits for nothing: it reads the view and answers."""

    def verb(asked: T, context: FrontEndContext) -> Verb[R]:
        return read(asked, context)
        yield  # what makes it a generator

    return verb


def check_fresh(context: FrontEndContext) -> None:
    """Refuse to answer from a view that may be out of date. Raises Unavailable, StaleView."""
    if math.isinf(context.age):
        raise Unavailable(why="the keystore has not been heard from yet: see the log of dacd")
    if context.age > STALE_SECONDS:
        raise StaleView(seconds=context.age)


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call as its front end understands it: a function, and what that function's ``read`` made of the arguments.

    ``token``: the session that the call is about, for messages; empty when it is about none. ``problem``: what is wrong with what was
    ``asked``, kept for a caller who may know.
    """

    call: Call
    function: Function[Any, Any]
    asked: Any = None
    token: str = ""
    problem: DaccError | None = None


class FrontEnd(Protocol):
    """What an entry point of the group ``dacc.frontends`` offers.

    ``parse`` is pure and may take its time (it runs beside the engine, not in it); ``run`` makes the verb. ``failure`` turns any error
    into the answer that this front end's caller understands.
    """

    name: str

    def parse(self, call: Call) -> ParsedCall:
        """The call as this front end understands it. Raises InvalidRequest."""
        ...

    def run(self, parsed: ParsedCall, context: FrontEndContext) -> Verb[Answer]:
        """The verb that answers the call."""
        ...

    def failure(self, parsed: ParsedCall | None, error: Exception) -> Answer:
        """The answer for an error. ``parsed`` is ``None`` when parsing failed."""
        ...
