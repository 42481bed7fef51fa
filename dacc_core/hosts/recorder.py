"""A runner that runs nothing: it records what it was asked and answers from a script. For tests and for plans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import Cancelled, DaccError, HostLost
from ..sdk.context import CancelToken
from ..sdk.hosts import Command, CommandResult
from .base import FencedRunner


@dataclass(frozen=True, slots=True)
class RecordedCommand:
    """One command for one host; ``key`` is empty outside of a fence."""

    host: str
    argv: tuple[str, ...]
    stdin: bytes = b""
    key: str = ""
    generation: int = 0


def succeed(call: RecordedCommand) -> CommandResult:
    """The answer of a command that succeeds and prints nothing."""
    return CommandResult(call.host, 0)


class RecorderRunner:
    """Keeps every :class:`RecordedCommand` in ``calls``, in order; ``answers`` makes the results (by default: all succeed)."""

    python = "python3"

    def __init__(self, answers: Callable[[RecordedCommand], CommandResult] = succeed) -> None:
        self.calls: list[RecordedCommand] = []
        self.fences: list[tuple[str, str, int]] = []
        self._answers = answers
        self._lock = threading.Lock()

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        """Record, and answer; what is answered on standard output also goes to ``on_output``."""
        return self._record(hosts, command)

    def fenced(self, key: str, generation: int, cancel: CancelToken) -> FencedRunner:
        """A runner whose calls are recorded here with ``key`` and ``generation``."""
        return _FencedRecorder(self, key, generation)

    def fence(self, hosts: Sequence[str], key: str, generation: int) -> dict[str, DaccError | None]:
        """Record in ``fences`` as (host, key, generation)."""
        self.fences += [(host, key, generation) for host in hosts]
        return dict.fromkeys(hosts)

    def _record(self, hosts: Sequence[str], command: Command, key: str = "", generation: int = 0) -> dict[str, CommandResult]:
        calls = [RecordedCommand(host, tuple(command.for_host(host)), command.stdin, key, generation) for host in dict.fromkeys(hosts)]
        with self._lock:
            self.calls += calls
        results = {call.host: self._answers(call) for call in calls}
        for result in results.values():
            if command.on_output is not None and result.stdout:
                command.on_output(result.stdout)
        return results


@dataclass(slots=True)
class _FencedRecorder:
    recorder: RecorderRunner
    key: str
    generation: int
    unsure: bool = False

    @property
    def python(self) -> str:
        return self.recorder.python

    def run(self, hosts: Sequence[str], command: Command) -> Mapping[str, CommandResult]:
        results = self.recorder._record(hosts, command, self.key, self.generation)
        self.unsure |= any(isinstance(result.error, HostLost | Cancelled) for result in results.values())
        return results
