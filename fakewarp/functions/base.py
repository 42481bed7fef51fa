"""What the functions share: how one is described, how long it may take, and what several of them ask of a call or a site."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from dacc_core.config import Config
from dacc_core.errors import BadArguments, NoSuchPool, NoSuchUser, StaleView, Unavailable
from dacc_core.names import check_job_token
from dacc_core.registry.view import View, names
from dacc_core.verbs.frontend import Answer, FrontEndContext
from dacc_core.verbs.operations import LookupUser, Verb
from fakewarp.arguments import Arguments
from fakewarp.directives import Directives, parse_script

T = TypeVar("T")
Files = Mapping[str, str]
Run = Callable[[T, FrontEndContext], Verb[Answer]]

STALE_SECONDS = 3.0
READ_SECONDS = 3.0
_MARGIN = 10.0


@dataclass(frozen=True, slots=True)
class Function(Generic[T]):
    """One value of ``--function``. ``read`` is pure and gives what the call asks; ``run`` is the verb that answers it.

    ``open_to`` whom: the site's Slurm user and root may call everything, an owner what ends his own sessions, anyone what only reads.
    ``ending``: it undoes what a job has; repeated, it must not meet the session that the requeued job has by then.
    """

    name: str
    read: Callable[[Arguments, Files], T]
    run: Run[T]
    seconds: Callable[[Config], float]
    open_to: Literal["anyone", "owner", "slurm"] = "slurm"
    ending: bool = False


def at_once(answer: Callable[[T, FrontEndContext], Answer]) -> Run[T]:
    """The verb of a function that waits for nothing: it reads the view and answers."""

    def verb(asked: T, site: FrontEndContext) -> Verb[Answer]:
        return answer(asked, site)
        yield  # what makes it a generator

    return verb


# --- how long ---


def reading(_: Config) -> float:
    """Answers from memory; the deadline only matters when something is very wrong."""
    return READ_SECONDS


def under_lock(config: Config) -> float:
    """Slurm holds its job write lock meanwhile (dw.c, bb_p_job_validate2 and bb_p_job_begin)."""
    return min(READ_SECONDS, 0.6 * config.slurm.validate_timeout)


def other(config: Config) -> float:
    """Slurm kills the call after its OtherTimeout; the answer must be earlier."""
    return before(config.slurm.other_timeout)


def before(timeout: float) -> float:
    """A deadline that leaves time to answer before one of Slurm's."""
    return max(timeout - _MARGIN, timeout / 2)


# --- what a call says ---


def nothing(_: Arguments, __: Files) -> None:
    """The function takes no arguments."""


def job_token(arguments: Arguments, _: Files | None = None) -> str:
    """The job that the call is about. Raises BadArguments, BadName."""
    return check_job_token(arguments.required("token"))


def script(arguments: Arguments, files: Files) -> Directives:
    """The directives of the job's script. Raises BadArguments, BadDirectives."""
    arguments.required("job")
    if "job" not in files:
        raise BadArguments(why="the job script that --job names cannot be read")
    return parse_script(files["job"])


# --- what a site has ---


def check_fresh(site: FrontEndContext) -> None:
    """Slurm forgets every buffer that it is not told of for a minute (dw.c, _timeout_bb_rec): rather no answer than an old one."""
    if math.isinf(site.age):
        raise Unavailable(why="the keystore has not been heard from yet: see the log of dacd")
    if site.age > STALE_SECONDS:
        raise StaleView(seconds=site.age)


def in_bytes(view: View, pool: str, size: int, granules: int) -> int:
    """A size whose ``granules`` count bricks of the pool. Raises NoSuchPool."""
    if not granules:
        return size
    entry = view.pools.get(pool)
    if entry is None:
        raise no_such_pool(view, pool)
    return size + granules * entry.record.granularity


def no_such_pool(view: View, pool: str) -> NoSuchPool:
    """The error for a pool that no brick host has registered."""
    known = names(view.pools)
    return NoSuchPool(pool=pool, hint=f"there are {known}" if known else "no storage node has registered a pool yet: ask an operator")


def primary_group(uid: int) -> Verb[int]:
    """The primary group of a user. Raises NoSuchUser."""
    user = yield LookupUser(uid=uid)
    if user is None:
        raise NoSuchUser.from_text(f"uid {uid} has no passwd entry on this host, so its group is unknown: add the user here")
    return int(user.gid)
