"""Taking a volume away."""

from __future__ import annotations

from ....sdk import Unavailable
from ..kit import Kit
from ..outcomes import expect
from ..runners import Tap, Unreachable
from .group import CheckGroup


class DeleteChecks(CheckGroup):
    """``delete``."""

    title = "delete"

    def test_delete_leaves_nothing(self, kit: Kit) -> None:
        """After create, mount, unmount and delete there is nothing on bricks and hosts that was not there before."""
        kit.remember()
        trial = kit.ready("unmount")
        trial.put()
        trial.do("unmount")
        trial.must("delete")
        kit.expect_nothing_left()

    def test_deleting_what_is_gone_succeeds_ten_times(self, kit: Kit) -> None:
        """A volume that is gone is deleted."""
        trial = kit.ready("delete")
        trial.do("delete")
        for _ in range(kit.repeat - 1):
            trial.must("delete")

    def test_deleting_what_was_never_created_succeeds(self, kit: Kit) -> None:
        """dacc deletes whatever it began to create, without a state."""
        kit.trial().must("delete")

    def test_a_volume_without_state_is_deleted(self, kit: Kit) -> None:
        """``state`` is empty when create never returned. The volume's name and bricks tell what to take away."""
        kit.remember()
        trial = kit.ready("delete")
        trial.must("delete", state={})
        kit.expect_nothing_left()

    def test_delete_leaves_data_of_other_volumes(self, kit: Kit) -> None:
        """Only what belongs to the volume goes."""
        kit.need_bricks(2)
        first, *rest = kit.scratch.bricks
        other = kit.ready("unmount", [first])
        other.put()
        kit.ready("delete", rest).do("delete")
        expect(other.content() is not None, "the data of another volume is gone")

    def test_delete_without_one_of_its_brick_hosts_is_unavailable(self, kit: Kit) -> None:
        """It raises ``Unavailable``, or ``HostUnreachable`` below that, so that the bricks are not given to the next session."""
        trial = kit.ready("delete")
        cut_off = Unreachable(kit.scratch.runner, down=trial.volume.hosts[-1:])
        outcome = trial.outcome("delete", trial.context(cut_off))
        if trial.volume.hosts[-1] in cut_off.touched:
            expect(isinstance(outcome.error, Unavailable), f"it ended with {outcome.why() or 'success'}")

    def test_hosts_that_are_gone_are_left_alone(self, kit: Kit) -> None:
        """With a brick host in ``gone``, no command is run there, and the delete succeeds on the others."""
        trial = kit.ready("delete")
        gone = trial.volume.hosts[-1:]
        tap = Tap(kit.scratch.runner)
        outcome = trial.outcome("delete", trial.context(tap), gone=gone)
        expect(outcome.ok, f"it failed: {outcome.why()}")
        expect(gone[0] not in tap.touched, f"a command was run on {gone[0]}, which is gone")
