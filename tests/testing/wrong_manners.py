"""Wrong in what every call must keep to: errors, time, cancellation, requests, state, settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dacc_core.sdk import (
    Argv,
    Cancelled,
    Capabilities,
    Command,
    CommandResult,
    Context,
    Create,
    Created,
    Mount,
    NotFound,
    PerHost,
    Unavailable,
    Unmount,
)

from .shelf import ShelfProvider, ShelfSettings
from .wrong import caught_by


@caught_by("its_api_version_is_one_that_this_dacc_has")
class IsOfTheFuture(ShelfProvider):
    """Written for an API that is not there."""

    api: ClassVar[tuple[int, int]] = (2, 0)


@caught_by("its_name_is_one_line_of_text")
class HasAPoorName(ShelfProvider):
    """A configuration could not name it."""

    name: ClassVar[str] = "my shelf!"


@caught_by("its_capabilities_stay_the_same")
class IsMoody(ShelfProvider):
    """Every other object of it can enforce capacities."""

    count: ClassVar[Any] = itertools.count()

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.mood = next(self.count) % 2 == 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(capacity_enforced=self.mood, swap=True)


@caught_by("each_method_takes_one_request", "restore_keeps_the_data", *[
    "a_daemon_that_starts_anew_goes_on_with_the_state",
    "other_calls_that_crashed_can_be_repeated",
    "errors_are_of_the_sdks_classes",
    "errors_are_one_line",
    "a_call_that_failed_can_be_repeated",
    "brick_hosts_follow_no_link_of_a_node",
])  # fmt: skip
class WantsMore(ShelfProvider):
    """Its restore has another argument, so it cannot be called at all."""

    def restore(self, request: Any, force: bool) -> None:  # type: ignore[override]
        super().restore(request)


@dataclass(frozen=True)
class NoSettings:
    """What no file can hold."""

    seconds: float = 30.0
    hook: Nowhere = None  # type: ignore[name-defined] # noqa: F821


@caught_by(
    "the_configuration_can_hold_its_settings",
    "a_setting_that_does_not_exist_is_refused",
    "making_a_provider_leaves_its_settings_alone",
)
class HasWrongSettings(ShelfProvider):
    """One has a type that dacc cannot read, so no settings can be read."""

    Settings: ClassVar[type[Any]] = NoSettings


@dataclass
class LooseSettings:
    """Settings that can be changed."""

    seconds: float = 30.0


@caught_by("making_a_provider_leaves_its_settings_alone")
class ChangesItsSettings(ShelfProvider):
    """Writes into what it was given."""

    Settings: ClassVar[type[Any]] = LooseSettings

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        if isinstance(settings, LooseSettings):
            settings.seconds = 1.0


@caught_by(
    "errors_are_of_the_sdks_classes",
    "mount_follows_no_link_of_another_node",
    "mounting_again_follows_no_link_of_another_node",
    "mount_follows_no_link_of_a_user",
    "swap_on_follows_no_link_of_another_node",
)
class RaisesItsOwnErrors(ShelfProvider):
    """A failed command is a RuntimeError."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        result = self.run(context, (host,), argv)[host]
        if result.returncode == 1:
            raise RuntimeError(f"host {host}: {result.why()}")
        if not result.ok:
            raise result.error or Unavailable(why=f"host {host}: {result.why()}")
        return result.stdout.decode()


@caught_by("errors_are_one_line")
class TellsALot(ShelfProvider):
    """Its errors have the whole output."""

    def one(self, context: Context, host: str, *argv: str) -> str:
        result = self.run(context, (host,), argv)[host]
        if not result.ok:
            raise result.error or Unavailable(why=f"host {host}:\n{result.why()}")
        return result.stdout.decode()


