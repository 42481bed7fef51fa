"""``fakewarp``, the program that Slurm's datawarp plugin calls, as the daemon serves it."""

from __future__ import annotations

import dataclasses

from dacc_core.errors import BadDirectives, Denied, NoSuchSession
from dacc_core.names import is_token
from dacc_core.registry.transaction import TransactionBuilder
from dacc_core.verbs.frontend import STALE_SECONDS, Answer, Call, FrontEnd, FrontEndContext, ParsedCall
from dacc_core.verbs.operations import Verb
from dacc_core.verbs.operators import check_owner
from dacc_core.verbs.sessions import find
from dacc_core.verbs.subject import Subject
from fakewarp import answers
from fakewarp.arguments import read_arguments
from fakewarp.directives.problems import shown
from fakewarp.functions import FUNCTIONS, INVALID


class FakeWarp:
    """The functions that Slurm's datawarp plugin calls."""

    name = "fakewarp"

    def parse(self, call: Call) -> ParsedCall:
        """The function and what is asked of it. Raises InvalidRequest."""
        arguments = dataclasses.replace(read_arguments(call.args), files=call.files, missing=call.missing)
        function = FUNCTIONS.get(arguments.required("function"), INVALID)
        parsed = ParsedCall(call, function, token=arguments.get("token"))
        try:
            return dataclasses.replace(parsed, asked=function.read(arguments))
        except BadDirectives as problem:
            return dataclasses.replace(parsed, problem=problem)

    def run(self, parsed: ParsedCall, context: FrontEndContext) -> Verb[Answer]:
        """The function's verb, if the caller may have it."""
        _check_stranger(parsed)
        if parsed.function.ending:
            context = yield from _about_one_session(parsed, context)
        yield from _check_owner(parsed, context)
        context = dataclasses.replace(context, by_owner=_is_stranger(parsed))
        if parsed.problem is not None:
            raise parsed.problem
        return (yield from parsed.function.run(parsed.asked, context))

    def failure(self, parsed: ParsedCall | None, error: Exception) -> Answer:
        """One line; of a script that is refused at submit, one line for each problem, since Slurm shows them to the user as they are."""
        at_submit = parsed is not None and parsed.function.name == "job_process"
        return answers.failed(error, every_line=at_submit and isinstance(error, BadDirectives))


def _about_one_session(parsed: ParsedCall, context: FrontEndContext) -> Verb[FrontEndContext]:
    """The site as a call sees it that ends a session: that one only, whatever has its token later."""
    if context.age > STALE_SECONDS and is_token(parsed.token):
        # The view may be from before the session that is meant. Whatever the store answers, the view is up to date then.
        yield TransactionBuilder(context.view).expect("sessions", parsed.token).commit()
    subject = Subject(parsed.call.session, age=parsed.call.age, tell=context.send_notice)
    return dataclasses.replace(context, verb_context=dataclasses.replace(context.verb_context, subject=subject))


def _is_stranger(parsed: ParsedCall) -> bool:
    return not parsed.call.caller.trusted and parsed.function.open_to != "anyone"


def _check_stranger(parsed: ParsedCall) -> None:
    """Raises Denied, and NoSuchSession where an owner is needed and there can be none."""
    if not _is_stranger(parsed):
        return
    if parsed.function.open_to == "slurm":
        why = "only root and the Slurm user of the configuration may"
        raise Denied(who=f"uid {parsed.call.caller.uid}", what=f"call {parsed.function.name}", why=why)
    if not is_token(parsed.token):  # no session can have it
        raise NoSuchSession(token=shown(parsed.token))


def _check_owner(parsed: ParsedCall, context: FrontEndContext) -> Verb[None]:
    """Raises Denied, and NoSuchSession where an owner is needed and there is none."""
    if not _is_stranger(parsed):
        return
    session = yield from find(context.verb_context, parsed.token)
    check_owner(parsed.call.caller, session, f"call {parsed.function.name} for")
    if context.verb_context.subject is not None:
        context.verb_context.subject.settle(session)  # the next one of this token may be somebody else's


FRONTEND: FrontEnd = FakeWarp()
