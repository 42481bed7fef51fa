"""What all host runners share: the protocol of fencing, the fan-out, and the helper's command line and answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from ..errors import BadName, Busy, Cancelled, DaccError, HostUnreachable, Unavailable
from ..sdk.context import CancelToken
from ..sdk.hosts import Argv, CommandResult, HostRunner
from . import fence_helper

FAN_OUT = 64
"""Commands that one call runs at once."""

HELPER = Path(fence_helper.__file__)
"""The program that runs commands inside a fence; it needs nothing but a Python interpreter."""

GIVE_UP_SECONDS = fence_helper.END_SECONDS + 5.0
"""How long after a command's timeout its helper is still waited for: it is ending the command then."""

MAX_TIMEOUT = 10 * 366 * 86400.0

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_T = TypeVar("_T")


class FencingRunner(HostRunner, Protocol):
    """A host runner that can fence: its own :meth:`run` is outside of every fence, for checks that belong to no session.

    ``key`` names one incarnation of a session and is never used again for another.
    """

    def fenced(self, key: str, generation: int, cancel: CancelToken) -> HostRunner:
        """The runner whose commands are refused and ended when ``key`` has a higher generation, and ended when ``cancel`` is set."""
        ...

    def fence(self, hosts: Sequence[str], key: str, generation: int) -> dict[str, DaccError | None]:
        """On each host raise the generation of ``key`` and end the commands of all lower ones.

        ``None`` means that they are gone. Otherwise HostUnreachable, Busy (a process cannot be killed) or Unavailable: the host
        counts as failed.
        """
        ...

    def forget(self, hosts: Sequence[str], key: str) -> dict[str, DaccError | None]:
        """Remove what the hosts remember of ``key``, whose session is gone. Busy where a command of it still runs."""
        ...


def fan_out(hosts: Sequence[str], function: Callable[[str], _T], width: int = FAN_OUT) -> dict[str, _T]:
    """``function`` of every host (each once, in order), at most ``width`` at a time."""
    names = list(dict.fromkeys(hosts))
    if len(names) < 2:
        return {name: function(name) for name in names}
    with ThreadPoolExecutor(min(width, len(names)), "dacc-hosts") as pool:
        return dict(zip(names, pool.map(function, names), strict=True))


def argv_for(argv: Argv, host: str) -> list[str]:
    """The command for one host."""
    return list(argv(host) if callable(argv) else argv)


def check_host_name(host: str) -> None:
    """Raise BadName for what could be read as an option, a path or an address with a user."""
    if not _HOST.fullmatch(host):
        raise BadName(what="host", name=host, why="letters, digits, '_', '.' and '-' only, and no '-' or '.' first")


def helper_options(directory: str, key: str, generation: int) -> list[str]:
    """The helper's options that name a fence."""
    return ["--dir", directory, "--token", key, "--generation", str(generation)]


def helper_words(stderr: bytes) -> tuple[bytes, str]:
    """Split what the helper said last (or nothing) from what the command wrote before."""
    text = stderr[:-1] if stderr.endswith(b"\n") else stderr
    before, _, last = text.rpartition(b"\n")
    mark = fence_helper.WORDS.encode()
    if not last.startswith(mark):
        return stderr, ""
    return before, last[len(mark) :].decode("utf-8", "replace")


def read_run(host: str, argv: Sequence[str], code: int, stdout: bytes, stderr: bytes) -> CommandResult:
    """The result of a command that ran under the helper, from the helper's exit status and streams."""
    own, words = helper_words(stderr)
    what = f"{shlex.quote(argv[0])} on {host}"
    if code < 0:
        return failed(host, Unavailable(why=f"{what}: the helper was killed by signal {-code}"))
    if not words:
        return CommandResult(host, code, stdout, stderr)
    error: DaccError = Unavailable(why=f"{what}: {words}")
    if code == fence_helper.REFUSED:
        error = Cancelled(what=f"{what} ({words})")
    return CommandResult(host, -1, stdout, own, error)


def read_fence(host: str, result: CommandResult) -> DaccError | None:
    """The outcome of ``fence`` or ``forget`` on one host."""
    if result.error is not None or result.returncode == 0:
        return result.error
    _, words = helper_words(result.stderr)
    if result.returncode == fence_helper.STUCK:
        return Busy(why=f"host {host} could not be fenced: {words}")
    return HostUnreachable(host=host, why=f"fencing failed: {words or result.why()}")


def failed(host: str, error: DaccError) -> CommandResult:
    """The result of a command that did not run to its end."""
    return CommandResult(host, -1, error=error)
