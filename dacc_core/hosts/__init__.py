"""Host runners: how commands reach hosts, and how an older generation's commands are ended there."""

from .base import FencedRunner, FencingRunner
from .local import LocalRunner
from .recorder import Call, RecorderRunner

__all__ = ["Call", "FencedRunner", "FencingRunner", "LocalRunner", "RecorderRunner"]
