"""Hosts that all live on this machine, each perhaps in a mount namespace of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Cancelled, DaccError, HostUnreachable, Unavailable
from ..sdk.context import CancelToken
from ..sdk.hosts import Argv, CommandResult, HostRunner
from . import base, fence_helper
from .process import Outcome, run_process

_FENCE_SECONDS = 60.0
_FENCE_AGE = 7 * 86400.0
"""A fence is kept longer than any step or standstill lasts."""
_SWEEP_SECONDS = 6 * 3600.0
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def command_environment() -> dict[str, str]:
    """What commands find in their environment: a path that has the system's directories, and plain English.

    Nothing else of ours: commands that run as a user show their environment to that user, and ours may hold a keystore's password.
    """
    own = [part for part in os.environ.get("PATH", "").split(":") if part]
    return {"PATH": ":".join(dict.fromkeys((*own, *_SYSTEM_PATH))), "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class _Fence:
    """The fence that a fenced runner's commands run behind."""

    key: str
    generation: int
    cancel: CancelToken


class LocalRunner:
    """Runs the commands of hosts that are all this machine.

    ``fence_dir``: a directory of our own, best on a tmpfs (``/run/dacc``), for what runs behind which fence. ``namespace``: when
    set, a pattern such as ``/run/x/ns/%h`` of files to which each host's mount namespace is bound; a host without its file is
    unreachable. ``python``: the interpreter for helpers and, as ``python``, for callers.

    Commands start in ``/`` with umask 022, a session of their own and a small environment. Of standard output the first MiB is
    kept, of standard error the last. What a command leaves in its own process group is ended with it; a daemon that makes a
    session of its own stays.
    """

    def __init__(
        self, *, fence_dir: str | os.PathLike[str], namespace: str = "", python: str = sys.executable or "/usr/bin/python3"
    ) -> None:
        self._fence_dir = Path(fence_dir).absolute()
        self._namespace = namespace
        self._python = python
        self._swept = float("-inf")

    @property
    def python(self) -> str:
        """The Python interpreter on the hosts."""
        return self._python

    def run(
        self,
        hosts: Sequence[str],
        argv: Argv,
        *,
        timeout: float = 60.0,
        stdin: bytes = b"",
        on_output: Callable[[bytes], None] | None = None,
    ) -> Mapping[str, CommandResult]:
        """Run ``argv`` on every host, outside of every fence (:class:`~dacc_core.sdk.hosts.HostRunner`)."""
        return self._run(hosts, argv, None, timeout, stdin, on_output)

    def fenced(self, key: str, generation: int, cancel: CancelToken) -> HostRunner:
        """A runner whose commands run behind the fence of ``key``; see :class:`~dacc_core.hosts.base.FencingRunner`."""
        if time.monotonic() - self._swept > _SWEEP_SECONDS:
            self._swept = time.monotonic()
            self._sweep()
        return _FencedRunner(self, _Fence(key, generation, cancel))

    def _sweep(self) -> None:
        """Remove old fences. Not at a session's end: a former coordinator that stood still meanwhile must not be admitted again."""
        for file in self._fence_dir.glob("*/*.fence"):
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > _FENCE_AGE:
                    file.unlink()

    def fence(self, hosts: Sequence[str], key: str, generation: int) -> dict[str, DaccError | None]:
        """Raise the generation on each host and see older commands gone; see :class:`~dacc_core.hosts.base.FencingRunner`."""
        return self._manage(hosts, "fence", lambda host: base.helper_options(self._directory(host), key, generation))

    def forget(self, hosts: Sequence[str], key: str) -> dict[str, DaccError | None]:
        """Remove the fence of a session that is gone; see :class:`~dacc_core.hosts.base.FencingRunner`."""
        known = [host for host in hosts if self._remembers(host, key)]  # most hosts of most sessions: no process for nothing
        told = self._manage(known, "forget", lambda host: ["--dir", self._directory(host), "--token", key])
        return dict.fromkeys(hosts) | told

    def _run(
        self,
        hosts: Sequence[str],
        argv: Argv,
        fence: _Fence | None,
        timeout: float,
        stdin: bytes,
        on_output: Callable[[bytes], None] | None,
    ) -> dict[str, CommandResult]:
        seconds = min(timeout, base.MAX_TIMEOUT)
        cancel = fence.cancel if fence else None

        def one(host: str) -> CommandResult:
            words = base.argv_for(argv, host)
            options = base.helper_options(self._directory(host), fence.key, fence.generation) if fence else []
            options += ["--timeout", repr(seconds)]
            try:
                prefix = self._enter(host)
                if cancel is not None:
                    cancel.check(f"{words[0]} on {host}")
                # The helper stays outside of the namespace: there it finds its own files, whatever is mounted inside.
                command = self._helper("run", *options, "--", *prefix, *words)
                outcome = self._process(host, command, seconds, stdin, cancel, on_output)
            except DaccError as error:
                return base.failed(host, error)
            return self._read(host, words, outcome, cancel)

        return base.fan_out(hosts, one)

    def _read(self, host: str, words: Sequence[str], outcome: Outcome, cancel: CancelToken | None) -> CommandResult:
        if outcome.overdue:
            return base.failed(host, Unavailable(why=f"{words[0]} on {host} did not end in time and could not be ended"))
        if outcome.returncode < 0 and cancel is not None and cancel.cancelled:
            return base.failed(host, Cancelled(what=f"{words[0]} on {host}"))  # the helper had not started anything yet
        return base.read_run(host, words, outcome.returncode, outcome.stdout, outcome.stderr)

    def _manage(self, hosts: Sequence[str], verb: str, options: Callable[[str], list[str]]) -> dict[str, DaccError | None]:
        def one(host: str) -> DaccError | None:
            try:
                self._enter(host)
                outcome = self._process(host, self._helper(verb, *options(host)), _FENCE_SECONDS, b"", None, None)
            except DaccError as error:
                return error
            result = CommandResult(host, outcome.returncode, outcome.stdout, outcome.stderr)
            return base.read_fence(host, result)

        return base.fan_out(hosts, one)

    def _process(
        self,
        host: str,
        command: Sequence[str],
        seconds: float,
        stdin: bytes,
        cancel: CancelToken | None,
        on_output: Callable[[bytes], None] | None,
    ) -> Outcome:
        try:
            return run_process(
                command,
                environment=command_environment(),
                seconds=seconds + base.GIVE_UP_SECONDS,
                stdin=stdin,
                cancel=cancel,
                on_output=on_output,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
            raise HostUnreachable(host=host, why=f"{command[0]} cannot start: {error}") from error

    def _enter(self, host: str) -> list[str]:
        """The words that run a command in the host's mount namespace. Raises BadName, HostUnreachable."""
        base.check_host_name(host)
        if not self._namespace:
            return []
        path = self._namespace.replace("%h", host)
        if not Path(path).exists():
            raise HostUnreachable(host=host, why=f"it has no mount namespace at {path}")
        return ["nsenter", f"--mount={path}", "--"]

    def _remembers(self, host: str, key: str) -> bool:
        return (Path(self._directory(host)) / f"{fence_helper.quoted(key)}.fence").exists()

    def _directory(self, host: str) -> str:
        return str(self._fence_dir / host)

    def _helper(self, *words: str) -> list[str]:
        return [self._python, "-I", "-S", str(base.HELPER), *words]


@dataclass(frozen=True, slots=True)
class _FencedRunner:
    """What a provider gets: only :meth:`run`, behind one fence."""

    runner: LocalRunner
    fence: _Fence

    @property
    def python(self) -> str:
        return self.runner.python

    def run(
        self,
        hosts: Sequence[str],
        argv: Argv,
        *,
        timeout: float = 60.0,
        stdin: bytes = b"",
        on_output: Callable[[bytes], None] | None = None,
    ) -> Mapping[str, CommandResult]:
        return self.runner._run(hosts, argv, self.fence, timeout, stdin, on_output)
