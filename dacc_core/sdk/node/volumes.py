"""What every volume gets once it is mounted, whatever filesystem it is."""

from .kit import Job, NodeError, crash_point
from .mounts import MountEntry, remount
from .owned import make_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


def finish_mount(job: Job, mount: "Optional[MountEntry]") -> None:
    """The private directory of this host if the job asks for one, and the access that it asks for. ``mount``: what is there now."""
    if mount is None:
        raise NodeError("Unavailable", "{} is not mounted any more: see who unmounts it".format(job["path"]))
    read_only = "ro" in mount.options
    if read_only and not job["read_only"]:
        remount(mount.point, "rw")
    if job["private"]:
        make_private(mount.point, mount.device, job)
    crash_point(job, "populated")
    # Read-only is a property of this mount: others may have the same filesystem mounted.
    if job["read_only"] and not read_only:
        remount(mount.point, "ro")
