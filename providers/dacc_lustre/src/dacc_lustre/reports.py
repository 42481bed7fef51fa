"""The shapes of what verbs answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from dacc_core.sdk import ByteCount, NodeResult

Name = Annotated[str, msgspec.Meta(max_length=128)]
"""What is kept in the state of a volume, which has its bounds."""


class SliceReport(NodeResult, frozen=True):
    """A partition of a brick."""

    device: str
    path: str
    kind: str
    partuuid: Name
    label: str
    content: str
    mounted: list[str]
    size: ByteCount


class HostReport(NodeResult, frozen=True):
    """The facts of a host."""

    missing: list[str]
    slices: list[SliceReport]
    running: list[str]
    mgt: SliceReport | None
    nids: Annotated[list[Name], msgspec.Meta(max_length=64)]
    resolved: dict[str, list[Name]]
    health: str
    boot: str


class FitnessReport(HostReport, frozen=True):
    """The facts of a host, and what an operator has to know."""

    version: str
    omni_path: bool
    tuning: dict[str, str]
    errors: list[str]


class RoomReport(NodeResult, frozen=True):
    """How full a filesystem is."""

    capacity: ByteCount
    used: ByteCount


class EvictedClients(NodeResult, frozen=True):
    """The NIDs of clients that were dropped."""

    evicted: list[str]


class DiskReport(NodeResult, frozen=True):
    """What is or was done with a disk."""

    disk: str
    state: str
    refused: str
    commands: list[list[str]]


class PreparedDisks(NodeResult, frozen=True):
    """What is or was done with the disks of a host."""

    disks: list[DiskReport]


SHAPES: Mapping[str, type[NodeResult]] = {"settle": RoomReport, "whole": RoomReport}
"""The results of those verbs of a plan that have one."""
