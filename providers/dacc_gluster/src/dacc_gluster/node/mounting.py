"""Mounts of volumes, and the FUSE clients that serve them: on compute nodes, on the host that copies, and for a moment on storage hosts."""

import os
import shutil
import signal
import time
from contextlib import suppress
from typing import List

from dacc_core.sdk.node.kit import PATH, NodeError, run, time_left
from dacc_core.sdk.node.mounts import mounted_at, processes, resolved, unmount


def check_ours(path: str, volume: str) -> bool:
    """Whether the volume is mounted at a path. Raises AlreadyExists when anything else is."""
    mount = mounted_at(path)
    if mount is None:
        return False
    if not mount.source.endswith(":/" + volume):
        raise NodeError("AlreadyExists", "{0} is a mount of {1}: unmount that first".format(path, mount.source))
    return True


def mount_client(volume: str, servers: List[str], path: str) -> None:
    """Mount a volume, if it is not; a mount whose client has died is renewed."""
    if shutil.which("mount.glusterfs", path=PATH) is None:
        raise NodeError("Unavailable", "mount.glusterfs is not installed: install glusterfs-client")
    while check_ours(path, volume) and is_dead(path):
        unmount(path)
    if mounted_at(path) is None:
        end_clients(path)
        make_mount(volume, servers, path)


def make_mount(volume: str, servers: List[str], path: str) -> None:
    # One log for all mounts, which the package's logrotate knows; by default there would be one for each path, for ever.
    options = ["nodev", "nosuid", "log-level=WARNING", "log-file=/var/log/glusterfs/dacc.log"]
    options += ["backup-volfile-servers=" + ":".join(servers[1:3])] if servers[1:] else []
    source = "{0}:/{1}".format(servers[0], volume)
    result = run("mount", "-t", "glusterfs", "-o", ",".join(options), source, path, seconds=time_left(), daemon=True)
    if result.returncode != 0 or mounted_at(path) is None:
        why = "volume {0} cannot be mounted at {1} ({2}): see /var/log/glusterfs/dacc.log"
        raise NodeError("Unavailable", why.format(volume, path, result.why()))


def is_dead(path: str) -> bool:
    """Whether nobody serves the mount any more. The kernel would answer stat from what it remembers."""
    try:
        os.statvfs(path)
    except OSError:
        return True
    return False


def release_client(volume: str, path: str, patience: float = 0.0) -> None:
    """Take a mount of the volume away, and its client."""
    while check_ours(path, volume):
        unmount(path, patience)
    end_clients(path)


def end_clients(path: str) -> None:
    """End what is left of GlusterFS clients of a path: a mount that was killed leaves one, which could mount later."""
    for pid in processes():
        words = command_line(pid)
        if os.path.basename(words[0]) == "glusterfs" and words[-1] in (path, resolved(path)):
            end_process(pid)


def command_line(pid: int) -> List[str]:
    try:
        with open("/proc/{0}/cmdline".format(pid), errors="replace") as words:
            return words.read().rstrip("\0").split("\0")
    except OSError:
        return [""]


def end_process(pid: int, seconds: float = 5.0) -> None:
    """Ask a process to end, and kill it if it does not."""
    late = time.monotonic() + seconds
    send_signal(pid, signal.SIGTERM)
    while command_line(pid) != [""]:  # of a process that has ended, though nobody has asked how, this is empty
        if time.monotonic() >= late:
            send_signal(pid, signal.SIGKILL)
        time.sleep(0.02)


def send_signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
