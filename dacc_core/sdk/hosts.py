"""Running commands on hosts: the protocol that every host runner follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import DaccError, Unavailable
from ..names import clean_text

Argv = Sequence[str] | Callable[[str], Sequence[str]]
"""A command as a list of arguments, or a function that makes one for each host. No shell ever reads it."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command for any number of hosts, and what it is given."""

    argv: Argv
    """The program and its arguments."""

    timeout: float = 60.0
    """Seconds, enforced on the host too: the command and its children are ended there."""

    stdin: bytes = b""
    """What it reads on standard input, which then ends."""

    on_output: Callable[[bytes], None] | None = None
    """Gets each piece of standard output as it comes, in the thread that serves all hosts: it must not block, raise, or run a command."""

    def for_host(self, host: str) -> list[str]:
        """The program and its arguments on one host."""
        return list(self.argv(host) if callable(self.argv) else self.argv)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one command did on one host.

    ``error`` is set when the command did not run to its end there: unreachable
    (:class:`~dacc_core.errors.HostUnreachable`), out of time (:class:`~dacc_core.errors.Unavailable`), refused by a newer generation or
    told to stop (:class:`~dacc_core.errors.Cancelled`). ``returncode`` is then -1.
    """

    host: str
    """Where."""

    returncode: int
    """Its exit status; below 0: minus the signal that ended it."""

    stdout: bytes = b""
    stderr: bytes = b""
    error: DaccError | None = None

    @property
    def ok(self) -> bool:
        """Whether the command ran and returned 0."""
        return self.error is None and self.returncode == 0

    def why(self) -> str:
        """One clean line for an error message: the last line that the command wrote, or its exit status."""
        if self.error is not None:
            return str(self.error)
        lines = (self.stderr or self.stdout).decode("utf-8", "replace").strip().splitlines()
        return clean_text(lines[-1].strip()) if lines else f"exit status {self.returncode}"

    def failure(self) -> DaccError | None:
        """The error to raise or to return for the host, which it names; ``None`` when the command succeeded.

        That is ``error``, or Unavailable with :meth:`why` when the command failed. For another class look at ``returncode``.
        """
        return None if self.ok else self.error or Unavailable(why=f"host {self.host}: {self.why()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PerHost:
    """The outcome of an operation on several hosts. Every host asked for is named: one bad host does not hide the others."""

    hosts: Mapping[str, DaccError | None]
    """``None`` where it succeeded, else the error."""

    @classmethod
    def of(cls, results: Mapping[str, CommandResult]) -> PerHost:
        """The outcome that a command's results are."""
        return cls(hosts={host: result.failure() for host, result in results.items()})

    @property
    def failed(self) -> dict[str, DaccError]:
        """The hosts on which it failed."""
        return {host: error for host, error in self.hosts.items() if error is not None}

    def check(self) -> None:
        """Raise the first error, if there is any."""
        for error in self.failed.values():
            raise error


class HostRunner(Protocol):
    """Runs one command on many hosts at once. A provider receives one that is fenced for its session's generation."""

    @property
    def python(self) -> str:
        """A Python interpreter (3.6 or newer) on the hosts."""
        ...

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Run a command on every host in parallel; one result per host, one dead host delays no other.

        Commands run in ``/`` with umask 022, ``PATH`` with the system's directories and ``LC_ALL=C``. Of standard output the first MiB
        is kept, of standard error the last. What a command leaves in its process group is ended with it; a daemon that makes a session
        of its own stays.
        """
        ...
