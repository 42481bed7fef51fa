"""Backing ``image``: a sparse ext4 image in the first brick's directory, mounted through a loop device.

The loop device belongs to its mounts: mount(8) attaches it with the autoclear flag, so the kernel detaches it when the last mount,
in whichever namespace, is gone. Nothing leaks after a crash, and "attached" means "mounted somewhere".
"""

import fcntl
import os
import struct
import time
from contextlib import suppress

from dacc_core.sdk.node.kit import (
    Job,
    NodeError,
    crash_point,
    discard,
    locked_directory,
    must,
    need_programs,
    run,
    time_left,
    verb,
)
from dacc_core.sdk.node.mounts import MountEntry, mount_table, resolved, unmount
from dacc_core.sdk.node.owned import (
    make_link,
    make_mount_point,
    make_owned,
    mount_point,
    private_of,
    remove_link,
    remove_mount_point,
    volume_root,
)
from dacc_core.sdk.node.volumes import finish_mount

from .bricks import mark, unmark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

BLOCK = 4096
BYTES_PER_INODE = 16384
INODE = 256
GROUP = 128 << 20
MIB = 1 << 20
FEATURES = "none,extent,64bit,filetype,flex_bg,sparse_super,large_file,huge_file,dir_nlink,dir_index,extra_isize,metadata_csum"
LOOP_GET_STATUS64 = 0x4C05
RELEASE_SECONDS = 1.0
PROGRAMS = {
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "losetup": "mount",
    "mount": "mount",
    "umount": "mount",
    "mkswap": "util-linux",
    "unshare": "util-linux",
}
NO_SITE_DEFAULTS = {"MKE2FS_CONFIG": "/dev/null"}  # the capacity depends on them


