"""Running commands on hosts: the protocol that every host runner follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import DaccError

Argv = Sequence[str] | Callable[[str], Sequence[str]]
"""A command as a list of arguments, or a function that makes one for each host. No shell ever reads it."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one command did on one host.

    ``error`` is set when the command did not run to its end there: unreachable
    (:class:`~dacc_core.errors.HostUnreachable`), out of time (:class:`~dacc_core.errors.Unavailable`), refused by a newer generation or
    told to stop (:class:`~dacc_core.errors.Cancelled`). ``returncode`` is then -1.
    """

    host: str
    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""
    error: DaccError | None = None

    @property
    def ok(self) -> bool:
        """Whether the command ran and returned 0."""
        return self.error is None and self.returncode == 0

    def why(self) -> str:
        """One line for an error message: the last line that the command wrote, or its exit status."""
        if self.error is not None:
            return str(self.error)
        lines = (self.stderr or self.stdout).decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit status {self.returncode}"


class HostRunner(Protocol):
    """Runs one command on many hosts at once. A provider receives one that is fenced for its session's generation."""

    @property
    def python(self) -> str:
        """A Python interpreter (3.6 or newer) on the hosts."""
        ...

    def run(
        self,
        hosts: Sequence[str],
        argv: Argv,
        *,
        timeout: float = 60.0,
        stdin: bytes = b"",
        on_output: Callable[[bytes], None] | None = None,
    ) -> Mapping[str, CommandResult]:
        """Run ``argv`` on every host in parallel; one result per host, one dead host delays no other.

        ``timeout`` (seconds) is enforced on the host too: the command and its children are ended there.
        ``on_output`` gets each piece of standard output as it comes, from other threads; it must neither block nor raise.
        """
        ...
