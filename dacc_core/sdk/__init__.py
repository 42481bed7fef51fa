"""Everything that the author of a provider imports (provisional until version 1.0)."""

from ..errors import (
    AlreadyExists,
    Busy,
    Cancelled,
    DaccError,
    HostLost,
    HostUnreachable,
    InvalidRequest,
    NoSpace,
    NotFound,
    ProviderBug,
    Unavailable,
    Unsupported,
)
from ..names import clean_text
from ..values import Brick, BrickRef, Progress, Volume
from .context import CancelToken, Context, Deadline
from .hookspecs import hookimpl, hookspec
from .hosts import Argv, Command, CommandResult, HostRunner, PerHost
from .node.call import ByteCount, FailedCommand, NodeAnswers, NodeHosts, NodeProgram, NodeResult
from .planning import PlanCreate, PlannedStep, PlanProvider
from .provider import API_VERSION, Capabilities, Provider, RestoreProvider, SwapProvider, UsageProvider
from .requests import (
    MAX_STATE_BYTES,
    CheckHost,
    Create,
    Created,
    Delete,
    Mount,
    Role,
    Swap,
    Unmount,
    VolumeRequest,
)
from .settings import AbsolutePath, Count, Seconds, Size
from .site import Site, current_site

__all__ = [
    "API_VERSION",
    "MAX_STATE_BYTES",
    "AbsolutePath",
    "AlreadyExists",
    "Argv",
    "Brick",
    "BrickRef",
    "Busy",
    "ByteCount",
    "CancelToken",
    "Cancelled",
    "Capabilities",
    "CheckHost",
    "Command",
    "CommandResult",
    "Context",
    "Count",
    "Create",
    "Created",
    "DaccError",
    "Deadline",
    "Delete",
    "FailedCommand",
    "HostLost",
    "HostRunner",
    "HostUnreachable",
    "InvalidRequest",
    "Mount",
    "NoSpace",
    "NodeAnswers",
    "NodeHosts",
    "NodeProgram",
    "NodeResult",
    "NotFound",
    "PerHost",
    "PlanCreate",
    "PlanProvider",
    "PlannedStep",
    "Progress",
    "Provider",
    "ProviderBug",
    "RestoreProvider",
    "Role",
    "Seconds",
    "Site",
    "Size",
    "Swap",
    "SwapProvider",
    "Unavailable",
    "Unmount",
    "Unsupported",
    "UsageProvider",
    "Volume",
    "VolumeRequest",
    "clean_text",
    "current_site",
    "hookimpl",
    "hookspec",
]
