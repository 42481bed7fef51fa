"""Is a brick host fit?"""

from __future__ import annotations

from ....sdk import Unavailable
from ..kit import Kit
from ..outcomes import expect
from ..runners import Unreachable
from .group import CheckGroup


class HostChecks(CheckGroup):
    """``check_host``. It only looks, so these checks are made on hosts in use too."""

    title = "host check"
    destructive = False

    def test_a_fit_host_passes(self, kit: Kit) -> None:
        """On a brick host that is in order, ``check_host`` raises nothing."""
        kit.trial().must("check_host")

    def test_a_host_may_be_checked_ten_times(self, kit: Kit) -> None:
        """Each check has the same answer."""
        trial = kit.trial()
        trial.do("check_host")
        for _ in range(kit.repeat - 1):
            trial.must("check_host")

    def test_a_host_that_cannot_be_reached_is_unavailable(self, kit: Kit) -> None:
        """It raises ``Unavailable``, or ``HostUnreachable`` below that."""
        trial = kit.trial()
        cut_off = Unreachable(kit.scratch.runner, down=trial.volume.hosts)
        outcome = trial.outcome("check_host", trial.context(cut_off))
        if cut_off.commands:
            expect(isinstance(outcome.error, Unavailable), f"it ended with {outcome.why() or 'success'}")

    def test_a_check_changes_nothing(self, kit: Kit) -> None:
        """What it makes to try things out is gone afterwards."""
        kit.remember()
        trial = kit.trial()
        trial.do("check_host")
        kit.expect_nothing_left()
