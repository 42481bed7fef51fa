"""Backing ``directory``: a directory in the first brick's, "mounted" as a symbolic link. Needs no root; no limit is enforced.

Next to the volume's directory, ``<volume>.mounts/`` has a link to each "mount", so that a volume in use is not deleted.
"""

import os
from contextlib import suppress

from dacc_core.sdk.node.kit import Job, NodeError, crash_point, discard, locked_directory, verb
from dacc_core.sdk.node.owned import make_link, make_owned, make_private, parent_of, private_of, remove_link, volume_root

from .bricks import mark, unmark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _leads_to(path: str, tree: str) -> bool:
    return os.path.islink(path) and os.readlink(path) == tree


def _record(job: Job) -> str:
    import hashlib

    return os.path.join(job["tree"] + ".mounts", hashlib.sha256(os.fsencode(job["path"])).hexdigest()[:24])


@verb("directory-create")
def directory_create(job: Job) -> "dict[str, Any]":
    """Mark the bricks of this host; on the server, make the directory under another name and rename it when complete."""
    for directory in job["dirs"]:
        mark(job, directory)
    crash_point(job, "marked")
    if not job["tree"]:
        return {"capacity": 0}
    with locked_directory(job["dir"]):
        if not os.path.isdir(job["tree"]):
            new = job["tree"] + ".new"
            _remove(new)
            os.mkdir(new, 0o755)
            with volume_root(new) as top:
                make_owned(top, "global", job)
            crash_point(job, "formatted")
            os.rename(new, job["tree"])
        crash_point(job, "renamed")
    return {"capacity": job["capacity"]}


@verb("directory-delete")
def directory_delete(job: Job) -> None:
    """Remove the directory (on the server) and the marks. Raises Busy while a link leads to it."""
    if job["tree"]:
        with locked_directory(job["dir"]):
            _release(job["tree"])
            for suffix in ("", ".new", ".mounts"):
                _remove(job["tree"] + suffix)
            crash_point(job, "removed")
    unmark(job)


def _remove(tree: str) -> None:
    if os.path.isdir(tree):
        import shutil

        shutil.rmtree(tree)


def _release(tree: str) -> None:
    records = tree + ".mounts"
    links = [os.readlink(os.path.join(records, name)) for name in os.listdir(records)] if os.path.isdir(records) else []
    used = [link for link in links if _leads_to(link, tree)]
    if used:
        raise NodeError("Busy", "{} is still mounted at {}: unmount it there first".format(tree, ", ".join(sorted(used)[:4])))


@verb("directory-mount")
def directory_mount(job: Job) -> None:
    """Make ``path`` a link to the volume, then the directories and the private link."""
    path, tree = job["path"], job["tree"]
    with locked_directory(job["dir"]):
        if not os.path.isdir(tree):
            raise NodeError("NotFound", "its directory {} does not exist there: create the volume first".format(tree))
        with parent_of(path, job["role"] == "mover"):
            os.makedirs(tree + ".mounts", exist_ok=True)
            discard(_record(job))
            os.symlink(path, _record(job))
            _link(path, tree)
    crash_point(job, "mounted")
    if job["private"]:
        make_private(tree, "", job)
    crash_point(job, "populated")
    make_link(job["link"], private_of(job))


def _link(path: str, tree: str) -> None:
    if _leads_to(path, tree):
        return
    if os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path):
        os.rmdir(path)
    try:
        os.symlink(tree, path)
    except FileExistsError:
        raise NodeError("AlreadyExists", "{} is in the way of the link to {}: remove it".format(path, tree)) from None


@verb("directory-unmount")
def directory_unmount(job: Job) -> None:
    """Remove both links. Raises AlreadyExists when something else is at ``path``."""
    remove_link(job["link"], private_of(job))
    crash_point(job, "unlinked")
    with locked_directory(job["dir"]):
        if _leads_to(job["path"], job["tree"]):
            os.unlink(job["path"])
        elif os.path.lexists(job["path"]):
            raise NodeError("AlreadyExists", "{} does not lead to {}: remove it by hand".format(job["path"], job["tree"]))
        crash_point(job, "unmounted")
        discard(_record(job))


@verb("directory-usage")
def directory_usage(job: Job) -> "dict[str, Any]":
    """The bytes of its files."""
    _must_exist(job)
    used = 0
    for _, _, names, folder in os.fwalk(job["tree"]):  # by descriptor: users may move directories meanwhile
        for name in names:
            with suppress(FileNotFoundError):
                used += os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks * 512
    return {"capacity": job["capacity"], "used": used}


@verb("directory-restore")
def directory_restore(job: Job) -> None:
    """Nothing is lost with a restart."""
    _must_exist(job)


def _must_exist(job: Job) -> None:
    if not os.path.isdir(job["tree"]):
        raise NodeError("NotFound", "its directory {} does not exist: the volume was never created or is deleted".format(job["tree"]))


@verb("directory-check")
def directory_check(job: Job) -> None:
    """See that the brick directories can be made and written."""
    for directory in job["dirs"]:
        os.makedirs(directory, 0o755, exist_ok=True)
        name = os.path.join(directory, ".check-{}".format(os.getpid()))
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        discard(name)
