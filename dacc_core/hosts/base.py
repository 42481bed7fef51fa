"""What all host runners share: the protocol of fencing, and the helper that runs commands on every host."""

from __future__ import annotations

import logging
import os
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ..errors import BadName, Busy, Cancelled, DaccError, HostLost, HostUnreachable, Unavailable
from ..names import clean_text
from ..sdk.context import CancelToken
from ..sdk.hosts import Command, CommandResult, HostRunner
from .engine import ENGINE, fan_out
from .on_host import fence as on_host
from .process import ProcessResult

HELPER = Path(on_host.__file__)
"""The program that runs commands inside a fence; it needs nothing but a Python interpreter."""

GIVE_UP_SECONDS = on_host.END_SECONDS + 5.0
"""How long after a command's timeout its helper is still waited for: it is ending the command then."""

MAX_TIMEOUT = 10 * 366 * 86400.0
_FENCE_SECONDS = 60.0

log = logging.getLogger("dacc.hosts")

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_T = TypeVar("_T")


class FencedRunner(HostRunner, Protocol):
    """A host runner whose commands run behind one fence."""

    @property
    def unsure(self) -> bool:
        """Whether a command of this runner may still be running although :meth:`run` returned: its host must be fenced first."""
        ...


class FencingRunner(HostRunner, Protocol):
    """A host runner that can fence: its own :meth:`run` is outside of every fence, for checks that belong to no session.

    ``key`` names one incarnation of a session and is never used again for another.
    """

    def fenced(self, key: str, generation: int, cancel: CancelToken) -> FencedRunner:
        """The runner whose commands are refused and ended when ``key`` has a higher generation, and ended when ``cancel`` is set."""
        ...

    def fence(self, hosts: Sequence[str], key: str, generation: int) -> dict[str, DaccError | None]:
        """On each host raise the generation of ``key`` and end the commands of all lower ones.

        ``None`` means that they are gone. Otherwise HostUnreachable, Busy (a process cannot be killed) or Unavailable: the host
        counts as failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class HostFence:
    """The fence that a fenced runner's commands run behind."""

    key: str
    generation: int
    cancel: CancelToken


@dataclass(frozen=True, slots=True)
class HelperCall:
    """One call of the helper on one host: its arguments, what to call it in messages, and what the command is given."""

    words: Sequence[str]
    what: str
    seconds: float
    stdin: bytes = b""
    cancel: CancelToken | None = None
    on_output: Callable[[bytes], None] | None = None


@dataclass(frozen=True, slots=True)
class HelperReply:
    """What a command did. ``unsure``: it may still be running."""

    result: CommandResult
    unsure: bool = False


class HelperRunner(ABC):
    """Runs commands under the fence helper; how the helper is reached on a host is a subclass's.

    Commands start in ``/`` with umask 022, a session of their own and a small environment. Of standard output the first MiB is
    kept, of standard error the last. What a command leaves in its own process group is ended with it; a daemon that makes a
    session of its own stays.

    ``fence_dir``: a directory of our own on each host, best on a tmpfs (``/run/dacc``), for what runs behind which fence.
    ``python``: the interpreter for helpers and, as ``python``, for callers.
    """

    def __init__(self, *, fence_dir: str | os.PathLike[str], python: str) -> None:
        self._fence_dir = Path(fence_dir).absolute()
        self._python = python

    @property
    def python(self) -> str:
        """The Python interpreter on the hosts."""
        return self._python

    @abstractmethod
    async def _reach(self, host: str, call: HelperCall) -> ProcessResult:
        """Run the helper on a host to its end. Raises DaccError when that cannot be known to have happened."""

    def _prefix(self, host: str) -> list[str]:
        """What stands before every command of a host. Raises HostUnreachable where there is no such host."""
        return []

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Run a command on every host, outside of every fence (:class:`~dacc_core.sdk.hosts.HostRunner`)."""
        replies = self._run(hosts, command, None)
        return {host: reply.result for host, reply in replies.items()}

    def fenced(self, key: str, generation: int, cancel: CancelToken) -> FencedRunner:
        """A runner whose commands run behind the fence of ``key``; see :class:`FencingRunner`."""
        return _Fenced(self, HostFence(key, generation, cancel))

    def fence(self, hosts: Sequence[str], key: str, generation: int) -> dict[str, DaccError | None]:
        """Raise the generation on each host and see older commands gone; see :class:`FencingRunner`."""

        async def raise_fence(host: str) -> DaccError | None:
            check_host_name(host)
            self._prefix(host)
            words = ["fence", *helper_options(self._directory(host), key, generation)]
            ended = await self._reach(host, HelperCall(words, f"fence on {host}", _FENCE_SECONDS))
            return read_fence(host, CommandResult(host, ended.returncode, ended.stdout, ended.stderr))

        return on_each(hosts, raise_fence, lambda _, error: error)

    def _run(self, hosts: Sequence[str], command: Command, fence: HostFence | None) -> dict[str, HelperReply]:
        argvs = {host: command.for_host(host) for host in hosts}  # here, since it is the caller's own code
        seconds = min(command.timeout, MAX_TIMEOUT)
        cancel = fence.cancel if fence else None

        async def run_on(host: str) -> HelperReply:
            what = f"{shlex.quote(argvs[host][0])} on {host}"
            call = HelperCall(self._words(host, argvs[host], fence, seconds), what, seconds, command.stdin, cancel, command.on_output)
            if cancel is not None:
                cancel.check(what)
            return read_run(host, what, await self._reach(host, call))

        return on_each(hosts, run_on, failed_reply)

    def _words(self, host: str, argv: Sequence[str], fence: HostFence | None, seconds: float) -> list[str]:
        """The helper's arguments for a command."""
        check_host_name(host)
        check_arguments(host, argv)
        options = helper_options(self._directory(host), fence.key, fence.generation) if fence else []
        # The helper stays outside of the host's namespace: there it finds its own files, whatever is mounted inside.
        return ["run", *options, "--timeout", repr(seconds), "--", *self._prefix(host), *argv]

    def _directory(self, host: str) -> str:
        return str(self._fence_dir / host)


