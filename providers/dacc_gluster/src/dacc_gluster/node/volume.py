"""On one storage host: the volume of a session, through the program ``gluster``, which asks the whole pool."""

import os
import time
from typing import Any, Dict, FrozenSet, List, Optional

from dacc_core.sdk.node.kit import Job, NodeError, locked, remove_directory, run, time_left, verb
from dacc_core.sdk.node.mounts import mounted_at
from dacc_core.sdk.node.owned import make_owned, volume_root

from .mounting import mount_client, release_client
from .output import KnownVolume, is_down, is_locked, online, problem, volumes

TRIES = 20
DELETED = "user.dacc-deleted"
"""The option that marks a volume which only waits for all hosts of the pool, so that gluster forgets it."""


def ask(*words: str) -> str:
    """An answer in XML. Raises busy while gluster does something else with the volume, unavailable when it refuses.

    Its locks are held for moments and not waited for, so this waits some seconds.
    """
    for _ in range(TRIES):
        result = run("gluster", "--mode=script", "--xml", *words, seconds=time_left())
        why = problem(result.stdout) if result.returncode == 0 else result.why()
        if not is_locked(why):
            break
        time.sleep(0.2 + ord(os.urandom(1)) / 640)  # not all at the same time
    if why:
        raise NodeError("Busy" if is_locked(why) else "Unavailable", "gluster {0} failed: {1}".format(" ".join(words[:3]), why))
    return result.stdout


def known_volumes() -> List[KnownVolume]:
    """All that gluster knows."""
    return volumes(ask("volume", "info", "all"))


def find(name: str) -> Optional[KnownVolume]:
    """The volume, if gluster knows it."""
    return next((known for known in known_volumes() if known.name == name), None)


def lock_of(volume: str) -> str:
    """The calls about a volume are made one after the other on a storage host."""
    return "gluster-" + volume


@verb("serve")
def serve(job: Job) -> None:
    """Make and start the volume and its directory ``global``; also when a former call came half-way."""
    name = job["volume"]
    with locked(lock_of(name)):
        options = define(name, job["served"])
        missing = [word for key, value in sorted(job["options"].items()) if options.get(key) != value for word in (key, value)]
        if missing:
            ask("volume", "set", name, *missing)
        start_bricks(job)
        make_global(job)


def define(name: str, bricks: List[str]) -> Dict[str, str]:
    """Make the volume, unless gluster knows it; the options that it has."""
    try:
        # "force" for what a create left that ended half-way: marks on the bricks, of a volume that gluster does not know.
        ask("volume", "create", name, *bricks, "force")
    except NodeError:
        known = find(name)
        if known is None:
            raise
        return known.options
    return {}


@verb("start")
def start_volume(job: Job) -> None:
    """Serve every brick of the volume again. Raises Unavailable when one is not served."""
    with locked(lock_of(job["volume"])):
        start_bricks(job)


def start_bricks(job: Job) -> None:
    """Serve every brick of the volume. Raises Unavailable when one is not served."""
    name, bricks = job["volume"], job["served"]
    ask("volume", "start", name, "force")
    away = sorted(set(bricks) - served(name, bricks))
    if away:
        why = "bricks of volume {0} are not served: {1}: see glusterd and the bricks' logs there"
        raise NodeError("Unavailable", why.format(name, ", ".join(away)))


def served(name: str, bricks: List[str]) -> FrozenSet[str]:
    """The bricks that are served, after a moment: a brick that has just started tells its port later."""
    for _ in range(TRIES):
        bricks_online = online(ask("volume", "status", name))
        if bricks_online >= set(bricks):
            break
        time.sleep(0.3)
    return bricks_online


def make_global(job: Job) -> None:
    """The directory that all nodes share, through a mount that goes again."""
    path = job["directory"] + "/client"
    os.makedirs(path, 0o700, exist_ok=True)
    mount_client(job["volume"], job["servers"], path)
    mount = mounted_at(path)
    if mount is None:
        raise NodeError("Unavailable", "{0} is not mounted any more: see who unmounts it".format(path))
    with volume_root(path, mount.device) as top:
        make_owned(top, "global", job)
    release_client(job["volume"], path, 5.0)
    remove_directory(path)


@verb("forget")
def forget(job: Job) -> Dict[str, Any]:
    """Stop the volume and make gluster forget it, or mark it only, to be forgotten later.

    ``gone``: its bricks on hosts that will not come back.
    """
    with locked(lock_of(job["volume"])):
        return {"forgotten": forget_volume(job)}


def forget_volume(job: Job) -> bool:
    """Whether gluster has forgotten it."""
    all_known = known_volumes()
    known = next((volume for volume in all_known if volume.name == job["volume"]), None)
    if known is None:
        return True
    try:
        stop(known, [brick for brick in known.bricks if brick in job["gone"]])
        forgotten = drop(known.name)
    except NodeError as error:
        if error.kind == "Busy" or find(known.name):  # otherwise another call was faster
            raise
        return True
    if forgotten:
        sweep(all_known)
    return forgotten


def stop(known: KnownVolume, lost: List[str]) -> None:
    if known.started:
        ask("volume", "stop", known.name, "force")
    if lost and len(lost) < len(known.bricks):
        # The pool gives up no host that has bricks of a volume.
        ask("volume", "remove-brick", known.name, *lost, "force")


def drop(name: str) -> bool:
    """Delete a stopped volume, or mark it: gluster deletes none while any host of the pool is away, be it one without its bricks."""
    try:
        ask("volume", "delete", name)
    except NodeError as error:
        if not is_down(str(error)):
            raise
        ask("volume", "set", name, DELETED, "yes")
        return False
    return True


def sweep(all_known: List[KnownVolume]) -> None:
    """Delete the volumes that are marked. Those that others sweep meanwhile do not concern this session."""
    for known in all_known:
        if DELETED in known.options and not known.started:
            run("gluster", "--mode=script", "--xml", "volume", "delete", known.name, seconds=time_left())