def image_size(capacity: int) -> int:
    """Bytes of an image of which an ordinary user can write ``capacity`` (and at most 5 % and 4 MiB more).

    Added are, from the inside out: what indexing the user's files takes, inode tables, the blocks that ext4 holds back from
    everyone (2 %, at most 4096), and the bitmaps and descriptors of each block group.
    """
    size = capacity + capacity // 1024 + 2 * MIB
    size = size * (BYTES_PER_INODE // INODE) // (BYTES_PER_INODE // INODE - 1)
    size += min(size // 49 + BLOCK, 4096 * BLOCK)
    size += (size // GROUP + 1) * (2 * BLOCK + 256) + MIB
    return -(-size // BLOCK) * BLOCK


def usable(image: str) -> int:
    """Bytes that a user can write to a fresh image: its free blocks less those that ext4 holds back."""
    with open(image, "rb") as file:
        file.seek(1024)
        block = file.read(1024)
    low, high = struct.unpack_from("<I", block, 4)[0], struct.unpack_from("<I", block, 0x150)[0]
    free_low, free_high = struct.unpack_from("<I", block, 12)[0], struct.unpack_from("<I", block, 0x158)[0]
    total, free = low | high << 32, free_low | free_high << 32
    return int(free - min(total // 50, 4096)) * BLOCK


def loops(image: str) -> "dict[str, str]":
    """The loop devices that the image is attached to, whichever namespace did it: ``major:minor`` to name."""
    names = [name for name in os.listdir("/sys/block") if name.startswith("loop") and _backed_by(name, image)]
    return {device: name for device, name in ((_attribute(name, "dev"), name) for name in names) if device}


def _attribute(name: str, what: str) -> str:
    """An attribute of a block device, empty when it has none (any more)."""
    try:
        with open("/sys/block/{}/{}".format(name, what), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _backed_by(name: str, image: str) -> bool:
    backing = _attribute(name, "loop/backing_file")  # empty: not attached
    deleted = " (deleted)"
    if backing.endswith(deleted):
        return backing[: -len(deleted)] == resolved(image)
    if os.path.basename(backing) != os.path.basename(image):
        return False
    # The text is a path in the namespace that attached it, and not even that once that namespace is gone: compare inodes.
    try:
        file_identity = os.stat(image)
        with open("/dev/" + name, "rb") as device:
            status = fcntl.ioctl(device, LOOP_GET_STATUS64, bytes(232))
    except OSError:
        return backing == resolved(image)
    return struct.unpack_from("=QQ", status) == (file_identity.st_dev, file_identity.st_ino)


def _ours(path: str, image: str) -> "list[MountEntry]":
    """What is mounted at a path, the topmost last. Raises AlreadyExists when that is not this volume."""
    own = loops(image)  # before the table: somebody else (Slurm's Epilog) may unmount meanwhile
    here = [mounted for mounted in mount_table() if mounted.point == path]
    if here and here[-1].device not in own:
        text = "another filesystem ({}, device {}) is mounted at {}: unmount it or choose another mount root"
        raise NodeError("AlreadyExists", text.format(here[-1].kind, here[-1].device, path))
    return here


@verb("image-create")
def image_create(job: Job) -> "dict[str, Any]":
    """Mark the bricks of this host; on the server, make the image under another name and rename it when complete."""
    for directory in job["dirs"]:
        mark(job, directory)
    crash_point(job, "marked")
    if not job["image"]:
        return {"capacity": 0}
    with locked_directory(job["dir"]):
        if not os.path.exists(job["image"]):
            _format(job)
        crash_point(job, "renamed")
        return {"capacity": usable(job["image"])}


def _format(job: Job) -> None:
    new, tree = job["image"] + ".new", job["image"] + ".tree"
    _sweep(job["image"])
    os.mkdir(tree, 0o755)
    with volume_root(tree) as top:
        make_owned(top, "global", job)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.truncate(image_size(job["capacity"]))
    sizes = ["-b", str(BLOCK), "-I", str(INODE), "-i", str(BYTES_PER_INODE), "-m", "0"]
    options = [*sizes, "-O", FEATURES, "-E", "lazy_itable_init=1,root_owner=0:0", "-d", tree]
    must(new, "mkfs.ext4", "-q", "-F", *options, new, seconds=time_left(), environment=NO_SITE_DEFAULTS)
    crash_point(job, "formatted")
    _remove_tree(tree)
    os.rename(new, job["image"])


def _sweep(image: str) -> None:
    """Remove what a create that was interrupted left."""
    discard(image + ".new")
    _remove_tree(image + ".tree")


def _remove_tree(tree: str) -> None:
    for directory in (os.path.join(tree, "global"), tree):
        with suppress(FileNotFoundError):
            os.rmdir(directory)


@verb("image-delete")
def image_delete(job: Job) -> None:
    """Remove the image (on the server) and the marks. Raises Busy while it is mounted in any namespace."""
    if job["image"]:
        with locked_directory(job["dir"]):
            _release(job["image"])
            discard(job["image"])
            _sweep(job["image"])
            crash_point(job, "removed")
    unmark(job)


def _release(image: str) -> None:
    """See that no loop device has the image; give one that was just unmounted a moment to go."""
    end = time.monotonic() + RELEASE_SECONDS
    while True:
        attached = loops(image)
        if not attached:
            return
        for name in attached.values():
            if _attribute(name, "loop/autoclear") == "0":  # attached by hand; if it is mounted, this only sets the flag
                run("losetup", "--detach", "/dev/" + name)
        if time.monotonic() >= end:
            raise NodeError("Busy", "{} is still mounted {}: unmount it there first".format(image, _where(list(attached))))
        time.sleep(0.02)


def _where(devices: "list[str]") -> str:
    """Where devices are mounted, as far as processes show it."""
    places = {}  # type: dict[tuple[str, str], str]
    for process in _processes():
        try:
            namespace = os.readlink("/proc/{}/ns/mnt".format(process))
            for mounted in mount_table(process):
                if mounted.device in devices:
                    places.setdefault((namespace, mounted.point), process)
        except OSError:  # it ended, or is not ours to look at
            continue
    if not places:
        return "in a mount namespace that no process is in"
    return ", ".join("at {} (seen by process {})".format(point, process) for (_, point), process in sorted(places.items())[:4])


def _processes() -> "Iterable[str]":
    return (name for name in os.listdir("/proc") if name.isdigit())


@verb("image-mount")
def image_mount(job: Job) -> None:
    """Mount the image here, attaching it if it is not; make the directories and the link."""
    # The lock makes "is it attached?" and "attach it" one step: two loop devices on one image would destroy the filesystem.
    with locked_directory(job["dir"]):
        if not os.path.exists(job["image"]):
            raise NodeError("NotFound", "its image {} does not exist there: create the volume first".format(job["image"]))
        path = mount_point(job)
        if not _ours(path, job["image"]):
            make_mount_point(path)
            must(path, "mount", "-t", "ext4", "-o", "loop,nodev,nosuid", job["image"], path)
        crash_point(job, "mounted")
        # ``global`` is complete since create, and its owner may have changed it.
        finish_mount(job, next(reversed(_ours(path, job["image"])), None))
    make_link(job["link"], private_of(job))


@verb("image-unmount")
def image_unmount(job: Job) -> None:
    """Remove the link, unmount, remove the directory. Raises Busy with the holders' process ids."""
    path, image = resolved(job["path"]), job["image"]
    remove_link(job["link"], private_of(job))
    crash_point(job, "unlinked")
    with locked_directory(job["dir"]):
        while _ours(path, image):
            unmount(path)
        crash_point(job, "unmounted")
        if job["role"] == "mover" or not _mounted_elsewhere(path, image):
            remove_mount_point(job["path"])


def _mounted_elsewhere(path: str, image: str) -> bool:
    """Whether another mount namespace may have the volume at this very directory.

    Removing a directory succeeds when it is a mount point in other namespaces only, and takes their mounts away. So it stays
    when the image is still attached for mounts that are not seen here, and the parent directory is one that processes in another
    namespace see too.
    """
    devices = loops(image)
    if not devices or any(mounted.device in devices for mounted in mount_table()):
        return False
    return any(_sees(process, os.path.dirname(path)) for process in _strangers())


def _strangers() -> "list[str]":
    """One process of every other mount namespace."""
    by_namespace = {}  # type: dict[str, str]
    for process in _processes():
        with suppress(OSError):
            by_namespace[os.readlink("/proc/{}/ns/mnt".format(process))] = process
    by_namespace.pop(os.readlink("/proc/self/ns/mnt"), None)
    return list(by_namespace.values())


def _sees(process: str, directory: str) -> bool:
    try:
        return os.path.samefile("/proc/{}/root{}".format(process, directory), directory)
    except OSError:
        return False


@verb("image-usage")
def image_usage(job: Job) -> "dict[str, Any]":
    """How full it is. Runs in a mount namespace of its own, so that the mount it makes ends with it."""
    with locked_directory(job["dir"]):
        _must_exist(job)
        must(job["dir"], "mount", "-t", "ext4", "-o", "loop,nodev,nosuid", job["image"], job["dir"])
        room = os.statvfs(job["dir"])
        must(job["dir"], "umount", job["dir"])
    used = (room.f_blocks - room.f_bfree) * room.f_frsize
    return {"capacity": used + room.f_bavail * room.f_frsize, "used": used}


@verb("image-restore")
def image_restore(job: Job) -> None:
    """Repair what a host that went down left unwritten; mounting attaches the image again."""
    with locked_directory(job["dir"]):
        _must_exist(job)
        if loops(job["image"]):
            return
        result = run("e2fsck", "-p", job["image"], seconds=time_left())
        if result.returncode > 1:
            text = "e2fsck cannot repair {}: {}: run e2fsck by hand"
            raise NodeError("Unavailable", text.format(job["image"], result.why()))


def _must_exist(job: Job) -> None:
    if not os.path.exists(job["image"]):
        raise NodeError("NotFound", "its image {} does not exist: the volume was never created or is deleted".format(job["image"]))


@verb("image-check")
def image_check(job: Job) -> None:
    """See that the brick directories, the programs and a loop device can be used."""
    need_programs(PROGRAMS)
    if os.geteuid():
        raise NodeError("Unavailable", "backing image needs root and this is uid {}: set backing: directory".format(os.geteuid()))
    for directory in job["dirs"]:
        os.makedirs(directory, 0o755, exist_ok=True)
        name = os.path.join(directory, ".check-{}".format(os.getpid()))
        with open(name, "wb") as file:
            file.truncate(MIB)
        result = run("losetup", "--find", "--show", name)
        discard(name)
        if result.returncode:
            text = "no loop device works ({}): load the module loop, or set backing: directory"
            raise NodeError("Unavailable", text.format(result.why()))
        must(name, "losetup", "--detach", result.stdout.strip())
