"""Wrong in making and taking away volumes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from dacc_core.sdk import (
    AlreadyExists,
    Busy,
    CheckHost,
    Command,
    Context,
    Create,
    Created,
    DaccError,
    Delete,
    HostUnreachable,
    NotFound,
    Unavailable,
    Volume,
)

from .shelf import ShelfProvider, ShelfSettings, place
from .wrong import caught_by

UNCLEAN = (
    "a_cancelled_call_can_be_repeated",
    "a_cancelled_call_says_so",
    "a_cancelled_call_stops",
    "calls_end_in_time_when_hosts_are_slow",
    "errors_are_of_the_sdks_classes",
    "errors_are_one_line",
)
"""What is not reached when the bricks of a create that failed cannot be cleaned: no other volume can be made on them."""


@caught_by(
    "a_fit_host_passes",
    "a_host_may_be_checked_ten_times",
    "a_check_changes_nothing",
    "a_call_that_failed_can_be_repeated",
    "a_cancelled_call_can_be_repeated",
    "errors_are_of_the_sdks_classes",
    "errors_are_one_line",
)
class FindsFaultWithEveryHost(ShelfProvider):
    """Takes a fit host for one that is not, so nothing can be told from checks of it that fail."""

    def check_host(self, request: CheckHost) -> None:
        super().check_host(request)
        raise Unavailable(why=f"host {request.host} is not good enough")


@caught_by("a_check_changes_nothing")
class LeavesATrialFile(ShelfProvider):
    """Its check of a host leaves a file."""

    def check_host(self, request: CheckHost) -> None:
        self.one(request.context, request.host, "scribble", "trial")


@caught_by("a_host_may_be_checked_ten_times")
class ChecksOnce(ShelfProvider):
    """Takes a host that it has checked for one that is in use."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.checked: set[str] = set()

    def check_host(self, request: CheckHost) -> None:
        super().check_host(request)
        if request.host in self.checked:
            raise Busy(why=f"host {request.host} is in use")
        self.checked.add(request.host)


@caught_by("a_host_that_cannot_be_reached_is_unavailable")
class IsNotInterested(ShelfProvider):
    """Takes a host that cannot be reached for a fit one."""

    def check_host(self, request: CheckHost) -> None:
        with suppress(HostUnreachable):
            super().check_host(request)


@caught_by("creating_what_exists_succeeds_ten_times", "creating_what_exists_keeps_its_data")
class CreatesOnce(ShelfProvider):
    """A volume that exists is an error, so there is no second create that could keep its data."""

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
    """Does not look whose the bricks are."""

    def create(self, request: Create) -> Created:
        if not self.exists(request.context, request.volume):
            for brick in request.volume.bricks:
                self.one(request.context, brick.host, "wipe", brick.device)
        return super().create(request)


@caught_by("it_returns_the_capacity_that_was_asked_for")
class RoundsDown(ShelfProvider):
    """Makes less than was asked for."""

    def create(self, request: Create) -> Created:
        return Created(state=super().create(request).state, capacity=request.volume.capacity - 1)


@caught_by("its_state_is_a_json_object")
class KeepsASet(ShelfProvider):
    """Its state is no JSON."""

    def create(self, request: Create) -> Created:
        return Created(state={**super().create(request).state, "hosts": {"b1"}}, capacity=request.volume.capacity)


@caught_by("its_state_is_a_json_object")
class KeepsNumbersForKeys(ShelfProvider):
    """Its state comes back changed."""

    def create(self, request: Create) -> Created:
        return Created(state={**super().create(request).state, "stripes": {1: "b1"}}, capacity=request.volume.capacity)


@caught_by("its_state_is_small")
class KeepsALog(ShelfProvider):
    """Its state is too large for the store."""

    def create(self, request: Create) -> Created:
        return Created(state={**super().create(request).state, "log": "formatted\n" * 7000}, capacity=request.volume.capacity)


