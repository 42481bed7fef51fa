"""From a job script to what it asks for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dacc_core.errors import InvalidRequest
from dacc_core.sizes import MAX_SIZE
from dacc_core.values import StageRequest
from fakewarp.directives.lexer import lex
from fakewarp.directives.model import CreateBuffer, DestroyBuffer, Directives
from fakewarp.directives.problems import Problems, ScriptPosition, shown
from fakewarp.directives.reader import Reading, read
from fakewarp.directives.staging import MAX_STAGING, STRIPED, BufferSide, buffer_side, outer_side, persistent_variable
from fakewarp.directives.values import BufferAccess

_GIVE_BUFFERS = ("jobdw", "persistentdw")
MAX_PERSISTENT = 64
"""Persistent buffers of one job: each is mounted on each of its nodes."""


def parse_script(text: str) -> Directives:
    """The directives of a job script, read with ``surrogateescape`` so that any bytes get here.

    Raises :class:`~dacc_core.errors.BadDirectives` with every problem, one a line, in the script's order.
    """
    draft = _Draft()
    for directive in lex(text, draft.problems, draft.notes):
        if directive.broken:
            draft.guesswork = True
        elif directive.words:
            draft.take(read(directive, draft.problems, draft.notes))
    return draft.finish()


def _kind_is_unknown(reading: Reading) -> bool:
    """Whether ``type=`` was given and is wrong, so that a list may be meant, which has no destination."""
    return "type" in reading.given and "type" not in reading.values


class _Draft:
    """What the lines read so far ask for.

    ``guesswork``: some line could not be understood, so nothing is said to be missing because it was not seen.
    """

    def __init__(self) -> None:
        self.problems = Problems()
        self.notes: list[str] = []
        self.guesswork = False
        self._capacity = self._granules = self._swap = 0
        self._pool = self._swap_pool = ""
        self._has_job_buffer = self._striped = self._private = False
        self._variables: dict[str, str] = {}
        self._staging: dict[str, list[StageRequest]] = {"stage_in": [], "stage_out": []}
        self._staged_bytes = 0
        self._in_buffers: list[tuple[BufferSide, ScriptPosition]] = []
        self._lists: list[ScriptPosition] = []
        self._creates: dict[str, CreateBuffer] = {}
        self._destroys: dict[str, DestroyBuffer] = {}
        self._positions: dict[str, ScriptPosition] = {}
        self._handlers: dict[str, Callable[[Reading], None]] = {
            "jobdw": self._jobdw,
            "persistentdw": self._persistentdw,
            "swap": self._swap_line,
            "stage_in": self._stage,
            "stage_out": self._stage,
            "create_persistent": self._create,
            "destroy_persistent": self._destroy,
        }

    def take(self, reading: Reading | None) -> None:
        """Add one directive."""
        if reading is None or (not reading.whole and reading.command.name in _GIVE_BUFFERS):
            self.guesswork = True
        if reading is not None and (reading.whole or reading.command.name in self._staging):
            self._handlers[reading.command.name](reading)

    def finish(self) -> Directives:
        """Everything together, or its problems."""
        if not self.guesswork:
            self._check_buffers()
        self.problems.check()
        return Directives(
            capacity=self._capacity,
            granules=self._granules,
            pool=self._pool,
            striped=self._striped,
            private=self._private,
            swap=self._swap,
            swap_pool=self._swap_pool,
            persistent=tuple(self._variables.values()),
            stage_in=tuple(self._staging["stage_in"]),
            stage_out=tuple(self._staging["stage_out"]),
            creates=tuple(self._creates.values()),
            destroys=tuple(self._destroys.values()),
            notes=tuple(self.notes),
            positions=self._positions,
        )

    def _jobdw(self, reading: Reading) -> None:
        amount = reading.values["capacity"]
        self._capacity = self._sum(self._capacity, amount.bytes, reading, "capacity")
        self._granules = self._sum(self._granules, amount.granules, reading, "capacity")
        access = reading.values.get("access_mode", BufferAccess(striped=True, private=False, modifiers=()))
        self._note_modifiers(access, reading)
        self._has_job_buffer = True
        self._striped |= access.striped
        self._private |= access.private
        # As Slurm's _get_bb_job: the last jobdw line decides, and one without pool= means the default pool.
        self._set_pool(reading.values.get("pool", ""), reading)

    def _swap_line(self, reading: Reading) -> None:
        swap = reading.values["size"]
        self._swap = self._sum(self._swap, swap.size, reading, "size", "swap")
        if swap.assumed:
            self.notes.append(f"line {reading.position.line}: swap without a unit is in GiB per node")
        if pool := reading.values.get("pool"):
            self._swap_pool = pool
            self._set_pool(pool, reading)

    def _set_pool(self, pool: str, reading: Reading) -> None:
        """Slurm charges everything to one pool, the last."""
        if "pool" in self._positions and pool != self._pool:
            self.notes.append(f"line {reading.position.line}: a job has one pool, the last that is named: {pool or 'the default pool'}")
        self._pool = pool
        self._positions["pool"] = reading.positions.get("pool", reading.position)

    def _sum(self, total: int, more: int, reading: Reading, key: str, name: str = "") -> int:
        self._positions.setdefault(name or key, reading.positions[key])
        if total + more > MAX_SIZE:
            self.problems.add(reading.positions[key], f"the {name or key} of all lines is more than {MAX_SIZE}: ask for less")
            return total
        return total + more

    def _note_modifiers(self, access: BufferAccess, reading: Reading) -> None:
        for modifier in access.modifiers:
            self.notes.append(f"line {reading.position.line}: {modifier} of access_mode is accepted and has no effect")

    def _persistentdw(self, reading: Reading) -> None:
        name, position = reading.values["name"], reading.positions["name"]
        other = self._variables.setdefault(persistent_variable(name), name)
        if other != name:
            what = f"buffers {other} and {name} would both be ${persistent_variable(name)} in the job"
            self.problems.add(position, f"{what}: use one of them")
        elif len(self._variables) == MAX_PERSISTENT + 1:
            self.problems.add(position, f"a job can use at most {MAX_PERSISTENT} persistent buffers: use fewer")

    def _stage(self, reading: Reading) -> None:
        inward = reading.command.name == "stage_in"
        kind = reading.values.get("type")
        if kind == "list":
            request = self._stage_list(reading)
        else:
            source = self._side(reading, "source", in_buffer=not inward)
            destination = self._side(reading, "destination", in_buffer=inward)
            request = StageRequest(source=source, destination=destination, kind=kind) if kind and source and destination else None
        if request and reading.whole:
            self._keep(request, reading)

    def _stage_list(self, reading: Reading) -> StageRequest | None:
        if "destination" in reading.values:
            what = "type=list takes no destination, since each line of the list has its own"
            self.problems.add(reading.positions["destination"], f"{what}: remove it")
        self._lists.append(reading.position)
        source = self._side(reading, "source", in_buffer=False)
        return StageRequest(source=source, destination="", kind="list") if source else None

    def _side(self, reading: Reading, side: str, *, in_buffer: bool) -> str:
        """One side's path as it is stored, ``""`` when it has a problem."""
        text, position = reading.values.get(side), reading.positions.get(side, reading.position)
        if text is None:
            if side == "destination" and side not in reading.given and not _kind_is_unknown(reading):
                self.problems.add(position, f"{reading.command.name} needs destination=: add it")
            return ""
        try:
            if not in_buffer:
                return outer_side(text)
            buffer = buffer_side(text)
        except InvalidRequest as error:
            self.problems.add(position, f"{side}={shown(text)} of {reading.command.name}: {error.fields['why']}")
            return ""
        self._in_buffers.append((buffer, position))
        return buffer.path

    def _keep(self, request: StageRequest, reading: Reading) -> None:
        before = self._staged_bytes
        self._staged_bytes += len(msgspec.json.encode(request)) + 1
        if before <= MAX_STAGING < self._staged_bytes:
            what = f"stage requests of more than {MAX_STAGING // 1024} KiB in all, up to this line"
            self.problems.add(reading.position, f"{what}: stage directories, or put the paths into a file and use type=list")
        self._staging[reading.command.name].append(request)

    def _create(self, reading: Reading) -> None:
        values = reading.values
        access = values.get("access_mode")
        if access:
            self._note_modifiers(access, reading)
        options = {key: values[key] for key in ("pool", "type") if key in values}
        buffer = CreateBuffer(name=values["name"], capacity=values["capacity"], **options)
        if self._creates.setdefault(buffer.name, buffer) != buffer:
            self.problems.add(reading.position, f"buffer {buffer.name} is created twice with different options: keep one line")
        self._positions.setdefault(f"create {buffer.name}", reading.position)

    def _destroy(self, reading: Reading) -> None:
        buffer = DestroyBuffer(reading.values["name"], "hurry" in reading.flags)
        if "hurry" in buffer.name and not buffer.hurry:
            # strstr(tok, "hurry") in Slurm's _get_bb_job finds it in the name.
            self.problems.add(
                reading.positions["name"],
                "Slurm finds the word hurry in this name and would not wait for its data: add hurry if that is meant, or ask an operator",
            )
        if self._destroys.setdefault(buffer.name, buffer) != buffer:
            self.problems.add(reading.position, f"buffer {buffer.name} is destroyed both with and without hurry: keep one line")

    def _check_buffers(self) -> None:
        """Each staged path lies in a buffer that this script has."""
        for buffer, position in self._in_buffers:
            if buffer.variable == STRIPED and not self._striped:
                self.problems.add(position, f"${STRIPED} needs a striped buffer: {self._how_to_stripe()}")
            elif buffer.variable != STRIPED and buffer.variable not in self._variables:
                what = f"no line of this script attaches {shown('$' + buffer.variable)}"
                self.problems.add(position, f"{what}: add #DW persistentdw name=NAME")
        if not (self._striped or self._variables):
            for position in self._lists:
                self.problems.add(position, f"staging needs a buffer: {self._how_to_stripe()}, or #DW persistentdw name=NAME")

    def _how_to_stripe(self) -> str:
        if self._has_job_buffer:
            return "write access_mode=striped,private on its jobdw line"
        return "add #DW jobdw capacity=SIZE access_mode=striped"
