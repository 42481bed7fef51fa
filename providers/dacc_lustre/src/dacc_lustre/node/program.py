"""The program that hosts get: all verbs of the provider."""

from .check import check
from .client import evict, mount_filesystem, unmount_filesystem
from .devices import probe
from .nodemap import nodemap
from .prepare import prepare
from .settle import private, settle, usage, whole
from .swap import swap_off, swap_on
from .targets import format_targets, mgs_erase, mgs_start, start_targets, stop_targets, tune, wipe_targets

__all__ = [
    "check",
    "evict",
    "format_targets",
    "mgs_erase",
    "mgs_start",
    "mount_filesystem",
    "nodemap",
    "prepare",
    "private",
    "probe",
    "settle",
    "start_targets",
    "stop_targets",
    "swap_off",
    "swap_on",
    "tune",
    "unmount_filesystem",
    "usage",
    "whole",
    "wipe_targets",
]