@caught_by("create_without_one_of_its_brick_hosts_is_unavailable")
class DoesWithoutABrick(ShelfProvider):
    """Makes a volume on those bricks that it can reach."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        try:
            return super().one(context, host, *argv)
        except HostUnreachable:
            if argv[0] != "label":
                raise
            return ""


@caught_by("global_belongs_to_the_owner")
class HasAModeOfItsOwn(ShelfProvider):
    """Ignores the mode."""

    def format(self, context: Context, request: Create) -> None:
        server, device = place(request.volume)
        owned = (str(request.owner), str(request.group), "700")
        self.one(context, server, "format", device, request.volume.name, str(request.volume.capacity), *owned)


@caught_by("the_capacity_is_enforced")
class TakesTheWholeBrick(ShelfProvider):
    """Has no limit, and says that it has."""

    def format(self, context: Context, request: Create) -> None:
        server, device = place(request.volume)
        owned = (str(request.owner), str(request.group), f"{request.mode:o}")
        self.one(context, server, "format", device, request.volume.name, str(1 << 60), *owned)


@caught_by("a_crashed_create_can_be_repeated", "a_call_that_failed_can_be_repeated", "a_cancelled_call_can_be_repeated")
class CannotGoOn(ShelfProvider):
    """Refuses a volume that is half made, whether a crash or an error left it so."""

    def create(self, request: Create) -> Created:
        server, device = place(request.volume)
        begun = request.volume.name in self.one(request.context, server, "labelled", device).split()
        if begun and not self.exists(request.context, request.volume):
            raise Busy(why=f"volume {request.volume.name} is half made")
        return super().create(request)


@caught_by("a_failed_create_can_be_deleted")
class LeaksOnFailure(ShelfProvider):
    """Writes down why a create failed, and leaves that there."""

    def create(self, request: Create) -> Created:
        try:
            return super().create(request)
        except DaccError:
            self.one(request.context, request.volume.hosts[0], "scribble", f"{request.volume.name}.log")
            raise


@caught_by("a_crashed_create_can_be_deleted")
class LeavesADraft(ShelfProvider):
    """Makes a file first and removes it last; a delete knows nothing of it. An error, other than a crash, removes it."""

    def create(self, request: Create) -> Created:
        server, draft = request.volume.hosts[0], f"{request.volume.name}.draft"
        self.one(request.context, server, "scribble", draft)
        try:
            created = super().create(request)
            self.one(request.context, server, "unscribble", draft)
        except Exception:
            with suppress(Exception):
                self.one(request.context, server, "unscribble", draft)
            raise
        return created


@caught_by(
    "deleting_what_is_gone_succeeds_ten_times",
    "deleting_what_was_never_created_succeeds",
    "a_crashed_delete_can_be_repeated",
    "a_crashed_create_can_be_deleted",
    "a_failed_create_can_be_deleted",
    "a_call_that_failed_can_be_repeated",
    "a_failed_delete_is_not_taken_for_success",
    *UNCLEAN,
)
class DeletesOnce(ShelfProvider):
    """A volume that is gone, or was half made or half deleted, is an error, and stays where it is."""

    def delete(self, request: Delete) -> None:
        if not request.gone and not self.exists(request.context, request.volume):
            raise NotFound(why=f"volume {request.volume.name} is not there")
        super().delete(request)


@caught_by(
    "a_volume_without_state_is_deleted",
    "a_crashed_create_can_be_deleted",
    "a_failed_create_can_be_deleted",
    "calls_end_in_time_when_hosts_are_slow",
)
class NeedsTheState(ShelfProvider):
    """Knows by its state only what it made, so a create that did not return is never cleaned up."""

    def delete(self, request: Delete) -> None:
        if request.state:
            super().delete(request)


@caught_by("delete_leaves_data_of_other_volumes", "a_cancelled_call_says_so")
class EmptiesTheNeighbour(ShelfProvider):
    """Empties whatever is on hosts of the site."""

    def delete(self, request: Delete) -> None:
        super().delete(request)
        for host in {"b1", "b2"} - set(request.volume.hosts):
            with suppress(DaccError):
                request.context.hosts.run((host,), Command(("purge",)))


@caught_by("delete_without_one_of_its_brick_hosts_is_unavailable")
class DeletesWhatItReaches(ShelfProvider):
    """Takes a brick that it cannot reach for a clean one."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        try:
            return super().one(context, host, *argv)
        except HostUnreachable:
            if argv[0] != "unlabel":
                raise
            return ""


@caught_by("hosts_that_are_gone_are_left_alone")
class WaitsForTheDead(ShelfProvider):
    """Cleans bricks of hosts that are gone."""

    def delete(self, request: Delete) -> None:
        super().delete(Delete(context=request.context, volume=request.volume, state=request.state))


@caught_by("a_failed_delete_is_not_taken_for_success")
class HopesThatItIsGone(ShelfProvider):
    """Takes any failure to destroy a volume for its absence."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        result = self.run(context, (host,), argv)[host]
        if result.returncode == 1 and argv[0] == "destroy":
            return ""
        if not result.ok:
            raise result.error or Unavailable(why=f"host {host}: {result.why()}")
        return result.stdout.decode()


@caught_by("usage_is_capacity_and_used")
class CountsInFractions(ShelfProvider):
    """Its bytes are no whole numbers."""

    def usage(self, request: Delete) -> Mapping[str, int]:
        found = super().usage(request)
        return {"capacity": found["capacity"] / 1.0, "used": found["used"]}  # type: ignore[dict-item]


@caught_by("usage_grows_with_what_is_written")
class RemembersUsage(ShelfProvider):
    """Tells what was true when it was first asked."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.told: dict[str, Mapping[str, int]] = {}

    def usage(self, request: Delete) -> Mapping[str, int]:
        if request.volume.name not in self.told:
            self.told[request.volume.name] = super().usage(request)
        return self.told[request.volume.name]


@caught_by("restore_keeps_the_data")
class RestoresToNew(ShelfProvider):
    """Makes the volume anew."""

    def restore(self, request: Delete) -> None:
        super().restore(request)
        self.one(request.context, request.volume.hosts[0], "purge")


@caught_by("a_volume_that_does_not_exist_is_not_restored")
class RestoresAnything(ShelfProvider):
    """Does not look whether there is a volume."""

    def restore(self, request: Delete) -> None:
        self.exists(request.context, request.volume)
