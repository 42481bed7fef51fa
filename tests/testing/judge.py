"""Runs the conformance checks without pytest: fast, and each on hosts of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dacc_core.sdk import Provider
from dacc_core.testing.conformance.checks import checks_of
from dacc_core.testing.conformance.kit import Kit
from dacc_core.testing.conformance.outcomes import NotDeclared, NotPossible, NotReached
from dacc_core.testing.conformance.scratch import Scratch
from dacc_core.testing.conformance.suite import GROUPS, ProviderConformance

from .pretend import PretendScratch


@dataclass
class Verdict:
    """How the checks ended, by name (without ``test_``), with what they said."""

    passed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    not_reached: dict[str, str] = field(default_factory=dict)
    not_made: dict[str, str] = field(default_factory=dict)


def judge(make: Callable[[], Provider], scratch: Callable[[], Scratch] = PretendScratch) -> Verdict:
    """Make every check."""
    verdict, suite = Verdict(), ProviderConformance()
    for group in GROUPS:
        for name in checks_of(group):
            kit = Kit(make, scratch(), repeat=3)
            short = name.removeprefix("test_")
            try:
                group.prepare(kit)
                getattr(suite, name)(kit)
                verdict.passed.add(short)
            except NotReached as reason:
                verdict.not_reached[short] = str(reason)
            except (NotDeclared, NotPossible) as reason:
                verdict.not_made[short] = str(reason)
            except Exception as breach:
                verdict.failed[short] = f"{type(breach).__name__}: {breach}"
            kit.close()
    return verdict
