"""Making a volume."""

from __future__ import annotations

import json

from ....sdk import MAX_STATE_BYTES, Created, Unavailable
from ..kit import Kit
from ..outcomes import expect, given
from ..runners import Unreachable
from .group import CheckGroup


class CreateChecks(CheckGroup):
    """``create``."""

    title = "create"

    def test_it_returns_the_capacity_that_was_asked_for(self, kit: Kit) -> None:
        """``Created.capacity`` is a whole number of bytes, at least what the volume asked for."""
        trial = kit.trial()
        created = trial.must("create").result
        expect(isinstance(created, Created), f"it returned {created!r}, not Created")
        enough = type(created.capacity) is int and created.capacity >= trial.volume.capacity
        expect(enough, f"the capacity is {created.capacity!r} and {trial.volume.capacity} were asked for")

    def test_its_state_is_a_json_object(self, kit: Kit) -> None:
        """``Created.state`` comes back from the store as it was: strings for keys, no tuples, sets, bytes or objects."""
        state = kit_state(kit)
        try:
            back = json.loads(json.dumps(state, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the state is no JSON: {error}") from error
        expect(isinstance(back, dict) and back == state, f"the state {state!r} comes back as {back!r}")

    def test_its_state_is_small(self, kit: Kit) -> None:
        """As JSON it is at most ``MAX_STATE_BYTES`` long."""
        size = len(json.dumps(kit_state(kit), default=repr, separators=(",", ":")))
        expect(size <= MAX_STATE_BYTES, f"the state is {size} bytes, more than {MAX_STATE_BYTES}")

    def test_creating_what_exists_succeeds_ten_times(self, kit: Kit) -> None:
        """A volume that is there already is as good as a new one."""
        trial = kit.ready("mount")
        for _ in range(kit.repeat - 1):
            trial.must("create")

    def test_creating_what_exists_keeps_its_data(self, kit: Kit) -> None:
        """dacc calls again when an answer was lost; nothing is formatted a second time."""
        trial = kit.ready("unmount")
        trial.put()
        trial.do("unmount")
        trial.do("create")
        trial.do("mount")
        expect(trial.content() is not None, "the data is gone after a second create")

    def test_bricks_of_another_volume_are_left_alone(self, kit: Kit) -> None:
        """Where another volume is on the bricks, creating one fails or finds room beside it: the other's data stays."""
        other = kit.ready("unmount")
        other.put()
        other.do("unmount")
        kit.trial().outcome("create")
        kept = other.outcome("mount").ok and other.content() is not None
        expect(kept, "the data of the volume that was on the bricks is gone")

    def test_create_without_one_of_its_brick_hosts_is_unavailable(self, kit: Kit) -> None:
        """It raises ``Unavailable``, or ``HostUnreachable`` below that; a volume without one of its bricks is none."""
        trial = kit.trial()
        cut_off = Unreachable(kit.scratch.runner, down=trial.volume.hosts[-1:])
        outcome = trial.outcome("create", trial.context(cut_off))
        if trial.volume.hosts[-1] in cut_off.touched:
            expect(isinstance(outcome.error, Unavailable), f"it ended with {outcome.why() or 'success'}")


def kit_state(kit: Kit) -> object:
    """What a create returned, as the provider made it."""
    trial = kit.trial()
    with given("create"):
        return trial.must("create").result.state
