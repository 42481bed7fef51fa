"""The functions behind a job's end: post_run, data_out, teardown, which also destroys persistent buffers.

Slurm repeats them until they succeed, some in a hot loop, so each succeeds for what is gone already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dacc_core.config import Config
from dacc_core.errors import BadName, NoSuchSession, SessionEnding, Superseded
from dacc_core.names import check_token
from dacc_core.registry.records import Session
from dacc_core.registry.view import View
from dacc_core.verbs import goals
from dacc_core.verbs.frontend import Answer, FrontEndContext, Function
from dacc_core.verbs.operations import Verb, Wait
from dacc_core.verbs.sessions import find, present, submit_goal, tear_down
from fakewarp import answers
from fakewarp.arguments import Arguments
from fakewarp.directives.problems import shown
from fakewarp.functions.base import before, job_token, other


def _post_run(token: str, context: FrontEndContext) -> Verb[Answer]:
    try:
        yield from submit_goal(context.verb_context, token, goals.POST_RUN, goals.unmounted)
    except NoSuchSession:
        pass  # Slurm tolerates no words here, only success (dw.c, _start_stage_out)
    except (SessionEnding, Superseded):  # by a teardown, since no other goal is contrary to this one; it unmounts first
        ending = present(context.verb_context, token)
        if ending is not None and ending.goal.filesystem == "absent":
            yield Wait(token, _unmounted(context.view, ending), "unmounting")
    return Answer()


def _unmounted(view: View, ending: Session) -> Callable[[], bool | None]:
    def ready() -> bool | None:
        session = view.session(ending.token)
        gone = session is None or session.identity != ending.identity
        return True if gone or not view.status(ending.token).touched else None

    return ready


def _data_out(token: str, context: FrontEndContext) -> Verb[Answer]:
    try:
        # Slurm itself calls post_run first.
        check = goals.check_unmounted if context.by_owner else goals.anything
        yield from submit_goal(context.verb_context, token, goals.DATA_OUT, goals.staged_out, check)
    except NoSuchSession as gone:
        return answers.text(str(gone))
    return Answer()


def _stage_out_seconds(config: Config) -> float:
    return before(config.slurm.stage_out_timeout)


@dataclass(frozen=True, slots=True)
class Ending:
    """A session to be ended. ``token`` is empty for a name that no session can have, ``shown`` the name as it was given."""

    token: str
    shown: str
    hurry: bool


def _read_teardown(arguments: Arguments) -> Ending:
    name = arguments.required("token")
    try:
        token = check_token(name)
    except BadName:
        token = ""  # a job may ask to destroy what can never have existed; refusing would make Slurm ask for ever
    return Ending(token=token, shown=shown(name), hurry=arguments.hurry)


def _teardown(asked: Ending, context: FrontEndContext) -> Verb[Answer]:
    try:
        yield from _end(asked, context)
    except NoSuchSession as gone:
        # For a job Slurm looks for these words, for a persistent buffer it only takes an exit code of 0 (dw.c, _start_teardown and
        # _destroy_persistent).
        return answers.text(str(gone))
    return Answer()


def _end(asked: Ending, context: FrontEndContext) -> Verb[None]:
    session = (yield from find(context.verb_context, asked.token)) if asked.token else None
    if session is None or session.kind == "kept":  # a kept session is not Slurm's any more
        raise NoSuchSession(token=asked.shown)
    yield from tear_down(context.verb_context, session.token, hurry=asked.hurry)


FUNCTIONS = (
    Function("post_run", job_token, _post_run, other, open_to="slurm", ending=True),
    Function("data_out", job_token, _data_out, _stage_out_seconds, open_to="owner", ending=True),
    Function("teardown", _read_teardown, _teardown, other, open_to="owner", ending=True),
)
