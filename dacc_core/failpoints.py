"""Named places where a test can make this process die, fail, hang or pause.

``DACC_FAILPOINT=name[:kill|error|hang|pause]`` (several separated by commas; the default action is
``kill``). A name may end in ``*``. With ``name@N`` the action happens at the N-th passage only.
``pause`` makes the file ``DACC_FAILPOINT_FILE`` and goes on when that is gone.
Unset, :func:`failpoint` is a function that does nothing.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

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
    if action == "pause":
        _pause(Path(os.environ["DACC_FAILPOINT_FILE"]))
        return
    if action == "hang":
        threading.Event().wait()
    raise FailpointError(f"failpoint {name}")


def _pause(file: Path) -> None:
    file.touch()
    while file.exists():
        time.sleep(0.005)


def _armed(name: str) -> None:
    _passages[name] += 1
    for pattern, count, action in _RULES:
        if fnmatchcase(name, pattern) and count in (0, _passages[name]):
            _act(name, action)


def _free(name: str) -> None:
    """Nothing is armed."""


_RULES = _parse(os.environ.get("DACC_FAILPOINT", ""))
failpoint = _armed if _RULES else _free