@caught_by("a_call_that_failed_can_be_repeated", "a_failed_create_can_be_deleted")
class TakesOffence(ShelfProvider):
    """Never tries a host again on which a command failed, so it cannot clean up there either."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.bad: set[str] = set()

    def one(self, context: Context, host: str, *argv: str) -> str:
        if host in self.bad:
            raise Unavailable(why=f"host {host} is bad")
        result = self.run(context, (host,), argv)[host]
        if result.returncode == 1 and "conformance kit" in result.why():
            self.bad.add(host)
        if not result.ok:
            raise result.error or Unavailable(why=f"host {host}: {result.why()}")
        return result.stdout.decode()


@caught_by("calls_end_in_time_when_hosts_hang", "calls_end_in_time_when_hosts_are_slow")
class IgnoresTheDeadline(ShelfProvider):
    """Gives every command a minute."""

    def run(self, context: Context, hosts: Sequence[str], argv: Argv) -> Mapping[str, CommandResult]:
        context.cancel.check("a command")
        return context.hosts.run(hosts, Command(argv, timeout=60.0))


@caught_by("calls_end_in_time_when_hosts_are_slow", "calls_end_in_time_when_hosts_hang")
class GivesEachCommandTime(ShelfProvider):
    """Gives every command at least a quarter of a minute, however many commands or hosts there are."""

    def run(self, context: Context, hosts: Sequence[str], argv: Argv) -> Mapping[str, CommandResult]:
        context.cancel.check("a command")
        return context.hosts.run(hosts, Command(argv, timeout=max(15.0, context.deadline.remaining(self.settings.seconds))))


@caught_by("a_call_without_time_left_fails")
class TakesSilenceForSuccess(ShelfProvider):
    """A host that does not answer in time has nothing mounted, it believes."""

    def unmount(self, request: Unmount) -> PerHost:
        return PerHost(hosts={host: None if type(error) is Unavailable and "within" in str(error) else error
                              for host, error in super().unmount(request).hosts.items()})  # fmt: skip


@caught_by("a_cancelled_call_stops")
class IgnoresCancel(ShelfProvider):
    """Tries a cancelled command again and again."""

    def run(self, context: Context, hosts: Sequence[str], argv: Argv) -> Mapping[str, CommandResult]:
        for _ in range(10):
            results = context.hosts.run(hosts, Command(argv, timeout=context.deadline.remaining(self.settings.seconds)))
            if not any(isinstance(result.error, Cancelled) for result in results.values()):
                break
        return results


@caught_by("a_cancelled_call_says_so")
class HidesThatItWasCancelled(ShelfProvider):
    """Tells of a failed command instead."""

    def run(self, context: Context, hosts: Sequence[str], argv: Argv) -> Mapping[str, CommandResult]:
        results = context.hosts.run(hosts, Command(argv, timeout=context.deadline.remaining(self.settings.seconds)))
        sorry = Unavailable(why="a command was interrupted")
        return {
            host: CommandResult(host, -1, error=sorry) if isinstance(result.error, Cancelled) else result
            for host, result in results.items()
        }


@caught_by("a_cancelled_call_can_be_repeated")
class StaysCancelled(ShelfProvider):
    """Remembers a cancellation as if it were for ever."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.cancelled = False

    def run(self, context: Context, hosts: Sequence[str], argv: Argv) -> Mapping[str, CommandResult]:
        if self.cancelled:
            raise Cancelled(what="a command")
        results = super().run(context, hosts, argv)
        self.cancelled = context.cancel.cancelled
        return results


@caught_by("no_call_changes_its_request")
class WritesIntoItsRequest(ShelfProvider):
    """Notes in the state that it has mounted."""

    def mount(self, request: Mount) -> PerHost:
        request.state["mounted"] = True  # type: ignore[index]
        return super().mount(request)


@caught_by("commands_run_only_on_hosts_of_the_request")
class BuildsOnAComputeNode(ShelfProvider):
    """Uses a host that has nothing to do with the volume."""

    def create(self, request: Create) -> Created:
        self.one(request.context, "c1", "true")
        return super().create(request)


@caught_by(
    "a_daemon_that_starts_anew_goes_on_with_the_state",
    "a_crashed_mount_can_be_repeated",
)
class LivesInTheMoment(ShelfProvider):
    """Knows by heart, not by the state, where its volumes are; another daemon cannot mount them, also after a crash."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.places: dict[str, Sequence[str]] = {}

    def create(self, request: Create) -> Created:
        created = super().create(request)
        self.places[request.volume.name] = created.state["place"]
        return created

    def place_of(self, request: Mount) -> Sequence[str]:
        if request.volume.name not in self.places:
            raise NotFound(why=f"volume {request.volume.name} is not known")
        return self.places[request.volume.name]


@caught_by("two_volumes_can_be_created_at_once")
class ServesOneAtATime(ShelfProvider):
    """Keeps the request that it works on in itself, where another thread replaces it."""

    current: Create

    def create(self, request: Create) -> Created:
        self.current = request
        for brick in self.current.volume.bricks:
            self.one(request.context, brick.host, "true")
        return super().create(self.current)


@caught_by("two_hosts_can_be_mounted_at_once")
class RefusesASecondCaller(ShelfProvider):
    """Is busy while it mounts."""

    def __init__(self, settings: ShelfSettings) -> None:
        super().__init__(settings)
        self.mounting = 0

    def mount(self, request: Mount) -> PerHost:
        self.mounting += 1
        try:
            result = super().mount(request)
            if self.mounting > 1:
                busy = Unavailable(why="another mount is under way")
                return PerHost(hosts=dict.fromkeys(request.hosts, busy))
            return result
        finally:
            self.mounting -= 1
