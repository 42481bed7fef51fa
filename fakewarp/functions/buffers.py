"""The function that makes a persistent buffer: create_persistent. It is destroyed by teardown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dacc_core.errors import BadArguments, BadSize, DaccError, InvalidRequest, NoSpace, StillWaiting
from dacc_core.names import check_buffer
from dacc_core.registry.records import Request
from dacc_core.sizes import Capacity, parse_capacity
from dacc_core.verbs import goals
from dacc_core.verbs.claims import Claim, set_up, withdraw
from dacc_core.verbs.frontend import Answer, FrontEndContext, Function
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.sessions import tear_down
from fakewarp import answers
from fakewarp.arguments import Arguments
from fakewarp.directives.problems import shown
from fakewarp.directives.values import persistent_access, storage_type
from fakewarp.functions.base import in_bytes, other, primary_group


@dataclass(frozen=True, slots=True)
class Creation:
    """A persistent buffer to be made."""

    name: str
    owner: int
    capacity: Capacity


def _read(arguments: Arguments) -> Creation:
    # Slurm passes -a and -T only when the user wrote them (dw.c, _create_persistent).
    _check(arguments, "access", persistent_access)
    _check(arguments, "type", storage_type)
    return Creation(_name(arguments), arguments.number("user"), _capacity(arguments))


def _check(arguments: Arguments, option: str, check: Callable[[str], object]) -> None:
    value = arguments.get(option)
    try:
        if value:
            check(value)
    except InvalidRequest as error:
        raise BadArguments(why=f"{option} {shown(value)}: {error.fields['why']}") from None


def _name(arguments: Arguments) -> str:
    return check_buffer(arguments.required("token"))


def _capacity(arguments: Arguments) -> Capacity:
    text = arguments.required("capacity")
    capacity = parse_capacity(text)
    if not (capacity.bytes or capacity.granules):
        raise BadSize(size=text, why="a buffer must have more than 0 bytes")
    return capacity


def _create_persistent(asked: Creation, context: FrontEndContext) -> Verb[Answer]:
    # Slurm passes no group and no mode, so the buffer is its owner's alone.
    group = yield from primary_group(asked.owner)
    pool = asked.capacity.pool
    size = in_bytes(context.view, pool, asked.capacity.bytes, asked.capacity.granules)
    request = Request(owner=asked.owner, group=group, pool=pool, capacity=size, striped=True)
    try:
        yield from set_up(context.verb_context, Claim(token=asked.name, kind="persistent", request=request, size=size))
    except StillWaiting as waits:
        yield from _withdraw(asked, context)
        raise NoSpace(why=str(waits.fields["why"])) from None
    except DaccError:
        yield from _undo(asked, context)
        raise
    # Without this word Slurm leaves the buffer in the state "allocating" for ever.
    return answers.text("created")


def _undo(asked: Creation, context: FrontEndContext) -> Verb[None]:
    """Remove a buffer whose filesystem could not be made: Slurm holds the job and never asks for it (dw.c, _create_persistent)."""
    view = context.view
    session = view.session(asked.name)
    if session is not None and session.request.owner == asked.owner and goals.failed(session, view.status(asked.name)):
        yield from tear_down(context.verb_context, asked.name, hurry=True)


def _withdraw(asked: Creation, context: FrontEndContext) -> Verb[None]:
    """Let a buffer wait for bricks no longer, for the same reason."""
    session = context.view.session(asked.name)
    if session is not None and session.request.owner == asked.owner:
        yield from withdraw(context.verb_context, asked.name, session.created_at)


FUNCTIONS = (Function("create_persistent", _read, _create_persistent, other, open_to="slurm"),)
