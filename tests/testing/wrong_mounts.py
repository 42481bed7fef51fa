"""Wrong in mounting and unmounting."""

from __future__ import annotations

from dataclasses import replace

from dacc_core.sdk import (
    AlreadyExists,
    Capabilities,
    Context,
    HostUnreachable,
    Mount,
    NotFound,
    PerHost,
    Swap,
    Unavailable,
    Unmount,
    Unsupported,
)

from .shelf import ShelfProvider, place
from .wrong import caught_by


@caught_by(
    "the_volume_is_there_on_each_host",
    "what_one_host_writes_the_others_read",
    "other_hosts_keep_their_mounts",
    "a_crashed_mount_can_be_repeated",
    "each_host_has_a_private_directory_behind_the_link",
    "private_directories_are_made_or_refused",
    "a_crashed_create_can_be_repeated",
    "two_volumes_can_be_created_at_once",
    "a_failed_command_is_not_taken_for_success",
)
class MountsOnTheFirstHostOnly(ShelfProvider):
    """And answers for all as for that one. Whatever needs two mounts fails too."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    def swap_on(self, request: Swap) -> PerHost:
        raise Unsupported(why="there is no swap")

    def mount(self, request: Mount) -> PerHost:
        done = super().mount(replace(request, hosts=request.hosts[:1]))
        return PerHost(hosts=dict.fromkeys(request.hosts, done.hosts[request.hosts[0]]))


@caught_by("mount_answers_for_each_host")
class ForgetsAHost(ShelfProvider):
    """Its answer lacks the last of several hosts."""

    def mount(self, request: Mount) -> PerHost:
        return without_last(super().mount(request))


@caught_by("unmount_answers_for_each_host")
class ForgetsAHostAfterwards(ShelfProvider):
    """Its answer lacks the last of several hosts."""

    def unmount(self, request: Unmount) -> PerHost:
        return without_last(super().unmount(request))


def without_last(result: PerHost) -> PerHost:
    """A result that does not name the last host, if that one is well and there are more."""
    hosts = dict(result.hosts)
    if len(hosts) > 1 and not result.failed:
        hosts.popitem()
    return PerHost(hosts=hosts)


@caught_by("mount_answers_for_no_other_host")
class AnswersForOthers(ShelfProvider):
    """Its answer names a host that nobody asked for."""

    def mount(self, request: Mount) -> PerHost:
        result = super().mount(request)
        return result if result.failed else PerHost(hosts={**result.hosts, request.volume.hosts[0]: None})


@caught_by("unmount_answers_for_no_other_host")
class AnswersForOthersAfterwards(ShelfProvider):
    """Its answer names a host that nobody asked for."""

    def unmount(self, request: Unmount) -> PerHost:
        return PerHost(hosts={**super().unmount(request).hosts, request.volume.hosts[0]: None})


@caught_by("other_hosts_are_not_touched")
class VisitsEverybody(ShelfProvider):
    """Looks at all compute nodes for each mount."""

    def mount(self, request: Mount) -> PerHost:
        self.run(request.context, ("c1", "c2"), ("true",))
        return super().mount(request)


@caught_by("mount_on_one_bad_host_does_not_hide_the_others")
class StopsAtTheFirstBadHost(ShelfProvider):
    """One host that cannot be reached is an error for all."""

    def mount(self, request: Mount) -> PerHost:
        result = super().mount(request)
        for error in result.failed.values():
            if isinstance(error, HostUnreachable):
                raise error
        return result


@caught_by("unmount_on_one_bad_host_does_not_hide_the_others")
class TakesTheUnreachableForClean(ShelfProvider):
    """A host that cannot be reached has nothing mounted, it believes."""

    def unmount(self, request: Unmount) -> PerHost:
        return PerHost(
            hosts={host: None if isinstance(error, HostUnreachable) else error for host, error in super().unmount(request).hosts.items()}
        )


@caught_by("mounting_what_is_mounted_succeeds_ten_times")
class StacksMounts(ShelfProvider):
    """Mounts again on top of its own mount."""

    def mount_on(self, request: Mount, host: str) -> None:
        found = self.mounted(request.context, host, request.path)
        super().mount_on(request, host)
        if found == [request.volume.name, "rw"] and not request.read_only:
            self.one(request.context, host, "mount", *self.place_of(request), request.volume.name, request.path, "rw")


@caught_by("a_volume_that_does_not_exist_cannot_be_mounted")
class MountsWhatIsGone(ShelfProvider):
    """Takes a volume that is not there for one that needs no mount."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        try:
            return super().one(context, host, *argv)
        except Unavailable as error:
            if argv[0] == "mount" and "there is no volume" in str(error):
                return ""
            raise


