"""Swap files on a mounted image: ext4 can be swapped to as it is."""

from dacc_core.sdk.node.kit import Job, verb
from dacc_core.sdk.node.mounts import mounted_at, resolved
from dacc_core.sdk.node.swap import SwapFiles


@verb("image-swap-on")
def image_swap_on(job: Job) -> None:
    """Make the swap file anew and enable it."""
    SwapFiles().turn_on(job, mounted_at(resolved(job["path"])))


@verb("image-swap-off")
def image_swap_off(job: Job) -> None:
    """Disable and remove it."""
    SwapFiles().turn_off(job, mounted_at(resolved(job["path"])))
