"""What the state of the system says about a script: its pools exist, and its buffers can fit into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dacc_core.sizes import format_exact
from fakewarp.directives.model import Directives
from fakewarp.directives.problems import Problems, ScriptPosition, shown

_START = ScriptPosition(1, 1)
_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class PoolSize:
    """A pool: the bytes of one brick, and how many bricks it has, used ones included."""

    granularity: int
    bricks: int


def check_pools(directives: Directives, pools: Mapping[str, PoolSize], default_pool: str) -> None:
    """Refuse a pool that does not exist, and a buffer larger than all of its pool.

    So is a capacity in units of the pool, which Slurm gets wrong.

    Swap counts for one node, since the number of nodes is not known at submit. A pool that is only full now is
    no problem: the job waits. Raises :class:`~dacc_core.errors.BadDirectives`.
    """
    checker = _Checker(directives, pools, default_pool)
    checker.job()
    checker.creates()
    checker.problems.check()


class _Checker:
    def __init__(self, directives: Directives, pools: Mapping[str, PoolSize], default_pool: str) -> None:
        self.problems = Problems()
        self._directives = directives
        self._pools = pools
        self._default = default_pool

    def job(self) -> None:
        """The job's own buffer, with its swap, which Slurm charges to the same pool."""
        job = self._directives
        size = job.capacity + job.swap
        if not size and not job.granules:
            return
        pool = self._pool(job.pool, self._position("pool", "capacity", "swap"))
        if job.swap_pool and job.swap_pool != job.pool:
            self._pool(job.swap_pool, self._position("swap"))
        if pool and job.granules:
            self._units(pool, size)
        elif pool:
            self._fits(job.pool or self._default, pool, size, self._position("capacity", "swap"))

    def _units(self, pool: PoolSize, size: int) -> None:
        # Slurm's bb_get_size_num marks a number of units with a bit of the number itself, and its rounding then makes 1 PiB of
        # that: seen with 22.05.8, whose setup gets --capacity POOL:1PiB for a job of 1N.
        instead = format_exact(size + self._directives.granules * pool.granularity)
        self.problems.add(self._position("capacity"), f"Slurm takes a number of units for petabytes: write capacity={instead}")

    def creates(self) -> None:
        """The persistent buffers, each for itself: one that exists already needs no room."""
        for buffer in self._directives.creates:
            position = self._position(f"create {buffer.name}")
            if pool := self._pool(buffer.pool, position):
                self._fits(buffer.pool or self._default, pool, buffer.capacity, position)

    def _position(self, *keys: str) -> ScriptPosition:
        return next((self._directives.positions[key] for key in keys if key in self._directives.positions), _START)

    def _pool(self, name: str, position: ScriptPosition) -> PoolSize | None:
        pool = self._pools.get(name or self._default)
        if pool is None:
            what = f"pool {shown(name)}" if name else f"the default pool {shown(self._default)}"
            self.problems.add(position, f"{what} does not exist: {self._hint()}")
        return pool

    def _hint(self) -> str:
        names = sorted(self._pools)
        if not names:
            return "no storage node has registered a pool yet: ask an operator"
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        return f"write pool= with one of {', '.join(map(shown, names[:_MAX_NAMED]))}{more}"

    def _fits(self, name: str, pool: PoolSize, size: int, position: ScriptPosition) -> None:
        needed = -(-size // pool.granularity)
        if needed > pool.bricks:
            total = format_exact(pool.granularity * pool.bricks)
            have = f"pool {shown(name)} has {pool.bricks} in all"
            text = f"this needs {needed} bricks of {format_exact(pool.granularity)} and {have}: ask for at most {total}"
            self.problems.add(position, text)
