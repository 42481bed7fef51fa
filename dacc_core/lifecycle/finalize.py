"""How sessions end: released, quarantined or kept; and what is remembered of them. Pure: these write drafts of transactions."""

from __future__ import annotations

import msgspec

from ..names import KEPT_PREFIX
from ..registry import allocation
from ..registry.records import Attachment, Goal, History, Session, Status
from ..registry.transaction import TransactionBuilder
from ..registry.view import View
from ..verbs import goals
from . import transitions
from .plan import Step
from .rules import Rules


def ending(view: View, session: Session, status: Status, step: Step, at: float, rules: Rules) -> TransactionBuilder:
    """The transaction that ends a session: its bricks, its records, its history.

    When that is too much for one transaction: one that gives some of it back, so that less is left for the next.
    """
    bricks = session.bricks if step.kind != "keep" else ()
    users = view.users_of(session.token)  # who is attached to a buffer that ends was evicted
    reason = f"session {session.token}: {step.reason}" if step.kind == "quarantine" else ""
    hosts = tuple(dict.fromkeys(brick.host for brick in bricks))
    if len(users) + len(hosts) > rules.most_changes:
        return _some_of_it(view, session, status, users[: rules.most_changes], hosts, reason, rules)
    draft = TransactionBuilder(view).expect("sessions", session.token)
    allocation.release(view, draft, bricks, quarantine=reason)
    for user in users:
        draft.delete("attachments", f"{session.token}/{user}", expect=False)
    status = transitions.note(status, step.kind, at, error=step.reason)
    owner = _kept_token(session) if step.kind == "keep" else ""
    if owner:
        _keep(draft, session, status, owner, at)
    for name in session.request.persistent:
        _detach(view, draft, session, name, owner, at)
    draft.delete("sessions", session.token).delete("status", session.token)
    if session.token in view.usages:
        draft.delete("usage", session.token, expect=False)
    _remember(view, draft, session, status, step, at, owner)
    _prune(view, draft, session.token, at, rules)
    return draft


def _kept_token(session: Session) -> str:
    """The token of a session that is to be kept. A job may leave several, if it is requeued: each has a name of its own."""
    return KEPT_PREFIX + (session.volume.name if session.volume else f"{session.token}-{int(session.created_at * 1000):x}")


def _some_of_it(
    view: View, session: Session, status: Status, users: tuple[str, ...], hosts: tuple[str, ...], quarantine: str, rules: Rules
) -> TransactionBuilder:
    """Bricks of the last hosts: the coordinator is among the first."""
    draft = TransactionBuilder(view).put(msgspec.structs.replace(status, running=None), "status", session.token)
    for user in users:
        draft.delete("attachments", f"{session.token}/{user}", expect=False)
    room = max(0, rules.most_changes - len(users))
    given = set(hosts[len(hosts) - room :]) if room else set()
    allocation.release(view, draft, tuple(brick for brick in session.bricks if brick.host in given), quarantine=quarantine)
    volume = session.volume
    if volume is not None:
        volume = msgspec.structs.replace(volume, bricks=tuple(brick for brick in volume.bricks if brick.host not in given))
    return draft.put(msgspec.structs.replace(session, volume=volume), "sessions", session.token)


def _keep(draft: TransactionBuilder, session: Session, status: Status, token: str, at: float) -> None:
    kept = msgspec.structs.replace(
        session,
        token=token,
        kind="kept",
        goal=Goal(verb="keep"),
        goal_revision=session.goal_revision + 1,
        origin=session.token,
    )
    # What stopped the teardown is the history's; the kept session begins without it, or nobody could finish it.
    kept_status = msgspec.structs.replace(status, observed_revision=kept.goal_revision, running=None, gave_up="", failure=None)
    draft.put(kept, "sessions", token).put(kept_status, "status", token)


def _detach(view: View, draft: TransactionBuilder, session: Session, name: str, owner: str, at: float) -> None:
    if session.token not in view.users_of(name):
        return
    draft.delete("attachments", f"{name}/{session.token}", expect=False)
    if owner:  # what is owed may have to come from this buffer
        draft.put(Attachment(persistent=name, token=owner, since=at), "attachments", f"{name}/{owner}")


def _remember(view: View, draft: TransactionBuilder, session: Session, status: Status, step: Step, at: float, kept: str) -> None:
    former = view.histories.get(session.token)
    failures = former.record.pre_run_failures if former else 0
    lost = session.lost or (step.kind == "release" and step.reason)
    outcome = "lost" if lost else {"release": "released", "keep": "kept", "quarantine": "quarantined"}[step.kind]
    why = step.reason or (former.record.status if former and failures else "")
    record = History(
        token=session.token,
        owner=session.request.owner,
        kept=kept,
        ended=at,
        outcome=outcome,
        pre_run_failures=failures,
        events=status.events,
        status=why,
    )
    draft.put(record, "history", session.token)


def _prune(view: View, draft: TransactionBuilder, token: str, at: float, rules: Rules) -> None:
    # Two at most each time: history shrinks faster than it grows, and no transaction gets large.
    oldest = sorted((entry.record.ended, name) for name, entry in view.histories.items() if name != token)[:2]
    surplus = len(view.histories) + 1 - rules.history_number
    for place, (ended, name) in enumerate(oldest):
        if place < surplus or ended < at - rules.history_days * 86400:
            draft.delete("history", name)


def count_pre_run(view: View, draft: TransactionBuilder, session: Session, status: Status, at: float) -> None:
    """Count a failed pre_run across requeues, which Slurm itself forgets at each teardown; a success forgets them."""
    if session.goal.verb != "pre_run" or session.kind != "job":
        return
    remembered, recorded = view.histories.get(session.token), view.status(session.token)
    record = remembered.record if remembered else History(token=session.token, owner=session.request.owner)
    if goals.failed(session, status) and not goals.failed(session, recorded) and status.failure is not None:
        counted = msgspec.structs.replace(record, pre_run_failures=record.pre_run_failures + 1, status=status.failure.text[:400], ended=at)
        draft.put(counted, "history", session.token)
    elif status.observed_revision >= session.goal_revision and record.pre_run_failures:
        draft.put(msgspec.structs.replace(record, pre_run_failures=0, status=""), "history", session.token)
