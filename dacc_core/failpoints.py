"""Named places where a test can make this process die, fail, hang or stand still.

``DACC_FAILPOINT=name[:kill|error|hang|stop]`` (several separated by commas; the default action is
``kill``). A name may end in ``*``. With ``name@N`` the action happens at the N-th passage only.
Unset, :func:`failpoint` is a function that does nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from fnmatch import fnmatchcase

_passages: Counter[str] = Counter()


class FailpointError(RuntimeError):
    """The failure that ``:error`` asks for."""


def _parse(text: str) -> list[tuple[str, int, str]]:
    rules = []
    for part in filter(None, text.split(",")):
        pattern, _, action = part.partition(":")
        name, _, count = pattern.partition("@")
        rules.append((name, int(count or 0), action or "kill"))
    return rules


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "stop":
        # To this thread, which then stops here; sent to the process, another one would take it a moment later. SIGCONT ends it.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return
    if action == "hang":
        threading.Event().wait()
    raise FailpointError(f"failpoint {name}")


def _armed(name: str) -> None:
    _passages[name] += 1
    for pattern, count, action in _RULES:
        if fnmatchcase(name, pattern) and count in (0, _passages[name]):
            _act(name, action)


def _free(name: str) -> None:
    """Nothing is armed."""


_RULES = _parse(os.environ.get("DACC_FAILPOINT", ""))
failpoint = _armed if _RULES else _free
