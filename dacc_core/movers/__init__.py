"""Movers: copy a session's data in and out of its buffers, as its user."""

from .base import CopyOrder, CopyReport, Mover
from .rsync import RsyncMover

__all__ = ["CopyOrder", "CopyReport", "Mover", "RsyncMover"]
