"""Hosts that all live on this machine, each perhaps in a mount namespace of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import Cancelled, HostUnreachable
from . import base
from .on_host import fence
from .process import ProcessResult, Streams, run_process

_START = "import sys; sys.path.append(sys.argv.pop(1)); import fence; fence.start()"
"""Starts the helper as a module: of a program's own file Python keeps no compiled form, and compiling it takes longer than its work."""


def command_environment() -> dict[str, str]:
    """What programs that we start find in their environment: nothing of ours, which may hold a keystore's password, but the path."""
    return fence.environment(os.environ.get("PATH", ""))


class LocalRunner(base.HelperRunner):
    """Runs the commands of hosts that are all this machine; see :class:`~dacc_core.hosts.base.HelperRunner`.

    ``namespace``: when set, a pattern such as ``/run/x/ns/%h`` of files to which each host's mount namespace is bound; a host
    without its file is unreachable.
    """

    def __init__(
        self, *, fence_dir: str | os.PathLike[str], namespace: str = "", python: str = sys.executable or "/usr/bin/python3"
    ) -> None:
        super().__init__(fence_dir=fence_dir, python=python)
        self._namespace = namespace

    def _prefix(self, host: str) -> list[str]:
        if not self._namespace:
            return []
        path = self._namespace.replace("%h", host)
        if not Path(path).exists():
            raise HostUnreachable(host=host, why=f"it has no mount namespace at {path}")
        return ["nsenter", f"--mount={path}", "--"]

    async def _reach(self, host: str, call: base.HelperCall) -> ProcessResult:
        command = [self.python, "-I", "-S", "-c", _START, str(base.HELPER.parent), *call.words]
        streams = Streams(call.stdin, call.seconds + base.GIVE_UP_SECONDS, call.on_output)
        try:
            outcome = await run_process(command, streams, environment=command_environment(), cancel=call.cancel)
        except OSError as error:
            raise HostUnreachable(host=host, why=f"{command[0]} cannot start: {error}") from error
        if outcome.returncode < 0 and not outcome.overdue and call.cancel is not None and call.cancel.cancelled:
            raise Cancelled(what=call.what)  # the helper had not started anything yet
        return outcome
