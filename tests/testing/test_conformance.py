"""The conformance kit: a right provider passes every check."""

from __future__ import annotations

from collections import Counter

from dacc_core.testing.conformance.checks import checks_of
from dacc_core.testing.conformance.suite import GROUPS

from .judge import judge
from .shelf import ShelfProvider, ShelfSettings


def test_a_right_provider_passes_every_check() -> None:
    verdict = judge(lambda: ShelfProvider(ShelfSettings()))

    assert verdict.failed == {}
    assert verdict.not_reached == {}
    assert verdict.not_made == {}


def test_no_check_hides_another_one_of_the_same_name() -> None:
    names = Counter(name for group in GROUPS for name in checks_of(group))
    assert [name for name, count in names.items() if count > 1] == []