@dataclass(slots=True)
class _Fenced:
    """What a provider gets: only :meth:`run`, behind one fence."""

    runner: HelperRunner
    fence: HostFence
    unsure: bool = False

    @property
    def python(self) -> str:
        return self.runner.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        replies = self.runner._run(hosts, command, self.fence)
        if any(reply.unsure for reply in replies.values()):
            self.unsure = True
        return {host: reply.result for host, reply in replies.items()}


def on_each(hosts: Sequence[str], work: Callable[[str], Awaitable[_T]], failure: Callable[[str, DaccError], _T]) -> dict[str, _T]:
    """What the work comes to on each host, or what ``failure`` makes of the error there.

    Every defect is the loss of its host: no answer of one may cost the others theirs.
    """

    async def surely(host: str) -> _T:
        try:
            return await work(host)
        except DaccError as error:
            return failure(host, error)
        except Exception as error:
            log.exception("no command could be run on a host", extra={"host": host})
            return failure(host, HostLost(host=host, why=clean_text(f"{type(error).__name__}: {error}")))

    if not hosts:
        return {}
    try:
        return ENGINE.run(lambda: fan_out(hosts, surely))
    except Unavailable as error:  # there is no engine: nothing has begun
        return {host: failure(host, error) for host in hosts}


def check_host_name(host: str) -> None:
    """Raise BadName for what could be read as an option, a path or an address with a user."""
    if not _HOST.fullmatch(host):
        raise BadName(what="host", name=host, why="letters, digits, '_', '.' and '-' only, and no '-' or '.' first")


def check_arguments(host: str, argv: Sequence[str]) -> None:
    """Raise HostUnreachable for arguments that no program can be given."""
    for word in argv:
        try:
            broken = b"\0" in os.fsencode(word)
        except UnicodeEncodeError:
            broken = True
        if broken:
            raise HostUnreachable(host=host, why=f"{argv[0]!a} cannot start: no program can be given the argument {word!a}")


def helper_options(directory: str, key: str, generation: int) -> list[str]:
    """The helper's options that name a fence."""
    return ["--dir", directory, "--token", key, "--generation", str(generation)]


def split_report(stderr: bytes) -> tuple[bytes, str]:
    """Split the helper's own last line, if there is one, from what the command wrote before."""
    text = stderr[:-1] if stderr.endswith(b"\n") else stderr
    before, _, last = text.rpartition(b"\n")
    mark = on_host.WORDS.encode()
    if not last.startswith(mark):
        return stderr, ""
    return before, clean_text(last[len(mark) :].decode("utf-8", "replace"))


def read_run(host: str, what: str, outcome: ProcessResult) -> HelperReply:
    """The result of a command that ran under the helper, from the helper's exit status and streams."""
    if outcome.overdue:
        return HelperReply(failed(host, Unavailable(why=f"{what} did not end in time and could not be ended")), unsure=True)
    if outcome.returncode < 0:
        return HelperReply(failed(host, Unavailable(why=f"{what}: the helper was killed by signal {-outcome.returncode}")), unsure=True)
    own, words = split_report(outcome.stderr)
    if not words:
        return HelperReply(CommandResult(host, outcome.returncode, outcome.stdout, outcome.stderr))
    error: DaccError = Unavailable(why=f"{what}: {words}")
    if outcome.returncode == on_host.REFUSED:
        error = Cancelled(what=f"{what} ({words})")
    unsure = isinstance(error, Cancelled) or on_host.LEFT in words
    return HelperReply(CommandResult(host, -1, outcome.stdout, own, error), unsure)


def read_fence(host: str, result: CommandResult) -> DaccError | None:
    """The outcome of ``fence`` on one host."""
    if result.error is not None or result.returncode == 0:
        return result.error
    _, words = split_report(result.stderr)
    if result.returncode == on_host.STUCK:
        return Busy(why=f"host {host} could not be fenced: {words}")
    return HostUnreachable(host=host, why=f"fencing failed: {words or result.why()}")


def failed_reply(host: str, error: DaccError) -> HelperReply:
    """The reply of a host on which the helper did not end a command."""
    return HelperReply(failed(host, error), unsure=isinstance(error, HostLost | Cancelled))


def failed(host: str, error: DaccError) -> CommandResult:
    """The result of a command that did not run to its end."""
    return CommandResult(host, -1, error=error)
