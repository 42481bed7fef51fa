"""Who copies: a user as the mover host knows him, and how a command becomes his."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Denied, NoSuchUser, Unavailable
from ..sdk.context import Context
from ..sdk.hosts import CommandResult

_LOOKUP_SECONDS = 30.0
PASSAGE = "/run/dacc-passage"
"""An empty directory of root's on the mover host, where a private mount namespace shows the root of one buffer."""

_PASSAGE_PROGRAM = f"""
import os, sys
os.makedirs({PASSAGE!r}, 0o755, exist_ok=True)
if os.spawnvp(os.P_WAIT, "mount", ["mount", "--bind", "--", sys.argv[1], {PASSAGE!r}]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""

_NOT_FOUND = 2  # getent(1): the key is not in the database


@dataclass(frozen=True, slots=True)
class User:
    """A user on one host. ``switch`` are the words that turn a command into his; none when we are he already."""

    uid: int
    name: str
    home: str
    switch: tuple[str, ...]

    def command(self, words: Sequence[str], directory: str = "/") -> list[str]:
        """A command as this user that starts in ``directory``.

        We enter the directory before we become the user: the way to a volume's root may be closed to him. HOME is removed, since
        popt would let ``~/.popt`` redefine rsync's options.
        """
        return ["env", "-C", directory, "-u", "HOME", *self.switch, *words]

    @property
    def needs_passage(self) -> bool:
        """Whether we are another (root), so that a way open to us may be closed to him."""
        return bool(self.switch)


def through_passage(python: Sequence[str], root: str, command: Sequence[str]) -> list[str]:
    """A command that finds ``root``, which its user cannot reach from ``/``, at :data:`PASSAGE`; nobody else sees it there.

    For programs such as rsync that make every path absolute before they use it. ``python`` are the words before a program's text.
    """
    return ["unshare", "--mount", "--propagation", "private", "--", *python, _PASSAGE_PROGRAM, root, *command]


def own_command(words: Sequence[str], directory: str) -> list[str]:
    """A command as ourselves that starts in ``directory``."""
    return ["env", "-C", directory, *words]


def look_up(context: Context, host: str, uid: int, gid: int) -> User:
    """The user as ``host`` knows him. Raises NoSuchUser, Denied, and what the runner met."""
    if uid == 0:
        raise Denied(who="root", what="have data staged", why="data is copied as the user who owns the job, never as root")
    name, home = _passwd(context, host, uid)
    groups = _ids(context, host, "-G", "--", name)
    if gid not in groups:
        raise Denied(who=f"user {name} ({uid})", what=f"copy data with group {gid}", why=f"host {host} does not count them to that group")
    return User(uid, name, home, _switch(context, host, uid, gid, groups))


def _switch(context: Context, host: str, uid: int, gid: int, groups: Sequence[int]) -> tuple[str, ...]:
    us = _ids(context, host, "-u")[0]
    if us == uid:
        return ()
    if us != 0:
        raise Denied(who=f"dacc (uid {us} on host {host})", what=f"copy data as uid {uid}", why="only root can act as another user")
    identity = ("--reuid", str(uid), "--regid", str(gid), "--groups", ",".join(map(str, groups)))
    return ("setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--")


def _passwd(context: Context, host: str, uid: int) -> tuple[str, str]:
    result = _run(context, host, "getent", "passwd", str(uid))
    if result.returncode == _NOT_FOUND:
        raise NoSuchUser(host=host, uid=uid)
    fields = _text(result).split(":")
    if not result.ok or len(fields) < 6:
        raise Unavailable(why=f"host {host} cannot look up uid {uid}: {result.why()}")
    return fields[0], fields[5]


def _ids(context: Context, host: str, *options: str) -> list[int]:
    result = _run(context, host, "id", *options)
    words = _text(result).split()
    if not result.ok or not words:
        raise Unavailable(why=f"host {host} cannot look up a user's groups: {result.why()}")
    return [int(word) for word in words]


def _run(context: Context, host: str, *words: str) -> CommandResult:
    result = context.hosts.run([host], words, timeout=context.deadline.remaining(_LOOKUP_SECONDS))[host]
    if result.error is not None:
        raise result.error
    return result


def _text(result: CommandResult) -> str:
    return result.stdout.decode("utf-8", "surrogateescape").strip("\n")
