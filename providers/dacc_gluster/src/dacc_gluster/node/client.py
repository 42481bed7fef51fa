"""On compute nodes, and on the host that copies: mount and unmount volumes."""

from dacc_core.sdk.node.kit import Job, locked, verb
from dacc_core.sdk.node.mounts import mounted_at, resolved
from dacc_core.sdk.node.owned import make_link, make_mount_point, mount_point, private_of, remove_link, remove_mount_point
from dacc_core.sdk.node.volumes import finish_mount

from .mounting import mount_client, release_client


def lock_of(job: Job) -> str:
    """The calls about a volume's mount at a path are made one after the other."""
    return "gluster-" + str(job["volume"] + job["path"])


@verb("mount")
def mount_volume(job: Job) -> None:
    """Mount the volume, make the private directory and the link."""
    with locked(lock_of(job)):
        path = mount_point(job)
        if mounted_at(path) is None:  # the client of a mount may have died, and then one cannot even look there
            make_mount_point(path)
        mount_client(job["volume"], job["servers"], path)
        finish_mount(job, mounted_at(path))
        make_link(job["link"], private_of(job))


@verb("unmount")
def unmount_volume(job: Job) -> None:
    """Remove the link, unmount, remove the directory. Raises Busy."""
    with locked(lock_of(job)):
        remove_link(job["link"], private_of(job))
        release_client(job["volume"], resolved(job["path"]))
        remove_mount_point(job["path"])
