"""The records that dacc keeps in its store: what each key of shared state holds.

Records are frozen and written as JSON. Times are seconds since the epoch, sizes are bytes,
sets of hosts are folded strings in ClusterShell's notation (``c[1-64]``), so that a record of a
30,000-node job stays small. A field with its default value is not written, so older records
can be read after a field was added.
"""

from __future__ import annotations

from typing import Any, Literal

from ..values import Brick, BrickRef, Progress, Record, StageRequest, Volume

FIRST_PERSISTENT_ID = 1 << 27
"""Persistent sessions count from here; Slurm's job ids stay below it (MAX_JOB_ID is 0x03FFFFFF)."""

Filesystem = Literal["absent", "creating", "ready", "deleting", "quarantined"]
Staging = Literal["none", "pending", "running", "done", "failed"]


class Cluster(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``cluster``: which cluster this store belongs to. ``schema``: the version of everything that is stored.

    While it is ``restoring``, a backup is being written here, or was and did not end: no program uses the store.
    """

    id: str
    schema: int = 1
    restoring: bool = False


class Counters(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``counters``: the next number of each kind; a number is never given out twice."""

    host: int = 1
    persistent: int = FIRST_PERSISTENT_ID


class Pool(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``pools/<pool>``: bricks of one capacity, served by one provider."""

    name: str
    granularity: int
    provider: str


class BrickHost(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``hosts/<host>``: what a host says of itself.

    ``number`` makes its volume names unique. ``providers`` are those it has loaded, with their API versions.
    """

    name: str
    number: int
    bricks: tuple[Brick, ...] = ()
    providers: dict[str, str] = {}


class Alive(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``alive/<host>``, bound to a lease: the running incarnation of a host's daemon. ``boot``: the kernel's id of this boot.

    ``lock``: the file of the lock that this daemon holds for its host's name. ``who``: the daemon for people. ``ttl``: its lease's.
    """

    host: str
    incarnation: str
    boot: str = ""
    lock: str = ""
    who: str = ""
    ttl: float = 0.0


class Allocations(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``allocations/<host>``: who has which device. One compare guards a claim against everything.

    ``taken`` maps devices to the names of volumes, ``quarantined`` devices to reasons. A host that is ``draining`` gets no new sessions.
    ``serial`` counts the volumes whose first brick it had. ``forgotten`` is when the host was forgotten, and 0 once it is back.
    """

    taken: dict[str, str] = {}
    quarantined: dict[str, str] = {}
    draining: bool = False
    serial: int = 0
    forgotten: float = 0.0


class Request(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What the user asked for.

    ``capacity`` is in bytes, ``swap`` in bytes for each node; ``persistent`` names the buffers that the job uses. ``mode`` is that of
    the directories. ``digest`` names the normalised directives: the same digest is the same request.
    """

    owner: int
    group: int
    pool: str = ""
    capacity: int = 0
    swap: int = 0
    striped: bool = False
    private: bool = False
    persistent: tuple[str, ...] = ()
    stage_in: tuple[StageRequest, ...] = ()
    stage_out: tuple[StageRequest, ...] = ()
    mode: int = 0o700
    digest: str = ""


class Eviction(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Mounts of a persistent volume, at one job's paths, that a forced destroy must undo first."""

    token: str
    hosts: str


class Goal(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The desired state of a session. ``verb`` is for people: the call that set it.

    ``stage_in``, ``stage_out``: whether the data is to be copied by then. ``hosts``: where it is to be mounted, and nowhere else.
    ``hurry``: delete without copying out what is owed. ``evict``: what a destroy in a hurry must unmount first.
    """

    verb: str = "setup"
    filesystem: Literal["ready", "absent"] = "ready"
    stage_in: bool = False
    stage_out: bool = False
    hosts: str = ""
    hurry: bool = False
    evict: tuple[Eviction, ...] = ()


class Session(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``sessions/<token>``: written by verbs and claims only.

    ``volume`` is null for a session without a filesystem of its own. ``goal_revision`` counts the goals. ``created_at`` tells two
    sessions of one token apart. ``ending`` is the time at which a destroy raised its barrier against new attachments, or 0. Times here
    are of several machines' clocks, so none is earlier than another. A *kept* session is one whose job is gone and whose stage-out is
    still owed; ``origin`` is its former token.
    ``lost`` are brick hosts of the volume that were forgotten: their bricks are its own no longer, the data is gone, and it ends.
    While it is ``claiming``, it waits for bricks of ``wanted`` bytes, or for its persistent buffers: its volume has the bricks that were
    claimed so far, or is null when there are none, and nothing is built.
    """

    token: str
    id: int
    kind: Literal["job", "persistent", "kept"]
    created_at: float
    request: Request
    volume: Volume | None = None
    goal: Goal = Goal()
    goal_revision: int = 1
    ending: float = 0.0
    origin: str = ""
    lost: tuple[str, ...] = ()
    claiming: bool = False
    wanted: int = 0

    @property
    def created(self) -> int:
        """When it was created, in whole seconds since the epoch, as Slurm has it."""
        return int(self.created_at)

    @property
    def bricks(self) -> tuple[BrickRef, ...]:
        """The bricks that are its own: those of its volume, without those of hosts that were forgotten."""
        bricks = self.volume.bricks if self.volume else ()
        return tuple(brick for brick in bricks if brick.host not in self.lost) if self.lost else bricks

    @property
    def brick_hosts(self) -> tuple[str, ...]:
        """The hosts of its bricks, in brick order, each once."""
        return tuple(dict.fromkeys(brick.host for brick in self.bricks))

    @property
    def key(self) -> str:
        """A name for this very session, never used again, also when it is kept: hosts fence commands by it."""
        return self.volume.name if self.volume else f"{self.mounted_as}@{self.created_at:.6f}"

    @property
    def identity(self) -> str:
        """What tells it from any other session of its token, from its first record to its last, whatever bricks it has meanwhile."""
        return f"{self.mounted_as}@{self.created_at!r}"

    @property
    def mounted_as(self) -> str:
        """The token that its mount points carry: mounts outlive the job whose session is kept."""
        return self.origin or self.token

    @property
    def mountable(self) -> bool:
        """Whether there is anything to mount on compute nodes."""
        return self.volume is not None or bool(self.request.persistent)


class Failure(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Why a goal was not reached, as the user will read it."""

    kind: str
    text: str
    step: str = ""
    retryable: bool = False


class Event(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a session's timeline: a step or how the session ended, when, on which hosts, how long, and the error if it failed."""

    at: float
    what: str
    host: str = ""
    seconds: float = 0.0
    error: str = ""


class Running(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A step whose effects may be under way: written before it starts, removed when its outcome is known.

    ``boots``: of a step that makes brick hosts serve the filesystem, their boots when it began.
    """

    step: str
    hosts: str = ""
    started: float = 0.0
    boots: dict[str, str] = {}


class Buffer(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A persistent volume as it was when a job mounted it: enough to unmount it when its session is gone."""

    token: str
    volume: Volume
    provider_state: dict[str, Any] = {}


class Status(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``status/<token>``: the observed state; written by the session's coordinator only.

    ``mounts`` are the hosts that have the session's mounts; ``touched`` those that may have some;
    ``dirty`` those that could not be reached to unmount. ``used``: a compute node had it mounted, so it may
    hold data that exists nowhere else. ``mover``: the host that has it mounted for copying. ``evicted``: what ``goal.evict`` names is done.

    ``observed_revision``, ``failed_revision``: the last goal that was reached, or failed with ``failure``. ``tried_revision``: the goal
    for which a teardown tried the owed stage-out. ``gave_up``: why it cannot end by itself.

    ``coordinator``, ``incarnation`` and ``generation`` say who acts for the session. ``provider_state`` is what the provider's create
    returned, ``capacity`` the usable bytes that it reported (0: it reported none); ``boots``, by brick host, under which of its boots
    (the beginning of the kernel's id) the filesystem is served. ``events`` are the last lines of the timeline.
    """

    filesystem: Filesystem = "absent"
    stage_in: Staging = "none"
    stage_out: Staging = "none"
    mounts: str = ""
    touched: str = ""
    dirty: str = ""
    mover: str = ""
    used: bool = False
    evicted: bool = False
    observed_revision: int = 0
    failed_revision: int = 0
    tried_revision: int = 0
    failure: Failure | None = None
    gave_up: str = ""
    running: Running | None = None
    coordinator: str = ""
    incarnation: str = ""
    generation: int = 0
    provider_state: dict[str, Any] = {}
    capacity: int = 0
    boots: dict[str, str] = {}
    buffers: tuple[Buffer, ...] = ()
    progress: Progress = Progress()
    events: tuple[Event, ...] = ()


class VolumeUsage(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``usage/<token>``: how full the volume of a session was, in bytes, when its provider was last asked (``at``)."""

    capacity: int
    used: int
    at: float


class Attachment(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``attachments/<persistent>/<token>``: a job that uses a persistent volume."""

    persistent: str
    token: str
    since: float = 0.0


class History(Record, frozen=True, kw_only=True, omit_defaults=True):
    """``history/<token>``: what remains of a session, for some days; counts failed pre_runs across requeues.

    ``outcome`` is ``released``, ``kept``, ``quarantined`` or ``lost``, ``status`` the reason or the last failure of pre_run.
    ``owner`` may read it; ``kept`` is the token of the session that still holds the data.
    """

    token: str
    owner: int = -1
    kept: str = ""
    ended: float = 0.0
    outcome: str = ""
    pre_run_failures: int = 0
    events: tuple[Event, ...] = ()
    status: str = ""
