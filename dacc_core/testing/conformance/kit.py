"""What a check works with: the provider, volumes of its own, calls to the provider as dacc makes them."""

from __future__ import annotations

import contextlib
import copy
import json
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...sdk import (
    BrickRef,
    CancelToken,
    Capabilities,
    CheckHost,
    Context,
    Create,
    Created,
    DaccError,
    Deadline,
    Delete,
    HostRunner,
    Mount,
    PerHost,
    Provider,
    RestoreProvider,
    Swap,
    SwapProvider,
    Unmount,
    Unsupported,
    UsageProvider,
    Volume,
    VolumeRequest,
)
from .outcomes import NotDeclared, NotPossible, expect, given
from .scratch import Scratch, Snapshot, described, left_over

OPTIONAL = {"usage": UsageProvider, "restore": RestoreProvider}
"""Calls that a provider has when it has the method."""

SWAP_BYTES = 4 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class CallOutcome:
    """How a call ended: what it returned, or what it raised."""

    result: Any = None
    error: Exception | None = None

    @property
    def errors(self) -> list[Exception]:
        """What it raised, or the errors of hosts."""
        if self.error is not None:
            return [self.error]
        return list(self.result.failed.values()) if isinstance(self.result, PerHost) else []

    @property
    def ok(self) -> bool:
        """Whether it reports success, on every host."""
        return not self.errors

    def why(self) -> str:
        """The first error in words."""
        return "; ".join(f"{type(error).__name__}: {error}" for error in self.errors[:1])


class Kit:
    """One check's provider and volumes.

    ``make`` makes a provider anew, as a daemon that starts does. ``found`` keeps what several checks of one provider ask.
    """

    def __init__(self, make: Callable[[], Provider], scratch: Scratch, repeat: int = 10, found: dict[Any, Any] | None = None) -> None:
        self.make, self.scratch, self.repeat = make, scratch, repeat
        self._found = {} if found is None else found
        self.provider = make()
        self.trials: list[Trial] = []
        self._before: Snapshot | None = None

    def renew(self) -> None:
        """The next volumes meet a provider that has not been through anything."""
        self.provider = self.make()

    # --- what the provider says that it can do ---

    @property
    def capabilities(self) -> Capabilities:
        """As the provider declares them."""
        return self.provider.capabilities

    def need(self, capability: str) -> None:
        """Raise NotDeclared unless the provider has an optional operation or a capability."""
        optional = OPTIONAL.get(capability)
        has = isinstance(self.provider, optional) if optional else getattr(self.capabilities, capability)
        if not has:
            raise NotDeclared(capability)

    def calls(self) -> list[str]:
        """Every call that the provider has, in the order of a volume's life."""
        swaps = self.capabilities.swap and isinstance(self.provider, SwapProvider)
        has = {"usage": self._has("usage"), "restore": self._has("restore"), "swap_on": swaps, "swap_off": swaps}
        order = ("check_host", "create", "restore", "mount", "usage", "swap_on", "swap_off", "unmount", "delete")
        return [call for call in order if has.get(call, True)]

    def _has(self, call: str) -> bool:
        return isinstance(self.provider, OPTIONAL[call])

    # --- what there is to check on ---

    def need_hosts(self, number: int = 2) -> None:
        """Raise NotPossible unless there are as many hosts to mount on."""
        if len(self.scratch.hosts) < number:
            raise NotPossible(f"{number} hosts to mount on")

    def need_bricks(self, number: int = 2, *, hosts: int = 1) -> None:
        """Raise NotPossible unless there are as many bricks, on as many hosts."""
        if len(self.scratch.bricks) < number or len({brick.host for brick in self.scratch.bricks}) < hosts:
            raise NotPossible(f"{number} bricks" + (f" on {hosts} hosts" if hosts > 1 else ""))

    def trial(self, bricks: Sequence[BrickRef] = ()) -> Trial:
        """A volume that is not created yet, on all bricks or on those."""
        name = "k" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(7))
        chosen = tuple(bricks or self.scratch.bricks)
        volume = Volume(name=name, pool="check", provider=self.provider.name, capacity=self.scratch.capacity, bricks=chosen)
        made = Trial(self, volume)
        self.trials.append(made)
        return made

    def ready(self, call: str, bricks: Sequence[BrickRef] = ()) -> Trial:
        """A volume for which ``call`` is due: created for a mount, mounted for an unmount."""
        trial = self.trial(bricks)
        earlier = {
            "create": (),
            "check_host": (),
            "unmount": ("create", "mount"),
            "swap_on": ("create", "mount"),
            "swap_off": ("create", "mount", "swap_on"),
        }
        for one in earlier.get(call, ("create",)):
            trial.do(one)
        return trial

    def once(self, key: tuple[str, ...], find: Callable[[], T]) -> T:
        """What ``find`` returns, or returned for an earlier check."""
        if key not in self._found:
            self._found[key] = find()
        known: T = self._found[key]
        return known

    # --- before and after ---

    def remember(self) -> None:
        """What is on the hosts now is what may be there afterwards."""
        with given("looking at the hosts"):
            self._before = self.scratch.look()

    def left(self) -> Snapshot:
        """What was not there at :meth:`remember`."""
        with given("looking at the hosts"):
            return left_over(self._before or {}, self.scratch.look())

    def expect_nothing_left(self) -> None:
        """Raise AssertionError for anything that was not there at :meth:`remember`."""
        left = self.left()
        expect(not left, f"it leaves behind: {described(left)}")

    def close(self) -> None:
        """Take everything away that the check made, as the provider does it, whatever goes wrong."""
        while self.trials:
            self.trials[-1].end()


