"""Movers: copy a session's data in and out of its buffers, as its user."""

from .base import CopyOrder, CopyReport, Mover, Root
from .rsync import RsyncMover

__all__ = ["CopyOrder", "CopyReport", "Mover", "Root", "RsyncMover"]
