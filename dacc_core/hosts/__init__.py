"""Host runners: how commands reach hosts, and how an older generation's commands are ended there."""

from .base import FencedRunner, FencingRunner
from .local import LocalRunner
from .recorder import RecordedCommand, RecorderRunner

__all__ = ["FencedRunner", "FencingRunner", "LocalRunner", "RecordedCommand", "RecorderRunner"]