@dataclass(eq=False)
class Trial:
    """One volume, and the calls about it."""

    kit: Kit
    volume: Volume
    state: Mapping[str, Any] = field(default_factory=dict)
    capacity: int = 0
    _mounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _swapping: bool = False
    _made: bool = False

    def __post_init__(self) -> None:
        self.provider = self.kit.provider

    @property
    def scratch(self) -> Scratch:
        """The hosts that it is tried on."""
        return self.kit.scratch

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where it is mounted unless a call says otherwise."""
        return self.scratch.hosts

    @property
    def path(self) -> str:
        """Its mount point for jobs."""
        return f"{self.scratch.mount_root}/{self.volume.name}_job"

    @property
    def link(self) -> str:
        """Its link to the host's private directory."""
        return f"{self.path}_private"

    @property
    def mover_path(self) -> str:
        """Its mount point for the mover."""
        return f"{self.scratch.mover_root}/{self.volume.name}"

    def file(self, name: str = "data") -> str:
        """A file in ``global``."""
        return f"{self.path}/global/{name}"

    # --- calls ---

    def context(self, runner: HostRunner | None = None, deadline: Deadline | None = None, cancel: CancelToken | None = None) -> Context:
        """What a request carries; by default plain commands and plenty of time."""
        return Context(
            hosts=runner or self.scratch.runner,
            deadline=deadline or Deadline.after(self.scratch.seconds),
            cancel=cancel or CancelToken(),
            token="4711",  # noqa: S106 - a session's name
        )

    def request(self, call: str, context: Context | None = None, **more: Any) -> Any:
        """The request for a call. ``more`` replaces fields."""
        about: dict[str, Any] = {"context": context or self.context(), "volume": self.volume}
        owned = {"owner": self.scratch.owner, "group": self.scratch.group}
        if call == "check_host":
            host = self.volume.bricks[0].host
            bricks = tuple(brick for brick in self.volume.bricks if brick.host == host)
            return CheckHost(**{"context": about["context"], "host": host, "bricks": bricks} | more)
        if call == "create":
            return Create(**about | owned | more)
        about["state"] = copy.deepcopy(self.state)
        if call in ("delete", "usage", "restore"):
            return (Delete if call == "delete" else VolumeRequest)(**about | more)
        about |= {"hosts": self.hosts, "path": self.path}
        if call == "mount":
            return Mount(**about | owned | more)
        return Unmount(**about | more) if call == "unmount" else Swap(**about | {"size": SWAP_BYTES} | more)

    def call(self, call: str, context: Context | None = None, **more: Any) -> Any:
        """Make a call and return what it returns; what create returns is kept as dacc keeps it."""
        return self.send(call, self.request(call, context, **more))

    def send(self, call: str, request: Any) -> Any:
        """Make a call with a request that is made already."""
        self._begin(call, request)
        result = getattr(self.provider, call)(request)
        if call == "create" and isinstance(result, Created):
            self.state, self.capacity = _as_stored(result.state), result.capacity
        self._made &= call != "delete" or bool(request.gone)
        if call == "unmount" and isinstance(result, PerHost) and not result.failed:
            known = self._mounts.get(request.path, {})
            if set(known.get("hosts", ())) <= set(request.hosts) and known.get("link", "") == request.link:
                self._mounts.pop(request.path, None)
        return result

    def _begin(self, call: str, request: Any) -> None:
        """Note what there will be to undo, however the call ends."""
        self._made |= call in ("create", "delete")
        self._swapping |= call == "swap_on"
        if call == "mount":
            known = self._mounts.get(request.path, {"hosts": (), "link": ""})
            hosts = tuple(dict.fromkeys((*known["hosts"], *request.hosts)))
            link = request.link if request.private else known["link"]
            self._mounts[request.path] = {"path": request.path, "role": request.role, "link": link, "hosts": hosts}

    def outcome(self, call: str, context: Context | None = None, **more: Any) -> CallOutcome:
        """How a call ends; nothing is raised but what is no Exception."""
        return self.sent(call, self.request(call, context, **more))

    def sent(self, call: str, request: Any) -> CallOutcome:
        """How a call ends with a request that is made already."""
        try:
            return CallOutcome(result=self.send(call, request))
        except Exception as error:
            return CallOutcome(error=error)

    def do(self, call: str, **more: Any) -> None:
        """A call that a check needs and does not check. Raises NotReached."""
        with given(call):
            self.must(call, **more)

    def must(self, call: str, **more: Any) -> CallOutcome:
        """A call that has to report success. Raises AssertionError."""
        outcome = self.outcome(call, **more)
        expect(outcome.ok, f"{call} failed: {outcome.why()}")
        return outcome

    def restart(self) -> None:
        """The daemon starts anew: the provider remembers nothing but the state."""
        self.provider = self.kit.make()

    # --- what is true on the hosts ---

    def wrong_after(self, call: str) -> str:
        """What is not as it must be after a call that reported success; empty if nothing is."""
        if call == "mount":
            return _named(self.not_there(), "the volume is not there on")
        if call == "unmount":
            return _named(self.still_there(), "something is still mounted on")
        if call == "create":
            outcome = self.outcome("mount")
            return "" if outcome.ok and not self.not_there() else f"it cannot be mounted: {outcome.why() or 'it is not there'}"
        if call == "delete":
            left = self.kit.left()
            return f"it leaves behind: {described(left)}" if left else ""
        return ""

    def need_mount(self) -> None:
        """Raise NotPossible where a symbolic link stands for the mount, as with a provider that needs no root."""
        with given("looking at the mount"):
            linked = self.scratch.is_link(self.hosts[0], self.path)
        if linked:
            raise NotPossible("a volume that is mounted, and this one is a symbolic link")

    def not_there(self, path: str = "", hosts: Sequence[str] = ()) -> list[str]:
        """The hosts that cannot use the mount."""
        with given("looking at the mount"):
            return [host for host in hosts or self.hosts if not self.scratch.is_there(host, path or self.path)]

    def still_there(self, path: str = "", hosts: Sequence[str] = ()) -> list[str]:
        """The hosts that have something at the mount point."""
        with given("looking at the mount"):
            return [host for host in hosts or self.hosts if self.scratch.is_mounted(host, path or self.path)]

    def put(self, data: bytes = b"the data of a job\n", host: str = "", name: str = "data") -> None:
        """Write a file that a check needs. Raises NotReached."""
        with given("writing a file on the mount"):
            expect(self.scratch.write(host or self.hosts[0], self.file(name), data), f"{self.file(name)} cannot be written")

    def content(self, host: str = "", name: str = "data") -> bytes | None:
        """A file's content on a host."""
        with given("reading a file on the mount"):
            return self.scratch.read(host or self.hosts[0], self.file(name))

    def mount_private(self) -> None:
        """Mount with private directories. Raises NotDeclared when the provider has none, AssertionError when it fails."""
        outcome = self.outcome("mount", private=True, link=self.link)
        if outcome.errors and all(isinstance(error, Unsupported) for error in outcome.errors):
            raise NotDeclared("private directories")
        expect(outcome.ok, f"mount with private directories failed: {outcome.why()}")

    def end(self) -> CallOutcome:
        """Undo everything, with a provider that knows only the state. How that ended."""
        if self in self.kit.trials:
            self.kit.trials.remove(self)
        return self._undo() if self._made or self._mounts or self._swapping else CallOutcome()

    def _undo(self) -> CallOutcome:
        with contextlib.suppress(Exception):
            self.restart()
        calls: list[tuple[str, dict[str, Any]]] = [("swap_off", {})] if self._swapping else []
        calls += [("unmount", mounted) for mounted in self._mounts.values()]
        for call, more in calls:
            with contextlib.suppress(Exception):
                self.call(call, **more)
        try:
            self.call("delete")
        except Exception as error:
            return CallOutcome(error=error)
        return CallOutcome()


def _as_stored(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state as it comes back from the store; one that cannot be stored has a check of its own."""
    try:
        found: Mapping[str, Any] = json.loads(json.dumps(state))
    except (TypeError, ValueError):
        return state
    return found


def _named(hosts: list[str], text: str) -> str:
    return f"{text} {', '.join(hosts)}" if hosts else ""


def is_error_of_sdk(error: Exception) -> bool:
    """Whether a provider may raise it: a class that :mod:`dacc_core.sdk` offers, or one below it."""
    from ... import sdk  # late: the names are looked up when all of it is there

    offered = tuple(cls for name in sdk.__all__ if isinstance(cls := getattr(sdk, name), type) and issubclass(cls, DaccError))
    return type(error) is not DaccError and isinstance(error, tuple(cls for cls in offered if cls is not DaccError))
