"""On one storage host: the volume of a session, through the program ``gluster``, which asks the whole pool."""

import os
import time
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Optional

if TYPE_CHECKING:
    from .answers import Known, is_down, is_locked, online, problem, volumes
    from .common import BUSY, UNAVAILABLE, Failure, last_line, mount_client, mounted_at, release_client, run
    from .planted import own_directory, top_of

TRIES = 20
DELETED = "user.dacc-deleted"
"""The option that marks a volume which only waits for all hosts of the pool, so that gluster forgets it."""


def ask(*words: str) -> str:
    """An answer in XML. Raises Failure: busy while gluster does something else with the volume, unavailable when it refuses.

    Its locks are held for moments and not waited for, so this waits some seconds.
    """
    for _ in range(TRIES):
        done = run("gluster", "--mode=script", "--xml", *words)
        why = problem(done.stdout) if done.returncode == 0 else last_line(done)
        if not is_locked(why):
            break
        time.sleep(0.2 + ord(os.urandom(1)) / 640)  # not all at the same time
    if why:
        raise Failure(BUSY if is_locked(why) else UNAVAILABLE, "gluster {0} failed: {1}".format(" ".join(words[:3]), why))
    return done.stdout


def known_volumes() -> "List[Known]":
    """All that gluster knows."""
    return volumes(ask("volume", "info", "all"))


def find(name: str) -> "Optional[Known]":
    """The volume, if gluster knows it."""
    return next((known for known in known_volumes() if known.name == name), None)


def serve(what: Dict[str, Any]) -> None:
    """Make and start the volume and its directory ``global``; also when a former call came half-way."""
    name = what["volume"]
    options = define(name, what["served"])
    missing = [word for key, value in sorted(what["options"].items()) if options.get(key) != value for word in (key, value)]
    if missing:
        ask("volume", "set", name, *missing)
    start(what)
    make_global(what)


def define(name: str, bricks: List[str]) -> Dict[str, str]:
    """Make the volume, unless gluster knows it; the options that it has."""
    try:
        # "force" for what a create left that ended half-way: marks on the bricks, of a volume that gluster does not know.
        ask("volume", "create", name, *bricks, "force")
    except Failure:
        known = find(name)
        if known is None:
            raise
        return known.options
    return {}


def start(what: Dict[str, Any]) -> None:
    """Serve every brick of the volume. Raises Failure when one is not served."""
    name, bricks = what["volume"], what["served"]
    ask("volume", "start", name, "force")
    away = sorted(set(bricks) - served(name, bricks))
    if away:
        why = "bricks of volume {0} are not served: {1}: see glusterd and the bricks' logs there"
        raise Failure(UNAVAILABLE, why.format(name, ", ".join(away)))


def served(name: str, bricks: List[str]) -> FrozenSet[str]:
    """The bricks that are served, after a moment: a brick that has just started tells its port later."""
    for _ in range(TRIES):
        found = online(ask("volume", "status", name))
        if found >= set(bricks):
            break
        time.sleep(0.3)
    return found


def make_global(what: Dict[str, Any]) -> None:
    """The directory that all nodes share, through a mount that goes again."""
    place = what["directory"] + "/client"
    os.makedirs(place, 0o700, exist_ok=True)
    mount_client(what["volume"], what["servers"], place)
    found = mounted_at(place)
    with top_of(place, found.device if found else "") as top:
        own_directory(top, "global", what)
    release_client(place)


def forget(what: Dict[str, Any]) -> bool:
    """Stop the volume and make gluster forget it; False when it is marked only, to be forgotten later.

    ``gone``: its bricks on hosts that will not come back.
    """
    all_known = known_volumes()
    known = next((one for one in all_known if one.name == what["volume"]), None)
    if known is None:
        return True
    try:
        stop(known, [brick for brick in known.bricks if brick in what["gone"]])
        forgotten = drop(known.name)
    except Failure as error:
        if error.code == BUSY or find(known.name):  # otherwise another call was faster
            raise
        return True
    if forgotten:
        sweep(all_known)
    return forgotten


def stop(known: "Known", lost: List[str]) -> None:
    if known.started:
        ask("volume", "stop", known.name, "force")
    if lost and len(lost) < len(known.bricks):
        # The pool gives up no host that has bricks of a volume.
        ask("volume", "remove-brick", known.name, *lost, "force")


def drop(name: str) -> bool:
    """Delete a stopped volume, or mark it: gluster deletes none while any host of the pool is away, be it one without its bricks."""
    try:
        ask("volume", "delete", name)
    except Failure as error:
        if not is_down(str(error)):
            raise
        ask("volume", "set", name, DELETED, "yes")
        return False
    return True


def sweep(all_known: "List[Known]") -> None:
    """Delete the volumes that are marked. Those that others sweep meanwhile do not concern this session."""
    for known in all_known:
        if DELETED in known.options and not known.started:
            run("gluster", "--mode=script", "--xml", "volume", "delete", known.name)
