"""Who copies: a user as the mover host has it, and how a command is run as that user."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Denied, NoSuchUser, Unavailable
from ..sdk.context import Context
from ..sdk.hosts import Command, CommandResult
from . import enter
from .base import Root

_LOOKUP_SECONDS = 30.0
PASSAGE = "/run/dacc-passage"
"""An empty directory of root's on the mover host, where a private mount namespace shows the root of one buffer."""

_ENTER = Path(enter.__file__).read_text("utf-8")
_ID = re.compile(r"[0-9]{1,10}", re.ASCII)
_NOT_FOUND = 2  # getent(1): the key is not in the database


@dataclass(frozen=True, slots=True)
class MoverUser:
    """A user as the mover host has it. ``switch`` are the words that run a command as that user; none when we are that user."""

    uid: int
    name: str
    home: str
    switch: tuple[str, ...]

    def command(self, words: Sequence[str]) -> list[str]:
        """A command as this user. HOME is removed, since popt would let ``~/.popt`` redefine rsync's options."""
        return ["env", "-u", "HOME", *self.switch, *words]

    @property
    def needs_passage(self) -> bool:
        """Whether we are another (root), so that a way open to us may be closed to him."""
        return bool(self.switch)


def entering(python: str, roots: Sequence[Root], command: Sequence[str], passage: str = "") -> list[str]:
    """A command that starts in the first of these buffers and has all of them open; see ``enter.py``.

    The buffers are entered before the command becomes a user's: the way to a volume's root may be closed to him. ``passage``: where
    it finds the first one as well, and nobody else does; for programs such as rsync that make every path absolute before they use it.
    """
    buffers = [word for root in roots for word in (root.volume, root.name, str(root.owner))]
    words = [python, "-I", "-S", "-c", _ENTER, passage, str(len(roots)), *buffers, *command]
    return ["unshare", "--mount", "--propagation", "private", "--", *words] if passage else words


def look_up_user(context: Context, host: str, uid: int, gid: int) -> MoverUser:
    """The user as ``host`` has it. Raises NoSuchUser, Denied, and the runner's errors."""
    if uid == 0:
        raise Denied(who="root", what="have data staged", why="data is copied as the user who owns the job, never as root")
    name, home = _passwd(context, host, uid)
    groups = _ids(context, host, "-G", "--", name)
    if gid not in groups:
        raise Denied(who=f"user {name} ({uid})", what=f"copy data with group {gid}", why=f"host {host} does not count them to that group")
    return MoverUser(uid, name, home, _switch(context, host, uid, gid, groups))


def _switch(context: Context, host: str, uid: int, gid: int, groups: Sequence[int]) -> tuple[str, ...]:
    own_uid = _ids(context, host, "-u")[0]
    if own_uid == uid:
        return ()
    if own_uid != 0:
        raise Denied(who=f"dacc (uid {own_uid} on host {host})", what=f"copy data as uid {uid}", why="only root can act as another user")
    identity = ("--reuid", str(uid), "--regid", str(gid), "--groups", ",".join(map(str, groups)))
    return ("setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--")


def _passwd(context: Context, host: str, uid: int) -> tuple[str, str]:
    result = _run(context, host, "getent", "passwd", str(uid))
    if result.returncode == _NOT_FOUND:
        raise NoSuchUser(host=host, uid=uid)
    fields = _text(result).split(":")
    if not result.ok or len(fields) < 6 or not fields[0] or fields[2] != str(uid):
        raise Unavailable(why=f"host {host} cannot look up uid {uid}: {result.why()}")
    return fields[0], fields[5]


def _ids(context: Context, host: str, *options: str) -> list[int]:
    result = _run(context, host, "id", *options)
    words = _text(result).split()
    if not result.ok or not words or not all(_ID.fullmatch(word) for word in words):
        raise Unavailable(why=f"host {host} cannot look up a user's groups: {result.why()}")
    return [int(word) for word in words]


def _run(context: Context, host: str, *words: str) -> CommandResult:
    result = context.hosts.run([host], Command(words, timeout=context.deadline.remaining(_LOOKUP_SECONDS)))[host]
    if result.error is not None:
        raise result.error
    return result


def _text(result: CommandResult) -> str:
    return result.stdout.decode("utf-8", "surrogateescape").strip("\n")
