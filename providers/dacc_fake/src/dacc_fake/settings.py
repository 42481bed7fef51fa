"""The section ``providers.fake`` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from dacc_core.sdk import InvalidRequest

from .faults import parse_faults

Backing = Literal["auto", "image", "directory", "none"]


@dataclass(frozen=True, kw_only=True)
class FakeSettings:
    """How volumes are kept, where they are mounted, and what goes wrong on purpose. Nonsense raises InvalidRequest."""

    backing: Backing = "auto"
    """``image``: a sparse ext4 image in the first brick's directory, mounted through a loop device (needs root; the capacity
    limit and the mounts are real).
    ``directory``: a plain directory, "mounted" as a symbolic link (no root needed, no limit).
    ``none``: no filesystem at all; every call succeeds at once and runs no command (for benchmarks).
    ``auto``: ``image`` if this process is root and has loop devices, else ``directory``."""

    root: str = ""
    """For hosts that share one mount namespace: a directory pattern such as ``/tmp/hosts/%h``; host c1 then has
    ``/mnt/dac/7_job`` at ``/tmp/hosts/c1/mnt/dac/7_job``. Empty: the real path. Hosts with mount namespaces of their own need
    none, but each must have its own directory (a tmpfs, say) at the mount root, since links there differ by host."""

    faults: tuple[Any, ...] = ()
    """What goes wrong, in this order of precedence: a list of :class:`~dacc_fake.faults.Fault`, or of mappings with its fields."""

    fault_dir: str = ""
    """A directory in which faults are counted, so that counts hold across restarts and between daemons; removing it starts anew.
    Empty: each provider object counts for itself."""

    def __post_init__(self) -> None:
        if self.backing not in get_args(Backing):
            raise InvalidRequest(why=f"backing {self.backing!r} of the fake provider: choose one of {', '.join(get_args(Backing))}")
        for name, value in (("root", self.root), ("fault_dir", self.fault_dir)):
            if value and not PurePosixPath(value).is_absolute():
                raise InvalidRequest(why=f"{name} {value!r} of the fake provider: give an absolute path")
        object.__setattr__(self, "faults", parse_faults(self.faults))
