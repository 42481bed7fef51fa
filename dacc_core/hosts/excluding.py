"""A host runner that leaves some hosts alone: those that an operator has given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import HostUnreachable
from ..sdk.hosts import Argv, CommandResult, HostRunner
from .base import failed


@dataclass(frozen=True, slots=True)
class Without:
    """``runner``, by which no command reaches the ``hosts``: they fail at once."""

    runner: HostRunner
    hosts: tuple[str, ...]

    @property
    def python(self) -> str:
        """The Python interpreter on the hosts."""
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
        """Run ``argv`` on the hosts that are left (:class:`~dacc_core.sdk.hosts.HostRunner`)."""
        left = [host for host in hosts if host not in self.hosts]
        results = dict(self.runner.run(left, argv, timeout=timeout, stdin=stdin, on_output=on_output)) if left else {}
        return {host: results.get(host) or failed(host, HostUnreachable(host=host, why="it was forgotten")) for host in hosts}
