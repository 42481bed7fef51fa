"""Wrong in what it makes of links that nodes and users plant."""

from __future__ import annotations

from dacc_core.sdk import Busy, Context, Create, Created, Delete, Mount, PerHost, Swap, Unavailable, Unmount

from .shelf import ShelfProvider, ShelfSettings, place
from .wrong import caught_by


@caught_by("mount_follows_no_link_of_another_node", "mounting_again_follows_no_link_of_another_node")
class OwnsByPath(ShelfProvider):
    """Gives the private directory to its owner by its path."""

    def mount_on(self, request: Mount, host: str) -> None:
        if request.private and self.mounted(request.context, host, request.path):
            self.one(request.context, host, "own", f"{request.path}/private/{host}")
        super().mount_on(request, host)
        self.one(request.context, host, "own", f"{request.path}/global")


@caught_by("mounting_again_follows_no_link_of_another_node")
class OwnsAgainByPath(ShelfProvider):
    """Gives private directories that are there already to their owner by their path."""

    def mount_on(self, request: Mount, host: str) -> None:
        again = self.mounted(request.context, host, request.path)
        if again and request.private:
            self.one(request.context, host, "own", f"{request.path}/private/{host}")
        super().mount_on(request, host)


@caught_by("mount_follows_no_link_of_another_node", "mounting_again_follows_no_link_of_another_node")
class DoesWithoutAPrivateDirectory(ShelfProvider):
    """Reports success though a link is in the way."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        try:
            return super().one(context, host, *argv)
        except Unavailable as error:
            if argv[0] == "private" and "symbolic link" in str(error):
                return ""
            raise


@caught_by("mount_follows_no_link_of_a_user")
class RaisesWhatThePythonLibraryRaises(ShelfProvider):
    """Where a link of a user's is in the way."""

    def mount_on(self, request: Mount, host: str) -> None:
        try:
            super().mount_on(request, host)
        except Unavailable as error:
            if f"{request.path} leads through a symbolic link" in str(error):
                raise FileExistsError(request.path) from error
            raise


@caught_by("unmount_follows_no_link_of_another_node", "unmount_follows_no_link_of_a_user")
class EmptiesPrivateDirectories(ShelfProvider):
    """Takes the private directory away by its path before it unmounts."""

    def unmount_on(self, request: Unmount, host: str) -> None:
        self.one(request.context, host, "own", f"{request.path}/private/{host}")
        super().unmount_on(request, host)


@caught_by("swap_on_follows_no_link_of_another_node")
class MakesSwapFilesByPath(ShelfProvider):
    """Whatever is there."""

    def swap_on(self, request: Swap) -> PerHost:
        for host in request.hosts:
            self.one(request.context, host, "own", f"{request.path}/swap/{host}")
        return super().swap_on(request)


@caught_by("swap_off_follows_no_link_of_another_node")
class RemovesSwapFilesByPath(ShelfProvider):
    """Whatever is there."""

    def swap_off(self, request: Swap) -> PerHost:
        done = super().swap_off(request)
        for host in request.hosts:
            self.one(request.context, host, "own", f"{request.path}/swap/{host}")
        return done


@caught_by("brick_hosts_follow_no_link_of_a_node")
class OwnsGlobalAgain(ShelfProvider):
    """A create that is repeated gives ``global`` to its owner once more."""

    def create(self, request: Create) -> Created:
        made = super().create(request)
        server, device = place(request.volume)
        self.one(request.context, server, "tidy", device, request.volume.name, "global")
        return made


@caught_by("delete_follows_no_link_of_a_node")
class EmptiesWhatIsThere(ShelfProvider):
    """Removes the files of a volume one by one, by their paths."""

    def delete(self, request: Delete) -> None:
        server, device = place(request.volume)
        if server not in request.gone:
            self.one(request.context, server, "tidy", device, request.volume.name, "global")
        super().delete(request)


@caught_by("mount_follows_no_link_of_a_user")
class MakesMountPointsByPath(ShelfProvider):
    """Follows what is there or above it."""

    def mount_on(self, request: Mount, host: str) -> None:
        self.one(request.context, host, "own", request.path)
        super().mount_on(request, host)


@caught_by("unmount_follows_no_link_of_a_user")
class RemovesMountPointsByPath(ShelfProvider):
    """Follows what is there or above it."""

    def unmount_on(self, request: Unmount, host: str) -> None:
        super().unmount_on(request, host)
        self.one(request.context, host, "own", request.path)


@caught_by(
    "a_volume_can_be_taken_away_when_the_links_are_gone",
    "mount_follows_no_link_of_another_node",
    "mounting_again_follows_no_link_of_another_node",
)
class HoldsAGrudge(ShelfProvider):
    """Leaves a mount for an operator to see to, once it has met a link."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.suspects: set[str] = set()

    def mount_on(self, request: Mount, host: str) -> None:
        try:
            super().mount_on(request, host)
        except Unavailable as error:
            if f"{request.path}/private" in str(error):
                self.suspects.add(host)
            raise

    def unmount_on(self, request: Unmount, host: str) -> None:
        if host in self.suspects:
            raise Busy(why=f"{request.path} on {host} is suspicious")
        super().unmount_on(request, host)
