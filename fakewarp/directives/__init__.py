"""The ``#DW`` and ``#BB`` lines of a job script, read as Slurm reads them and checked as Slurm does not.

:func:`parse_script` gives :class:`Directives`, or one :class:`~dacc_core.errors.BadDirectives` with every problem
of the script. :func:`check_pools` adds what only the state of the system can tell.
"""

from fakewarp.directives.check import PoolSize, check_pools
from fakewarp.directives.model import CreateBuffer, DestroyBuffer, Directives
from fakewarp.directives.parser import parse_script
from fakewarp.directives.problems import ScriptPosition

__all__ = [
    "CreateBuffer",
    "DestroyBuffer",
    "Directives",
    "PoolSize",
    "ScriptPosition",
    "check_pools",
    "parse_script",
]
