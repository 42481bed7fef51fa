"""The functions that Slurm polls: pools, show_instances, show_sessions, show_configurations.

Slurm reads ids and sizes with an integer accessor only: a string counts as 0, and then every session is charged the sum of all
instances (dw.c, _json_parse_sessions_object). When one of these fails it must print no JSON at all: Slurm then leaves everything as
it was, while an empty list would make it forget every buffer (dw.c, _load_state and _timeout_bb_rec), as it forgets one that is not
listed for a minute: rather no answer than an old one.
"""

from __future__ import annotations

import msgspec

from dacc_core.registry.records import Session
from dacc_core.registry.view import View
from dacc_core.verbs.frontend import Answer, FrontEndContext, Function, at_once, check_fresh
from fakewarp import answers
from fakewarp.functions.base import no_such_pool, nothing, reading


class PoolRow(msgspec.Struct, gc=False):
    """A pool: ``quantity`` and ``free`` count bricks of ``granularity`` bytes."""

    id: str
    units: str
    granularity: int
    quantity: int
    free: int


class Bytes(msgspec.Struct, gc=False):
    """A capacity."""

    bytes: int


class ToSession(msgspec.Struct, gc=False):
    """The session of an instance."""

    session: int


class InstanceRow(msgspec.Struct, gc=False):
    """The volume of a session; it has the session's id."""

    id: int
    capacity: Bytes
    links: ToSession


class SessionRow(msgspec.Struct, gc=False):
    """A session; Slurm takes one whose token starts with a digit for a job's."""

    id: int
    created: int
    owner: int
    token: str


class ToInstance(msgspec.Struct, gc=False):
    """The instance of a configuration."""

    instance: int


class ConfigurationRow(msgspec.Struct, gc=False):
    """How an instance is configured; Slurm reads it and uses nothing of it."""

    id: int
    links: ToInstance


def listed(view: View) -> list[Session]:
    """The sessions that Slurm knows, in the order of their ids, each until its last brick is free.

    Not those that are kept because their stage-out is owed: to Slurm they are gone.
    """
    sessions = (entry.record for entry in view.sessions.values())
    return sorted((session for session in sessions if session.kind != "kept"), key=lambda session: session.id)


def _pools(_: None, context: FrontEndContext) -> Answer:
    check_fresh(context)
    view, default = context.view, context.config.default_pool
    if not view.pools:
        raise no_such_pool(view, default)
    # The first pool becomes Slurm's default where burst_buffer.conf names none.
    order = sorted(view.pools, key=lambda name: (name != default, name))
    return answers.json({"pools": [_pool(view, name) for name in order]})


def _pool(view: View, name: str) -> PoolRow:
    quantity, free = view.quantity(name)
    return PoolRow(id=name, units="bytes", granularity=view.pools[name].record.granularity, quantity=quantity, free=free)


def _instances(_: None, context: FrontEndContext) -> Answer:
    check_fresh(context)
    rows = [
        InstanceRow(id=session.id, capacity=Bytes(session.volume.capacity), links=ToSession(session.id))
        for session in listed(context.view)
        if session.volume is not None
    ]
    return answers.json({"instances": rows})


def _sessions(_: None, context: FrontEndContext) -> Answer:
    check_fresh(context)
    rows = [
        SessionRow(id=session.id, created=session.created, owner=session.request.owner, token=session.token)
        for session in listed(context.view)
    ]
    return answers.json({"sessions": rows})


def _configurations(_: None, context: FrontEndContext) -> Answer:
    check_fresh(context)
    rows = [ConfigurationRow(id=session.id, links=ToInstance(session.id)) for session in listed(context.view) if session.volume]
    return answers.json({"configurations": rows})


FUNCTIONS = (
    Function("pools", nothing, at_once(_pools), reading, open_to="anyone"),
    Function("show_instances", nothing, at_once(_instances), reading, open_to="anyone"),
    Function("show_sessions", nothing, at_once(_sessions), reading, open_to="anyone"),
    Function("show_configurations", nothing, at_once(_configurations), reading, open_to="anyone"),
)
