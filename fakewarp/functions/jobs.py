"""The functions of a job's way to its start: job_process, setup, data_in, real_size, paths, pre_run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dacc_core.config import Config
from dacc_core.errors import BadArguments, InvalidRequest, SessionEnding
from dacc_core.names import count, parse_nodes
from dacc_core.registry.records import Request
from dacc_core.registry.view import View
from dacc_core.sizes import Capacity, parse_capacity
from dacc_core.verbs import goals
from dacc_core.verbs.claims import Claim, set_up
from dacc_core.verbs.frontend import Answer, FrontEndContext, Function, at_once
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.paths import environment
from dacc_core.verbs.sessions import check_attached, find, submit_goal
from dacc_core.verbs.waiting import check_waits_no_more
from fakewarp import answers
from fakewarp.arguments import Arguments
from fakewarp.directives import Directives, PoolSize, check_pools, parse_script
from fakewarp.functions.base import (
    before,
    in_bytes,
    job_token,
    no_such_pool,
    other,
    primary_group,
    reading,
    script,
    under_lock,
)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# --- at submit ---


def _job_process(directives: Directives, context: FrontEndContext) -> Answer:
    view, default = context.view, context.config.default_pool
    if not view.pools:
        raise no_such_pool(view, default)
    pools = {name: PoolSize(entry.record.granularity, view.quantity(name)[0]) for name, entry in view.pools.items()}
    check_pools(directives, pools, default)
    return Answer()


# --- setup ---


@dataclass(frozen=True, slots=True)
class Setup:
    """A session to be made for a job. ``nodes`` is how many the job is planned to have."""

    token: str
    owner: int
    group: int | None
    capacity: Capacity
    directives: Directives
    nodes: int = 1


def _read_setup(arguments: Arguments) -> Setup:
    capacity = parse_capacity(arguments.required("capacity"))
    directives = _directives(arguments, capacity)
    return Setup(
        token=job_token(arguments),
        owner=arguments.number("user"),
        group=arguments.number("groupid") if arguments.get("groupid") else None,
        capacity=capacity,
        directives=directives,
        nodes=_planned_nodes(arguments) if directives.swap else 1,
    )


def _directives(arguments: Arguments, capacity: Capacity) -> Directives:
    # Slurm writes no script for salloc and srun when it only has to make or destroy persistent buffers (dw.c, bb_p_job_validate2
    # returns before that). Whoever reserved bricks has directives, and must not start without their buffers.
    if arguments.required("job") and "job" in arguments.missing and not (capacity.bytes or capacity.granules):
        return parse_script("")
    return script(arguments)


def _planned_nodes(arguments: Arguments) -> int:
    # Slurm leaves the option out when it has not planned the job yet (dw.c, _queue_stage_in).
    return max(1, count(parse_nodes(arguments.files.get("nodehostnamefile", ""))))


def _setup(asked: Setup, context: FrontEndContext) -> Verb[Answer]:
    group = asked.group
    if group is None:  # an old Slurm passes none
        group = yield from primary_group(asked.owner)
    yield from set_up(context.verb_context, _claim(asked, group, context.view))
    return Answer()


def _claim(asked: Setup, group: int, view: View) -> Claim:
    directives, pool = asked.directives, asked.capacity.pool
    capacity = in_bytes(view, pool, directives.capacity, directives.granules)
    # Slurm's own sum has swap in it, but counts "150GB" a node as 150 bytes (dw.c, _get_bb_job): it is the least that is right.
    reserved = in_bytes(view, pool, asked.capacity.bytes, asked.capacity.granules)
    size = max(reserved, capacity + directives.swap * asked.nodes)
    request = Request(
        owner=asked.owner,
        group=group,
        pool=pool if size else "",
        capacity=capacity,
        swap=directives.swap,
        striped=directives.striped,
        private=directives.private,
        persistent=directives.persistent,
        stage_in=directives.stage_in,
        stage_out=directives.stage_out,
        digest=directives.digest,
    )
    return Claim(token=asked.token, kind="job", request=request, size=size)


# --- between setup and start ---


def _data_in(token: str, context: FrontEndContext) -> Verb[Answer]:
    yield from submit_goal(context.verb_context, token, goals.DATA_IN, goals.staged_in)
    return Answer()


def _stage_in_seconds(config: Config) -> float:
    return before(config.slurm.stage_in_timeout)


def _real_size(token: str, context: FrontEndContext) -> Verb[Answer]:
    session = yield from find(context.verb_context, token)
    check_waits_no_more(context.view, session)
    reported = context.view.status(token).capacity
    return answers.json({"units": "bytes", "capacity": reported or (session.volume.capacity if session.volume else 0)})


def _read_paths(arguments: Arguments) -> str:
    arguments.required("pathfile")
    return job_token(arguments)


def _paths(token: str, context: FrontEndContext) -> Verb[Answer]:
    session = yield from find(context.verb_context, token)
    if session.goal.filesystem == "absent":
        raise SessionEnding(token=token)
    check_waits_no_more(context.view, session)
    check_attached(context.view, session)
    return Answer(pathfile=_lines(environment(session, context.config.mount_root)))


def _lines(variables: Mapping[str, str]) -> str:
    """The path file: Slurm checks nothing in it, and reads no further than the first empty line (dw.c, _update_job_env)."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or not value.isprintable():
            raise InvalidRequest(why=f"{name}={value!r} can be no environment variable: correct the mount_root of the configuration")
    return "".join(f"{name}={value}\n" for name, value in variables.items())


# --- the start ---


@dataclass(frozen=True, slots=True)
class Start:
    """A job is about to start on these hosts (folded); ``None`` when Slurm named none."""

    token: str
    hosts: str | None


def _read_start(arguments: Arguments) -> Start:
    nodes = arguments.files.get("nodehostnamefile")
    return Start(job_token(arguments), None if nodes is None else parse_nodes(nodes))


def _pre_run(asked: Start, context: FrontEndContext) -> Verb[Answer]:
    session = yield from find(context.verb_context, asked.token)
    if session.goal.filesystem == "absent":
        raise SessionEnding(token=asked.token)
    check_waits_no_more(context.view, session)
    check_attached(context.view, session)
    if session.mountable and not asked.hosts:
        what = "no node file was given, or it cannot be read" if asked.hosts is None else "the node file names no node"
        raise BadArguments(why=f"{what} (--nodehostnamefile), so it is unknown where to mount the buffers of job {asked.token}")
    hosts = asked.hosts or ""
    yield from submit_goal(context.verb_context, asked.token, goals.pre_run(hosts), goals.mounted_on(hosts))
    return Answer()


FUNCTIONS = (
    Function("job_process", script, at_once(_job_process), under_lock, open_to="slurm"),
    Function("setup", _read_setup, _setup, other, open_to="slurm"),
    Function("data_in", job_token, _data_in, _stage_in_seconds, open_to="slurm"),
    Function("real_size", job_token, _real_size, reading, open_to="slurm"),
    Function("paths", _read_paths, _paths, under_lock, open_to="slurm"),
    Function("pre_run", _read_start, _pre_run, other, open_to="slurm"),
)
