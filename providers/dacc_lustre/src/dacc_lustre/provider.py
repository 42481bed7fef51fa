"""The provider: each operation handed to the side that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from dacc_core.sdk import (
    Capabilities,
    CheckHost,
    Create,
    Created,
    Delete,
    InvalidRequest,
    Mount,
    PerHost,
    PlanCreate,
    PlannedStep,
    Swap,
    Unavailable,
    Unmount,
    VolumeRequest,
)

from . import clients, fitness, narrate
from .reports import RoomReport
from .settings import LustreSettings
from .targets import check_device
from .volumes import Servers


class LustreProvider:
    """Lustre on the slices of NVMe bricks. The commands run through the node helper; state is read from the disks each time."""

    name: ClassVar[str] = "lustre"
    api: ClassVar[tuple[int, int]] = (1, 1)
    Settings: ClassVar[type[Any]] = LustreSettings

    def __init__(self, settings: LustreSettings) -> None:
        self.settings = settings

    @property
    def capabilities(self) -> Capabilities:
        """All; no swap where root is squashed, since root on a compute node then may not open its swap file."""
        return Capabilities(capacity_enforced=True, swap=not self.settings.root_squash)

    def check_host(self, request: CheckHost) -> None:
        """See that modules, LNet, slices and MGT are there. Raises Unavailable with what to mend."""
        devices = [brick.device for brick in request.bricks if brick.host == request.host]
        for device in devices:
            check_device(device)
        findings = fitness.look(request.context, self.settings, {request.host: devices})
        errors = [one for one in findings if one.host == request.host and one.level == "error"]
        if errors:
            raise Unavailable(why=f"host {request.host}: " + "; ".join(one.text for one in errors[:3]))

    def create(self, request: Create) -> Created:
        """Build the filesystem, or what is missing of it. Raises NoSpace, AlreadyExists (a brick holds something else), Unavailable."""
        servers = Servers(request.context, request.volume, self.settings)
        state, room = servers.create({"owner": request.owner, "group": request.group, "mode": request.mode})
        return Created(state=state, capacity=room)

    def delete(self, request: Delete) -> None:
        """Stop and wipe everything of it. Raises Busy while it is in use, AlreadyExists for a brick with something else on it."""
        Servers(request.context, request.volume, self.settings, request.state).delete(request.gone)

    def mount(self, request: Mount) -> PerHost:
        """Mount on each host. A host's error: AlreadyExists (something else is there), Unavailable."""
        return clients.mount(request, self.settings)

    def unmount(self, request: Unmount) -> PerHost:
        """Unmount on each host, ending who holds it. A host's error: Busy, Unavailable (the node is dirty), AlreadyExists."""
        return clients.unmount(request, self.settings)

    def swap_on(self, request: Swap) -> PerHost:
        """Enable a swap file on each host's mount. A host's error: NoSpace, NotFound (not mounted), Unsupported, Unavailable."""
        if self.settings.root_squash:
            raise InvalidRequest(why="swap needs root on compute nodes, and root_squash takes it: ask for no swap, or unset root_squash")
        return clients.swap("swap-on", request, self.settings)

    def swap_off(self, request: Swap) -> PerHost:
        """Disable and remove it."""
        return clients.swap("swap-off", request, self.settings)

    def usage(self, request: VolumeRequest) -> Mapping[str, int]:
        """``{"capacity": bytes, "used": bytes}``. Raises NotFound, Unavailable."""
        state = clients.checked_state(request)
        room = Servers(request.context, request.volume, self.settings, state).at_primary("usage", RoomReport, {}, state)
        return {"capacity": room.capacity, "used": room.used}

    def plan(self, request: PlanCreate) -> Sequence[PlannedStep]:
        """What ``create`` would do. Raises what it would raise for the facts that it would find."""
        return narrate.create(request, self.settings)

    def restore(self, request: VolumeRequest) -> None:
        """After a restart of its hosts: start what does not run. Raises NotFound (a target is gone), Unavailable."""
        state = clients.checked_state(request)
        Servers(request.context, request.volume, self.settings, state).restore(state["partuuids"])
