"""The program on the hosts, sent along with each call or installed there, and the commands that it may try again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from dacc_core.sdk import Context, NodeAnswers, NodeHosts, NodeProgram, NodeResult

from .errors import codes_to_retry, error_of
from .settings import LustreSettings

PROGRAM = NodeProgram(f"{__package__}.node.program")
TITLE = "The node helper of the Lustre provider of dacc, version {version}. Made by `dacc lustre helper`; do not edit."
RETRY_WAIT = 1.0
Shape = TypeVar("Shape", bound=NodeResult)


def installable(version: str) -> str:
    """The program as a file to install."""
    return PROGRAM.installable(TITLE.format(version=version))


def ask(
    context: Context,
    settings: LustreSettings,
    verb: str,
    hosts: Sequence[str],
    shape: type[Shape],
    common: Mapping[str, Any],
    each: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    seconds: float,
    tries: int = 1,
) -> NodeAnswers[Shape]:
    """Do ``verb`` on each host at once. ``tries``: how often a command is tried there whose error passes."""
    installed = (*(("sudo", "-n") if settings.sudo else ()), settings.helper) if settings.helper else ()
    nodes = NodeHosts(context, PROGRAM, installed=installed, judge=error_of)
    retry = {"codes": codes_to_retry(), "tries": tries, "wait": RETRY_WAIT}
    return nodes.call(verb, hosts, shape, {**common, "retry": retry}, each, seconds=seconds + 5.0)
