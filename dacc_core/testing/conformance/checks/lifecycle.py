"""A volume's whole life, as dacc leads it."""

from __future__ import annotations

from ..kit import Kit
from ..outcomes import expect
from .group import CheckGroup
from .plain import plain


class LifecycleChecks(CheckGroup):
    """From create to delete, and what holds for every call."""

    title = "whole life"

    def test_a_jobs_volume(self, kit: Kit) -> None:
        """Created, filled by the mover, mounted for the job, emptied by the mover, deleted: all data goes through, nothing is left."""
        kit.remember()
        trial = kit.trial()
        mover = {"hosts": trial.hosts[:1], "path": trial.mover_path, "role": "mover"}
        trial.must("create")
        trial.must("mount", **mover)
        staged = f"{trial.mover_path}/global/staged"
        expect(kit.scratch.write(trial.hosts[0], staged, b"in"), f"{staged} cannot be written")
        trial.must("unmount", **mover)
        trial.must("mount")
        expect(trial.content(name="staged") == b"in", "what was staged in is not there for the job")
        trial.put(b"out", name="result")
        trial.must("unmount")
        trial.must("mount", read_only=True, **mover)
        expect(kit.scratch.read(trial.hosts[0], f"{trial.mover_path}/global/result") == b"out", "what the job wrote is not there")
        trial.must("unmount", **mover)
        trial.must("delete")
        kit.expect_nothing_left()

    def test_a_daemon_that_starts_anew_goes_on_with_the_state(self, kit: Kit) -> None:
        """Each call may come from another process: the request and the state are all that a provider knows."""
        trial = kit.trial()
        trial.do("create")
        for call in kit.calls()[2:]:
            trial.restart()
            trial.must(call)

    def test_no_call_changes_its_request(self, kit: Kit) -> None:
        """A request is the caller's, its state included."""
        for call in kit.calls():
            made = plain(kit, call)  # how it ends is for other checks
            expect(made.before == made.after, f"{call} changed the state in its request from {made.before!r} to {made.after!r}")

    def test_commands_run_only_on_hosts_of_the_request(self, kit: Kit) -> None:
        """A call touches the volume's brick hosts and the hosts that it was asked for."""
        for call in kit.calls():
            made = plain(kit, call)
            more = set(made.touched) - made.allowed
            expect(not more, f"{call} ran commands on {', '.join(sorted(more))}")
