"""How a front end meets the daemon: a call comes in, a verb runs, an answer goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..config import Config
from .operations import Verb
from .sessions import VerbContext


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
    """What a verb of a front end may look at. ``tell`` lets the caller know which session the call is about.

    ``by_owner``: the caller is not trusted, but owns the session.
    """

    scene: VerbContext
    config: Config
    silence: Callable[[], float] = lambda: 0.0
    tell: Callable[[str], None] = lambda _: None
    by_owner: bool = False

    @property
    def age(self) -> float:
        """Seconds since the keystore was last heard from, at this moment: a verb may begin long after its call came in."""
        return self.silence()


class FrontEnd(Protocol):
    """What a module in the entry point group ``dacc.frontends`` offers as ``FRONTEND``.

    ``parse`` is pure and may take its time (it runs beside the core, not in it); ``run`` makes the verb; ``deadline`` is how many
    seconds it may wait. ``failure`` turns any error into the answer that this front end's caller understands.
    """

    name: str

    def parse(self, call: Call) -> Any:
        """The call as this front end understands it. Raises InvalidRequest."""
        ...

    def run(self, parsed: Any, site: FrontEndContext) -> Verb[Answer]:
        """The verb that answers the call."""
        ...

    def deadline(self, parsed: Any, config: Config) -> float:
        """How many seconds the caller will wait."""
        ...

    def function(self, parsed: Any) -> str:
        """What was called, for metrics: one of a few names that the front end knows."""
        ...

    def failure(self, parsed: Any, error: Exception) -> Answer:
        """The answer for an error. ``parsed`` is ``None`` when parsing failed."""
        ...
