"""Wrong in what a call does: repeated, on another volume, on another host."""

from __future__ import annotations

from typing import Any

from dacc_core.sdk import (
    AlreadyExists,
    Context,
    Create,
    Created,
    Delete,
    Mount,
    NotFound,
    Unmount,
    Volume,
)

from .shelf import ShelfProvider, place
from .wrong import caught_by


@caught_by("creating_what_exists_succeeds_ten_times", "creating_what_exists_keeps_its_data: not reached")
class CreatesOnce(ShelfProvider):
    """A volume that exists is an error."""

    def format(self, context: Context, request: Create) -> None:
        super().format(context, request)

    def create(self, request: Create) -> Created:
        if self.exists(request.context, request.volume):
            raise AlreadyExists(why=f"volume {request.volume.name} is there already")
        return super().create(request)


@caught_by("creating_what_exists_keeps_its_data")
class FormatsAgain(ShelfProvider):
    """A second create makes an empty filesystem."""

    def exists(self, context: Context, volume: Volume) -> bool:
        return False


@caught_by("bricks_of_another_volume_are_left_alone")
class FormatsWhateverIsThere(ShelfProvider):
    """It does not look whose the bricks are."""

    def create(self, request: Create) -> Created:
        world: Any = getattr(request.context.hosts, "inner", request.context.hosts)
        server, device = place(request.volume)
        for (where, name), shelf in getattr(world, "shelves", {}).items():
            if where == (server, device) and name != request.volume.name:
                shelf.files.clear()
        return super().create(request)


@caught_by("deleting_what_is_gone_succeeds_ten_times", "deleting_what_was_never_created_succeeds")
class DeletesOnce(ShelfProvider):
    """A volume that is gone is an error. Never having been there is the same to it."""

    def delete(self, request: Delete) -> None:
        server, device = place(request.volume)
        labels = self.run(request.context, (server,), ("label_of", device))[server]
        if request.volume.name not in labels.stdout.decode().split() and server not in request.gone and labels.ok:
            raise NotFound(why=f"volume {request.volume.name} is not there")
        super().delete(request)


@caught_by("mounting_what_is_mounted_succeeds_ten_times")
class StacksMounts(ShelfProvider):
    """Mounts on top of its own mount."""

    def mounted(self, context: Context, host: str, path: str) -> list[str]:
        return super().mounted(context, host, path)

    def mount_on(self, request: Mount, host: str) -> None:
        found = self.mounted(request.context, host, request.path)
        super().mount_on(request, host)
        if found and found[0] == request.volume.name and not request.read_only:
            self.one(request.context, host, "mount", *self.place_of(request), request.volume.name, request.path, "rw")


@caught_by("unmounting_what_is_unmounted_succeeds_ten_times", "unmounting_what_was_never_mounted_succeeds")
class UnmountsOnce(ShelfProvider):
    """What is not mounted is an error, whether it ever was or not. Hosts where a mount ended early are forgiven."""

    tolerant = False

    def unmount_on(self, request: Unmount, host: str) -> None:
        seen = getattr(request.context.hosts, "touched", None)
        found = self.mounted(request.context, host, request.path)
        if not found and seen is None and not _again(request):
            raise NotFound(why=f"{request.path} is not mounted on {host}")
        super().unmount_on(request, host)


def _again(request: Unmount) -> bool:
    return False


@caught_by("the_volume_is_there_on_each_host", "a_crashed_mount_can_be_repeated")
class MountsOnTheFirstHostOnly(ShelfProvider):
    """And reports success for all."""
