"""The backend ZFS: a slice is a pool, named as ldiskfs would label it, so blkid tells both alike; the target is a dataset in it.

A pool is imported while its target runs. It is renamed when that starts for the first time: from ``fsname:MDT0000``, which may be
formatted again, to ``fsname-MDT0000``. A pool that was started is in no cache file, so that nothing but a start imports it at boot;
one whose host dies between mkfs.lustre and the export after it may be there at boot.
"""

from typing import Any, Dict

from dacc_core.sdk.node.kit import must, run

from .argv import dataset, destroy_pool, export_pool, import_pool

ZFS = "zfs_member"


def imported(name: str) -> bool:
    """Whether a pool of that name is here now."""
    return not run("zpool", "list", "-H", "-o", "name", name).returncode


def export(name: str) -> None:
    """Let go of a pool."""
    if imported(name):
        must(name, *export_pool(name))


def retire(found: Dict[str, Any]) -> None:
    """Give up the pool on a slice; one that is not imported goes with its signatures."""
    if found["content"] == ZFS and imported(found["label"]):
        must(found["path"], *destroy_pool(found["label"]))


def mountable(found: Dict[str, Any], service: str) -> str:
    """What mount.lustre takes for the target on a slice."""
    if found["content"] != ZFS:
        return str(found["path"])
    if not imported(service):
        if found["label"] != service:
            export(found["label"])
        must(found["path"], *import_pool(found["path"], found["label"], service))
    return dataset(service)
