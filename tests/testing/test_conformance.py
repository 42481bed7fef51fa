"""The conformance kit: a right provider passes every check, a wrong one fails just those that are meant for it."""

from __future__ import annotations

from collections import Counter

import pytest

from dacc_core.testing.conformance.checks import checks_of
from dacc_core.testing.conformance.suite import GROUPS

from . import wrong_links, wrong_manners, wrong_mounts, wrong_volumes  # noqa: F401 - they fill WRONG
from .judge import judge
from .shelf import ShelfProvider, ShelfSettings
from .wrong import WRONG


def test_a_right_provider_passes_every_check() -> None:
    verdict = judge(lambda: ShelfProvider(ShelfSettings()))

    assert verdict.failed == {}
    assert verdict.not_reached == {}
    assert verdict.not_made == {}


def test_no_check_hides_another_one_of_the_same_name() -> None:
    names = Counter(name for group in GROUPS for name in checks_of(group))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda cls: cls.__name__)
def test_a_wrong_provider_fails_the_checks_that_are_meant_for_it_and_no_other(wrong: type[ShelfProvider]) -> None:
    verdict = judge(lambda: wrong(ShelfSettings()))

    assert {**verdict.failed, **verdict.not_reached}.keys() == WRONG[wrong], (verdict.failed, verdict.not_reached)
    assert verdict.failed


def test_every_check_is_one_that_some_wrong_provider_fails() -> None:
    checks = {name.removeprefix("test_") for group in GROUPS for name in checks_of(group)}
    assert checks == frozenset().union(*WRONG.values())
