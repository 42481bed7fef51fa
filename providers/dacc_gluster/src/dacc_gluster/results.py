"""The shapes of what verbs answer."""

from __future__ import annotations

from dacc_core.sdk import ByteCount, NodeResult


class PoolView(NodeResult, frozen=True):
    """The trusted pool as one host sees it, by ids."""

    own: str
    known: frozenset[str]
    """All that it knows, itself included."""

    connected: frozenset[str]
    """Those of them that it is in touch with, itself included."""


class PreparedBricks(NodeResult, frozen=True):
    """Of ``prepare``."""

    room: ByteCount
    pool: PoolView


class AttachedBricks(NodeResult, frozen=True):
    """Of ``attach``."""

    pool: PoolView


class BrickUsage(NodeResult, frozen=True):
    """Of ``usage``."""

    capacity: ByteCount
    used: ByteCount


class WithdrawnVolume(NodeResult, frozen=True):
    """Of ``withdraw``."""

    known: bool
    """Whether gluster knows the volume there."""

    why: str
    """Why it cannot say."""


class ForgottenVolume(NodeResult, frozen=True):
    """Of ``forget``."""

    forgotten: bool
    """Whether gluster has forgotten the volume, rather than marked it to be forgotten later."""
