"""The command lines of Lustre, made from checked values. Pure: ``dacc plan`` shows what these give."""

from typing import Any, Dict, List

RUN_DIRECTORY = "/run/dacc/lustre"
MGS_POINT = RUN_DIRECTORY + "/MGS"


def dataset(pool: str) -> str:
    """The dataset of the target in a pool."""
    return pool + "/target"


def target_point(fsname: str, name: str) -> str:
    """Where a target is mounted; ``client`` is where a storage host looks at its own filesystem."""
    return "{}/{}/{}".format(RUN_DIRECTORY, fsname, name)


def format_target(job: Dict[str, Any], target: Dict[str, Any], path: str) -> List[str]:
    """mkfs.lustre for an MDT or OST."""
    kind = target["kind"]
    words = ["mkfs.lustre", "--" + kind, "--reformat", "--fsname=" + job["fsname"], "--index={}".format(target["index"])]
    words += ["--mgsnode=" + nid for nid in job["mgsnode"]]
    zfs = job["backend"] == "zfs"
    words += ["--backfstype=zfs"] if zfs else []
    options = job["zfs_mkfs_options" if zfs else kind + "_mkfs_options"]
    words += ["--mkfsoptions=" + options] if options else []
    words += ["--param", "sys.timeout={}".format(job["timeout"])] if kind == "mdt" else []
    words += ["--param", "failover.mode=failout"] if kind == "ost" and job["failout"] else []
    return [*words, *([dataset(new_label(job["fsname"], target["name"]))] if zfs else []), path]


def new_label(fsname: str, name: str) -> str:
    """The label of a target that was never started."""
    return "{}:{}".format(fsname, name)


def format_mgt(path: str, backend: str) -> List[str]:
    """mkfs.lustre for the MGT of a host."""
    return ["mkfs.lustre", "--mgs", *(["--backfstype=zfs", dataset("MGS")] if backend == "zfs" else []), path]


def import_pool(path: str, pool: str, name: str) -> List[str]:
    """Import the pool on a device, by another name if that is another. Mounts nothing."""
    return ["zpool", "import", "-N", "-o", "cachefile=none", "-d", path, pool, *([name] if name != pool else [])]


def export_pool(pool: str) -> List[str]:
    """Let go of it."""
    return ["zpool", "export", pool]


def destroy_pool(pool: str) -> List[str]:
    """Give it up, with all that is in it."""
    return ["zpool", "destroy", pool]


def mount_target(source: str, point: str) -> List[str]:
    """Start a target, of a device or of a dataset."""
    return ["mount", "-t", "lustre", source, point]


def unmount_target(point: str) -> List[str]:
    """Stop a target for good: its clients are gone, and there is nothing to recover."""
    return ["umount", "-f", point]


def mount_client(source: str, point: str, options: List[str]) -> List[str]:
    """Mount the filesystem."""
    return ["mount", "-t", "lustre", "-o", ",".join(options), source, point]


def set_layout(words: List[str], point: str) -> List[str]:
    """The default layout of files below a directory."""
    return ["lfs", "setstripe", *words, point]


def spread_directories(point: str) -> List[str]:
    """New directories go to the MDTs in turn."""
    return ["lfs", "setdirstripe", "-D", "-c", "1", "-i", "-1", "--max-inherit-rr", "3", point]


def set_parameters(pairs: List[str]) -> List[str]:
    """Parameters for all clients and servers, kept by the MGS."""
    return ["lctl", "set_param", "-P", *pairs]


def unset_parameters(names: List[str]) -> List[str]:
    """Forget some of them."""
    return ["lctl", "set_param", "-P", "-d", *names]


def erase_logs(fsname: str) -> List[str]:
    """Remove a filesystem's configuration from the MGS."""
    return ["lctl", "lcfg_erase", fsname]


def look_up_nid(nid: str) -> List[str]:
    """Which nodemap a NID is in."""
    return ["lctl", "nodemap_test_nid", nid]


def wipe(path: str) -> List[str]:
    """Remove all signatures."""
    return ["wipefs", "-a", path]


def discard_blocks(path: str) -> List[str]:
    """Give all blocks of a wiped slice back to the device. Without ``-f``, which old versions lack: a device in use is then refused."""
    return ["blkdiscard", path]