@caught_by("a_path_that_another_volume_has_stays_its_own")
class MountsOverAnother(ShelfProvider):
    """Does not look whose mount is at the path."""

    def mount_on(self, request: Mount, host: str) -> None:
        found = self.mounted(request.context, host, request.path)
        if found and found[0] != request.volume.name:
            self.one(request.context, host, "umount", request.path)
        super().mount_on(request, host)


@caught_by(
    "data_is_there_at_the_next_mount",
    "creating_what_exists_keeps_its_data",
    "bricks_of_another_volume_are_left_alone",
    "restore_keeps_the_data",
    "a_jobs_volume",
)
class FormatsOnMount(ShelfProvider):
    """Empties the volume when it is mounted on the first host. No data survives, whatever a check does between two mounts."""

    def mount_on(self, request: Mount, host: str) -> None:
        if not self.mounted(request.context, host, request.path) and host == request.hosts[0]:
            self.run(request.context, (place(request.volume)[0],), ("purge",))
        super().mount_on(request, host)


@caught_by("a_read_only_mount_refuses_to_be_written")
class IgnoresReadOnly(ShelfProvider):
    """Mounts everything to be written."""

    def mount_on(self, request: Mount, host: str) -> None:
        super().mount_on(replace(request, read_only=False), host)


@caught_by("mounts_are_nodev_and_nosuid")
class MountsPlainly(ShelfProvider):
    """Without the options that keep a job's devices and set-uid programs harmless."""

    def mount_on(self, request: Mount, host: str) -> None:
        super().mount_on(request, host)
        if not request.read_only:
            self.one(request.context, host, "remount", request.path, "dev")

    def mounted(self, context: Context, host: str, path: str) -> list[str]:
        return ["rw" if word == "dev" else word for word in super().mounted(context, host, path)]


@caught_by("a_mover_has_a_mount_of_its_own", "a_jobs_volume")
class KnowsNoMovers(ShelfProvider):
    """Takes a mover's mount for one that needs nothing."""

    def mount(self, request: Mount) -> PerHost:
        return super().mount(request) if request.role == "job" else PerHost(hosts=dict.fromkeys(request.hosts))


@caught_by("unmounting_what_was_never_mounted_succeeds", "unmounting_what_is_unmounted_succeeds_ten_times", *[
    "a_crashed_mount_can_be_unmounted",
    "a_crashed_unmount_can_be_repeated",
    "a_call_that_failed_can_be_repeated",
    "a_cancelled_call_can_be_repeated",
    "unmount_follows_no_link_of_another_node",
    "mount_follows_no_link_of_a_user",
    "unmount_follows_no_link_of_a_user",
    "a_volume_can_be_taken_away_when_the_links_are_gone",
])  # fmt: skip
class UnmountsOnce(ShelfProvider):
    """What is not mounted, or no more, is an error, also on those hosts that a crashed call had come to."""

    def unmount_on(self, request: Unmount, host: str) -> None:
        if not self.mounted(request.context, host, request.path):
            raise NotFound(why=f"{request.path} is not mounted on {host}")
        super().unmount_on(request, host)


@caught_by("other_hosts_keep_their_mounts")
class UnmountsEverywhere(ShelfProvider):
    """Unmounts all compute nodes, whichever was meant."""

    def unmount(self, request: Unmount) -> PerHost:
        self.run(request.context, [host for host in ("c1", "c2") if host not in request.hosts], ("umount", request.path))
        return super().unmount(request)


