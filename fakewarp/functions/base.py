"""What the functions share: how long one may take, and what several of them need of a call or a site."""

from __future__ import annotations

from dacc_core.config import Config
from dacc_core.errors import BadArguments, NoSuchPool, NoSuchUser
from dacc_core.names import check_job_token
from dacc_core.registry.view import View, names
from dacc_core.verbs.operations import LookupUser, Verb
from fakewarp.arguments import Arguments
from fakewarp.directives import Directives, parse_script

READ_SECONDS = 3.0
_MARGIN = 10.0


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


# --- what a call is about ---


def nothing(_: Arguments) -> None:
    """The function takes no arguments."""


def job_token(arguments: Arguments) -> str:
    """The job that the call is about. Raises BadArguments, BadName."""
    return check_job_token(arguments.required("token"))


def script(arguments: Arguments) -> Directives:
    """The directives of the job's script. Raises BadArguments, BadDirectives."""
    arguments.required("job")
    if "job" not in arguments.files:
        raise BadArguments(why="the job script that --job names cannot be read")
    return parse_script(arguments.files["job"])


# --- what a site has ---


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
    pools = names(view.pools)
    return NoSuchPool(pool=pool, hint=f"there are {pools}" if pools else "no storage node has registered a pool yet: ask an operator")


def primary_group(uid: int) -> Verb[int]:
    """The primary group of a user. Raises NoSuchUser."""
    user = yield LookupUser(uid=uid)
    if user is None:
        raise NoSuchUser.from_text(f"uid {uid} has no passwd entry on this host, so its group is unknown: add the user here")
    return int(user.gid)
