"""Which session a call is about that ends one: by the time it is acted on, its token may be another session's.

A fakewarp outlives a slurmctld that was killed and goes on asking. By then the job may have been requeued and set up anew, and a late
post_run would unmount what its next run uses. No clock tells the two apart, since those of the machines that made them may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import Unavailable
from ..registry.records import Session

UNSURE_SECONDS = 120.0
"""A call that asks for so long already, and was never told what it is about, may be of a former run of its job."""


@dataclass(slots=True)
class Subject:
    """The session that a call is about: the one that it names, else the one that has the token when the call is first acted on.

    ``age`` tells how long the call has been asked for, and ``tell`` the caller, who names the session when the call has to be repeated.
    """

    key: str = ""
    age: Callable[[], float] = lambda: 0.0
    tell: Callable[[str], None] = lambda _: None
    _seen: str = field(default="", init=False)

    def may_be(self, session: Session) -> bool:
        """Whether it can be this one, which has the token now. Raises Unavailable when nobody can say."""
        if self.key:
            return session.identity == self.key
        if session.identity != self._seen:
            if self.age() > UNSURE_SECONDS:
                why = f"a call that began {self.age():.0f} s ago may mean an earlier session {session.token} than there is now: call again"
                raise Unavailable(why=why)
            self._seen = session.identity
        return True

    def settle(self, session: Session) -> None:
        """From now on it is this one: the store had it under the token after the call had come."""
        if not self.key:
            self.key = session.identity
            self.tell(session.identity)