@caught_by("a_mount_in_use_is_not_reported_as_gone")
class IgnoresWhoIsBusy(ShelfProvider):
    """Takes a mount in use for one that will go by itself."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        try:
            return super().one(context, host, *argv)
        except Unavailable as error:
            if "target is busy" in str(error):
                return ""
            raise


@caught_by("nothing_is_left_at_the_path", *[
    "mounting_what_is_mounted_succeeds_ten_times",
    "a_mover_has_a_mount_of_its_own",
    "a_mount_in_use_is_not_reported_as_gone",
    "delete_leaves_nothing",
    "a_jobs_volume",
    "a_crashed_mount_can_be_unmounted",
    "a_crashed_unmount_can_be_repeated",
    "two_hosts_can_be_mounted_at_once",
    "unmount_follows_no_link_of_another_node",
    "a_volume_can_be_taken_away_when_the_links_are_gone",
])  # fmt: skip
class NeverUnmounts(ShelfProvider):
    """And reports success. Whatever needs an unmount fails too."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        return "" if argv[0] == "umount" else super().one(context, host, *argv)


@caught_by("a_failed_command_is_not_taken_for_success")
class SwallowsAnError(ShelfProvider):
    """A filesystem that could not be made counts as made."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        result = self.run(context, (host,), argv)[host]
        if result.returncode == 1 and argv[0] == "format":
            return ""
        if not result.ok:
            raise result.error or Unavailable(why=f"host {host}: {result.why()}")
        return result.stdout.decode()


@caught_by(
    "private_directories_are_made_or_refused",
    "each_host_has_a_private_directory_behind_the_link",
    "a_private_directory_belongs_to_the_owner",
    "mount_follows_no_link_of_another_node",
    "mounting_again_follows_no_link_of_another_node",
)
class HasNoPrivateDirectories(ShelfProvider):
    """And does not refuse them, so they count as declared."""

    def mount_on(self, request: Mount, host: str) -> None:
        super().mount_on(replace(request, private=False), host)


@caught_by(
    "unmount_takes_the_private_link_away",
    "a_volume_can_be_taken_away_when_the_links_are_gone",
)
class LeavesTheLink(ShelfProvider):
    """Unmounts and leaves the link."""

    def unmount_on(self, request: Unmount, host: str) -> None:
        super().unmount_on(replace(request, link=""), host)


@caught_by("each_host_gets_swap_and_loses_it")
class KeepsSwapOn(ShelfProvider):
    """Does nothing, and reports success."""

    def swap_off(self, request: Swap) -> PerHost:
        return PerHost(hosts=dict.fromkeys(request.hosts))


@caught_by(
    "swap_on_and_off_succeed_ten_times",
    "a_call_that_failed_can_be_repeated",
    "other_calls_that_crashed_can_be_repeated",
    "a_cancelled_call_can_be_repeated",
)
class SwapsOnce(ShelfProvider):
    """Swap that is on is an error, also on those hosts that a crash or an error left it on."""

    def swap_on(self, request: Swap) -> PerHost:
        on = [host for host in request.hosts if self.one(request.context, host, "swapped", request.path)]
        if on:
            raise AlreadyExists(why=f"{on[0]} swaps already")
        return super().swap_on(request)


@caught_by(
    "what_it_declares_it_has_methods_for",
    "each_method_takes_one_request",
    "each_host_gets_swap_and_loses_it",
    "swap_on_and_off_succeed_ten_times",
    "swap_on_follows_no_link_of_another_node",
    "swap_off_follows_no_link_of_another_node",
)
class DeclaresSwapWithoutHavingIt(ShelfProvider):
    """So there is no method that could be called."""

    swap_on = None  # type: ignore[assignment]
    swap_off = None  # type: ignore[assignment]


@caught_by("swap_that_is_not_declared_is_refused")
class DoesNotDeclareSwap(ShelfProvider):
    """Has swap, and does not say so."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(swap=False)
