"""A host runner that leaves some hosts alone: those that an operator has given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import HostUnreachable
from ..sdk.hosts import Command, CommandResult, HostRunner
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

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Run a command on the hosts that are left (:class:`~dacc_core.sdk.hosts.HostRunner`)."""
        left = [host for host in hosts if host not in self.hosts]
        results = dict(self.runner.run(left, command)) if left else {}
        return {host: results.get(host) or failed(host, HostUnreachable(host=host, why="it was forgotten")) for host in hosts}
