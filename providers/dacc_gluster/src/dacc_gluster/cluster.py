"""Volumes of the trusted pool, through the program ``gluster`` on one of its hosts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dacc_core.sdk import Busy, CommandResult, DaccError, Unavailable

from . import answers
from .answers import Known
from .remote import Remote

DELETED = "user.dacc-deleted"
"""The option that marks a volume which only waits for all hosts of the pool, so that gluster forgets it."""

_TRIES = 20
_QUIET = ("gluster", "--mode=script", "--xml")


@dataclass(frozen=True)
class Gluster:
    """The pool as seen from ``host``."""

    remote: Remote
    host: str

    def call(self, *words: str) -> bytes:
        """An answer in XML. Raises Busy while gluster does something else with the volume, Unavailable when it refuses.

        Its locks are held for moments and not waited for, so this waits some seconds.
        """
        for _ in range(_TRIES):
            result = self._once(words)
            why = answers.problem(result.stdout)
            if not answers.is_locked(why):
                break
            self.remote.context.cancel.wait(random.uniform(0.2, 0.6))  # noqa: S311 - no secret
        if why:
            kind = Busy if answers.is_locked(why) else Unavailable
            raise kind(why=f"gluster {' '.join(words[:3])} failed on host {self.host}: {why}")
        return result.stdout

    def _once(self, words: Sequence[str]) -> CommandResult:
        result = self.remote.run([self.host], (*_QUIET, *words))[self.host]
        if error := result.failure():
            raise error
        return result

    def known(self, name: str) -> Known | None:
        """The volume, if gluster knows it."""
        return volume_of(self._once(("volume", "info", name)), name)

    def create(self, name: str, bricks: Sequence[str], options: dict[str, str]) -> None:
        """Make and start the volume; also when a former call came half-way."""
        known = self.known(name)
        if not known:
            self._define(name, bricks)
        missing = [word for pair in options.items() if not known or known.options.get(pair[0]) != pair[1] for word in pair]
        if missing:
            self.call("volume", "set", name, *missing)
        self.start(name, bricks)

    def _define(self, name: str, bricks: Sequence[str]) -> None:
        try:
            # "force" for what a create left that ended half-way: marks on the bricks, of a volume that gluster does not know.
            self.call("volume", "create", name, *bricks, "force")
        except Unavailable:
            if not self.known(name):  # otherwise another call was faster
                raise

    def start(self, name: str, bricks: Sequence[str]) -> None:
        """Serve every brick of the volume. Raises Unavailable when one is not served."""
        self.call("volume", "start", name, "force")
        away = sorted(set(bricks) - self._served(name, bricks))
        if away:
            raise Unavailable(why=f"bricks of volume {name} are not served: {', '.join(away)}: see glusterd and the bricks' logs there")

    def _served(self, name: str, bricks: Sequence[str]) -> frozenset[str]:
        """The bricks that are served, after a moment: a brick that has just started tells its port later."""
        for _ in range(_TRIES):
            served = answers.online(self.call("volume", "status", name))
            if served >= set(bricks):
                break
            self.remote.context.cancel.wait(0.3)
        return served

    def delete(self, known: Known, gone: Sequence[str]) -> None:
        """Stop the volume and make gluster forget it; ``gone``: its bricks on hosts that will not come back."""
        try:
            self._stop(known, [brick for brick in known.bricks if brick in gone])
            forgotten = self._forget(known.name)
        except Unavailable:
            if self.known(known.name):  # otherwise another call was faster
                raise
            return
        if forgotten:
            self._sweep()

    def _stop(self, known: Known, lost: Sequence[str]) -> None:
        if known.started:
            self.call("volume", "stop", known.name, "force")
        if lost and len(lost) < len(known.bricks):
            # The pool gives up no host that has bricks of a volume.
            self.call("volume", "remove-brick", known.name, *lost, "force")

    def _forget(self, name: str) -> bool:
        """Delete a stopped volume, or mark it: gluster deletes none while any host of the pool is away, be it one without its bricks."""
        try:
            self.call("volume", "delete", name)
        except Unavailable as error:
            if not answers.is_down(str(error)):
                raise
            self.remote.context.log.warning("volume %s is stopped, and is to be deleted when all hosts of the pool are back", name)
            self.call("volume", "set", name, DELETED, "yes")
            return False
        return True

    def _sweep(self) -> None:
        """Delete the volumes that are marked. Those that others sweep meanwhile do not concern this session."""
        for known in answers.volumes(self._once(("volume", "info", "all")).stdout):
            if DELETED in known.options and not known.started:
                self._once(("volume", "delete", known.name))


def volume_of(result: CommandResult, name: str) -> Known | None:
    """The volume in an answer of ``volume info``. Raises the error if there is no answer."""
    if error := result.failure():
        raise error
    why = answers.problem(result.stdout)
    if why and "does not exist" not in why:
        raise Unavailable(why=f"gluster volume info failed on host {result.host}: {why}")
    return next((known for known in answers.volumes(result.stdout) if known.name == name), None)


def knower(remote: Remote, hosts: Sequence[str], name: str) -> tuple[Gluster, Known] | None:
    """The first of these hosts whose gluster knows the volume; ``None`` when all say that there is none.

    Some may not answer as long as one knows it. Raises the first error when none does.
    """
    results = remote.run(hosts, (*_QUIET, "volume", "info", name))
    errors: list[DaccError] = []
    for host in hosts:
        try:
            if known := volume_of(results[host], name):
                return Gluster(remote, host), known
        except Unavailable as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None
