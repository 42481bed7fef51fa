"""Everything that the author of a provider imports (provisional until version 1.0)."""

from ..errors import (
    AlreadyExists,
    Busy,
    Cancelled,
    DaccError,
    HostUnreachable,
    InvalidRequest,
    NoSpace,
    NotFound,
    ProviderBug,
    Unavailable,
    Unsupported,
)
from ..model import Brick, BrickRef, Progress, Volume
from .context import CancelToken, Context, Deadline
from .hookspecs import hookimpl, hookspec
from .hosts import Argv, CommandResult, HostRunner
from .provider import API_VERSION, Capabilities, Provider, RestoreProvider, SwapProvider, UsageProvider
from .requests import (
    MAX_STATE_BYTES,
    CheckHost,
    Create,
    Created,
    Delete,
    Mount,
    PerHost,
    Role,
    Swap,
    Unmount,
)

__all__ = [
    "API_VERSION",
    "MAX_STATE_BYTES",
    "AlreadyExists",
    "Argv",
    "Brick",
    "BrickRef",
    "Busy",
    "CancelToken",
    "Cancelled",
    "Capabilities",
    "CheckHost",
    "CommandResult",
    "Context",
    "Create",
    "Created",
    "DaccError",
    "Deadline",
    "Delete",
    "HostRunner",
    "HostUnreachable",
    "InvalidRequest",
    "Mount",
    "NoSpace",
    "NotFound",
    "PerHost",
    "Progress",
    "Provider",
    "ProviderBug",
    "RestoreProvider",
    "Role",
    "Swap",
    "SwapProvider",
    "Unavailable",
    "Unmount",
    "Unsupported",
    "UsageProvider",
    "Volume",
    "hookimpl",
    "hookspec",
]
