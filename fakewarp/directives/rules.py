"""The grammar as data: each command with its prefix and its options.

Which options Slurm reads itself comes from ``_parse_bb_opts`` and ``_get_bb_job`` of burst_buffer_datawarp.c. It
looks for ``key=`` anywhere in the line and takes what follows up to a space, so such an option must be unquoted,
come first of its kind, and not be followed by a tab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dacc_core.names import check_buffer, check_pool
from dacc_core.sizes import parse_amount, parse_size
from fakewarp.directives import values


@dataclass(frozen=True, slots=True)
class Option:
    """``name=value``. ``check`` turns the text into a value or raises an ``InvalidRequest``.

    ``same_as`` names the option of which this is another spelling. ``recounted``: when Slurm reads a wrong
    amount, the answer to ``real_size`` corrects it, so a tab after the value is no reason to refuse it.
    """

    name: str
    check: Callable[[str], object] = values.anything
    required: bool = False
    slurm: bool = False
    recounted: bool = False
    ignored: bool = False
    same_as: str = ""

    @property
    def key(self) -> str:
        """The option's name among a directive's values."""
        return self.same_as or self.name


@dataclass(frozen=True, slots=True)
class DirectiveCommand:
    """``#DW name …`` or ``#BB name …``. ``argument`` is a value without a name, ``flags`` are words alone."""

    name: str
    prefix: str
    options: tuple[Option, ...]
    argument: Option | None = None
    flags: tuple[str, ...] = ()
    why_prefix: str = ""

    def option(self, name: str) -> Option | None:
        """The option of that name."""
        return next((option for option in self.options if option.name == name), None)

    @property
    def usage(self) -> str:
        """What may follow the command, for messages."""
        return ", ".join([f"{option.name}=" for option in self.options] + list(self.flags))


_ONLY_DW = "Slurm passes over it on a #BB line"
_ONLY_BB = "Slurm refuses it on a #DW line with a permission error"

_JOB_MODIFIERS = (
    "modified_threshold",
    "optimization_strategy",
    "pfs",
    "read_ahead",
    "sync_on_close",
    "sync_to_pfs",
    "write_window_length",
    "write_window_multiplier",
)

_STAGE = (
    Option("source", required=True),
    Option("destination"),
    Option("type", values.stage_kind, required=True),
    Option("tolerate_errors", values.yes_or_no, ignored=True),
)

_COMMANDS = (
    DirectiveCommand(
        "jobdw",
        "#DW",
        (
            Option("capacity", parse_amount, required=True, slurm=True, recounted=True),
            Option("pool", check_pool, slurm=True),
            Option("type", values.storage_type),
            Option("access_mode", values.access_modes),
            Option("access", values.access_modes, same_as="access_mode"),
            *(Option(name, ignored=True) for name in _JOB_MODIFIERS),
        ),
        why_prefix=_ONLY_DW,
    ),
    DirectiveCommand("persistentdw", "#DW", (Option("name", check_buffer, required=True, slurm=True),), why_prefix=_ONLY_DW),
    DirectiveCommand(
        "swap",
        "#DW",
        (Option("pool", check_pool, slurm=True),),
        argument=Option("size", values.swap, required=True),
        why_prefix=_ONLY_DW,
    ),
    DirectiveCommand("stage_in", "#DW", _STAGE, why_prefix=_ONLY_DW),
    DirectiveCommand("stage_out", "#DW", _STAGE, why_prefix=_ONLY_DW),
    DirectiveCommand(
        "create_persistent",
        "#BB",
        (
            Option("name", check_buffer, required=True, slurm=True),
            # Not in granules: Slurm hands this on as bytes, with a mark in the number that means granules.
            Option("capacity", parse_size, required=True, slurm=True),
            Option("pool", check_pool, slurm=True),
            Option("type", values.storage_type, slurm=True),
            Option("access_mode", values.persistent_access, slurm=True),
            Option("access", values.persistent_access, slurm=True, same_as="access_mode"),
            Option("group", values.not_yet),
            Option("mode", values.not_yet),
        ),
        why_prefix=_ONLY_BB,
    ),
    DirectiveCommand(
        "destroy_persistent",
        "#BB",
        (Option("name", check_buffer, required=True, slurm=True),),
        flags=("hurry",),
        why_prefix=_ONLY_BB,
    ),
)

COMMANDS = {command.name: command for command in _COMMANDS}
