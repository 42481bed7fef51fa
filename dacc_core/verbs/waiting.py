"""Sessions that wait for their bricks or their persistent buffers: what is in their way. Pure."""

from __future__ import annotations

from ..errors import StillWaiting
from ..registry import allocation
from ..registry.records import Request, Session
from ..registry.view import View


def needs(view: View, session: Session) -> str:
    """What a session waits for, in words; empty when for nothing of all this."""
    if not session.claiming or session.goal.filesystem == "absent":
        return ""
    missing = unattached(view, session.token, session.request)
    return f"persistent buffer {missing[0]}" if missing else "bricks"


def obstacle(view: View, session: Session) -> str:
    """The same, and why it is not to be had now."""
    return f"{needs(view, session)}: {_why(view, session)}"


def _why(view: View, session: Session) -> str:
    for name in unattached(view, session.token, session.request):
        buffer = view.session(name)
        return "it does not exist yet" if buffer is None else "it is being destroyed" if buffer.ending else "it is not ready"
    return allocation.shortage(view, session) or f"pool {session.request.pool} has enough now"


def unattached(view: View, token: str, request: Request) -> tuple[str, ...]:
    """The persistent buffers that a session wants to use and is not attached to."""
    return tuple(name for name in request.persistent if token not in view.users_of(name))


def error(view: View, session: Session) -> StillWaiting:
    """The error of whoever needs what the session waits for."""
    return StillWaiting(token=session.token, what=needs(view, session), why=_why(view, session))


def check_waits_no_more(view: View, session: Session) -> None:
    """Raises StillWaiting for a session that has no bricks yet, and so neither a size nor a place."""
    if needs(view, session):
        raise error(view, session)
