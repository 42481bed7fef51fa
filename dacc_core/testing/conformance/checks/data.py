"""What a job writes."""

from __future__ import annotations

from ..kit import Kit
from ..outcomes import NotPossible, expect
from .group import CheckGroup

ENOUGH = 1 << 30
"""A volume beyond this many bytes is not filled to see whether its capacity is enforced."""


class DataChecks(CheckGroup):
    """What a job writes, and who may."""

    title = "data"

    def test_what_one_host_writes_the_others_read(self, kit: Kit) -> None:
        """All hosts have the same ``global``."""
        kit.need_hosts(2)
        trial = kit.ready("unmount")
        trial.put(b"from the first")
        for host in trial.hosts[1:]:
            expect(trial.content(host) == b"from the first", f"{host} does not read what {trial.hosts[0]} wrote")

    def test_data_is_there_at_the_next_mount(self, kit: Kit) -> None:
        """Unmounting and mounting change no data."""
        trial = kit.ready("unmount")
        trial.put()
        trial.do("unmount")
        trial.do("mount")
        expect(trial.content() == b"the data of a job\n", "the data is gone after unmount and mount")

    def test_global_belongs_to_the_owner(self, kit: Kit) -> None:
        """``global`` has the owner, the group and the mode of the request."""
        trial = kit.trial()
        trial.do("create", mode=0o750)
        trial.do("mount", mode=0o750)
        found = kit.scratch.ownership(trial.hosts[0], f"{trial.path}/global")
        wanted = (kit.scratch.owner, kit.scratch.group, 0o750)
        expect(found == wanted, "global has owner {}:{} and mode {:o}".format(*found) + ", not {}:{} and {:o}".format(*wanted))

    def test_the_capacity_is_enforced(self, kit: Kit) -> None:
        """A write beyond the capacity fails (where ``capacity_enforced`` is declared)."""
        kit.need("capacity_enforced")
        trial = kit.ready("unmount")
        if trial.capacity > ENOUGH:
            raise NotPossible(f"bricks with volumes of at most {ENOUGH} bytes")
        beyond = trial.capacity + trial.capacity // 4
        fits = kit.scratch.fill(trial.hosts[0], trial.file("large"), beyond)
        expect(not fits, f"{beyond} bytes fit into a volume of {trial.capacity}")
