"""What a storage host does as a client of a new filesystem: see that it is whole, set its layout, make its directories."""

import os
import time
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator

from dacc_core.sdk.node.kit import CommandFailed, Job, NodeError, crash_point, locked, must, run, time_left, verb
from dacc_core.sdk.node.owned import OpenedPath, make_owned, root_directory, volume_root

from .argv import mount_client, set_layout, spread_directories, target_point
from .common import attempts, findmnt_at, parameter


@contextmanager
def looked_at(job: Job) -> Iterator[str]:
    """The filesystem mounted for a moment, where only root sees it."""
    point = target_point(job["fsname"], "client")
    with locked("lustre-" + job["fsname"] + ".client"):
        os.makedirs(point, 0o700, exist_ok=True)
        if findmnt_at(point) is None:
            attempts(job, "mount.lustre", lambda: _mount(job, point))
        try:
            yield point
        finally:
            done = run("umount", point)
            if done.returncode and findmnt_at(point) is not None:
                raise CommandFailed("umount", point, done)
            with suppress(OSError):
                os.rmdir(point)


@contextmanager
def _top(point: str) -> Iterator[OpenedPath]:
    found = findmnt_at(point)
    if found is None:
        raise NodeError("Unavailable", "{} is not mounted any more: see who unmounts it".format(point))
    with volume_root(point, found.device) as top:
        yield top


def _mount(job: Job, point: str) -> None:
    done = run(*mount_client(job["source"], point, job["options"]), seconds=time_left())
    if done.returncode:
        raise CommandFailed("mount.lustre", job["source"], done)


@verb("settle")
def settle(job: Job) -> Dict[str, Any]:
    """Wait until all targets are seen, then set layouts and make ``global``; how much the filesystem holds."""
    with looked_at(job) as point:
        _whole(job)
        if job["layout"]:
            must(point, *set_layout(job["layout"], point))
        if job["spread"]:
            must(point, *spread_directories(point))
        crash_point(job, "laid-out")
        with _top(point) as top:
            make_owned(top, "global", job)
            with root_directory(top, "private"):
                return _room(point)


@verb("whole")
def whole(job: Job) -> Dict[str, Any]:
    """Wait until all targets are seen; how much the filesystem holds."""
    with looked_at(job) as point:
        _whole(job)
        return _room(point)


@verb("usage")
def usage(job: Job) -> Dict[str, Any]:
    """How full it is."""
    with looked_at(job) as point:
        return _room(point)


@verb("private")
def private(job: Job) -> None:
    """Make the private directories of hosts, where root on those hosts is nobody."""
    with looked_at(job) as point, _top(point) as top, root_directory(top, "private") as folder:
        for name in job["names"]:
            make_owned(folder, name, job)


def _whole(job: Job) -> None:
    end = time.monotonic() + min(job["settle"], time_left() - 5.0)
    names = ("lov.{}-clilov-*.activeobd", "lmv.{}-clilmv-*.activeobd")
    wanted = dict(zip((name.format(job["fsname"]) for name in names), (job["osts"], job["mdts"])))
    while True:
        found = {name: parameter(name) for name in wanted}
        if all(found[name] and {int(value) for value in found[name]} == {number} for name, number in wanted.items()):
            return
        if time.monotonic() >= end:
            seen = ", ".join("{}: {} of {}".format(name, "/".join(found[name]) or 0, number) for name, number in wanted.items())
            raise NodeError("Unavailable", "the filesystem does not see all its targets ({}): look at lctl dl on its hosts".format(seen))
        time.sleep(0.2)


def _room(point: str) -> Dict[str, Any]:
    """Bytes used and in all, without what nobody can use, from the last line of ``lfs df``."""
    rows = [line.split() for line in must(point, "lfs", "df", point).splitlines() if line.startswith("filesystem_summary:")]
    if not rows:
        raise NodeError("Unavailable", "lfs df {} gives no summary".format(point))
    used, free = int(rows[-1][2]) << 10, int(rows[-1][3]) << 10
    return {"capacity": used + free, "used": used}
