"""Optional operations: usage, restore, private directories, swap."""

from __future__ import annotations

from ....sdk import Unsupported
from ..kit import Kit
from ..outcomes import NotDeclared, expect
from .group import CheckGroup

MIB = 1 << 20


class UsageChecks(CheckGroup):
    """``usage``, of a provider that has it."""

    title = "usage"
    needs = "usage"

    def test_usage_is_capacity_and_used(self, kit: Kit) -> None:
        """``{"capacity": bytes, "used": bytes}``, whole numbers, ten times over."""
        trial = kit.ready("usage")
        for _ in range(kit.repeat):
            found = trial.must("usage").result
            right = set(found) == {"capacity", "used"} and all(type(value) is int and value >= 0 for value in found.values())
            expect(right, f"it returned {found!r}")

    def test_usage_grows_with_what_is_written(self, kit: Kit) -> None:
        """4 MiB more in a file are about 4 MiB more in ``used``, at once."""
        trial = kit.ready("unmount")
        trial.do("unmount")
        before = trial.must("usage").result["used"]
        trial.do("mount")
        trial.put(bytes(range(256)) * (4 * MIB // 256))
        trial.do("unmount")
        after = trial.must("usage").result["used"]
        expect(after - before >= 3 * MIB, f"used was {before} bytes, and after 4 MiB were written {after}")


class RestoreChecks(CheckGroup):
    """``restore``, of a provider that has it."""

    title = "restore"
    needs = "restore"

    def test_restore_keeps_the_data(self, kit: Kit) -> None:
        """Ten times over, and the volume can be mounted."""
        trial = kit.ready("unmount")
        trial.put()
        trial.do("unmount")
        for _ in range(kit.repeat):
            trial.must("restore")
        trial.must("mount")
        expect(trial.content() == b"the data of a job\n", "the data is gone after restore")

    def test_a_volume_that_does_not_exist_is_not_restored(self, kit: Kit) -> None:
        """Restoring never makes an empty volume in the place of a lost one."""
        trial = kit.ready("restore")
        trial.do("delete")
        expect(not trial.outcome("restore").ok, "restore of a deleted volume reports success")


class PrivateChecks(CheckGroup):
    """Private directories, of a provider that does not refuse them with ``Unsupported``."""

    title = "private directories"

    def test_each_host_has_a_private_directory_behind_the_link(self, kit: Kit) -> None:
        """``link`` leads to ``private/<host>``, where a file of one host is not one of the others."""
        trial = kit.ready("mount")
        trial.mount_private()
        for host in trial.hosts:
            expect(kit.scratch.write(host, f"{trial.link}/mine", host.encode()), f"{trial.link} cannot be written on {host}")
        for host in trial.hosts:
            found = kit.scratch.read(host, f"{trial.path}/private/{host}/mine")
            expect(found == host.encode(), f"what {host} wrote through {trial.link} is not in private/{host}")

    def test_a_private_directory_belongs_to_the_owner(self, kit: Kit) -> None:
        """It has the owner, the group and the mode of the request."""
        trial = kit.ready("mount")
        trial.mount_private()
        found = kit.scratch.ownership(trial.hosts[0], f"{trial.path}/private/{trial.hosts[0]}")
        wanted = (kit.scratch.owner, kit.scratch.group, 0o700)
        expect(found == wanted, "it has owner {}:{} and mode {:o}".format(*found) + ", not {}:{} and {:o}".format(*wanted))

    def test_unmount_takes_the_private_link_away(self, kit: Kit) -> None:
        """``unmount`` gets the link's path."""
        trial = kit.ready("mount")
        trial.mount_private()
        trial.do("unmount", link=trial.link)
        expect(not (still := trial.still_there(trial.link)), f"the link is still there on {', '.join(still)}")


class SwapChecks(CheckGroup):
    """``swap_on`` and ``swap_off``, where ``swap`` is declared."""

    title = "swap"
    needs = "swap"

    def test_each_host_gets_swap_and_loses_it(self, kit: Kit) -> None:
        """After ``swap_on`` each host swaps to a file of its own, after ``swap_off`` no more."""
        trial = kit.ready("swap_on")
        trial.must("swap_on")
        without = [host for host in trial.hosts if not kit.scratch.has_swap(host, trial.path)]
        expect(not without, f"swap_on succeeded, and there is no swap on {', '.join(without)}")
        trial.must("swap_off")
        still = [host for host in trial.hosts if kit.scratch.has_swap(host, trial.path)]
        expect(not still, f"swap_off succeeded, and there is still swap on {', '.join(still)}")

    def test_swap_on_and_off_succeed_ten_times(self, kit: Kit) -> None:
        """What is on is on, and what is off is off."""
        trial = kit.ready("swap_off")
        for call in ("swap_on", "swap_off"):
            for _ in range(kit.repeat):
                trial.must(call)


class UndeclaredChecks(CheckGroup):
    """Operations that a provider does not declare."""

    title = "undeclared operations"

    def test_swap_that_is_not_declared_is_refused(self, kit: Kit) -> None:
        """Without the capability there are no methods ``swap_on`` and ``swap_off``, or they fail with ``Unsupported``."""
        if kit.capabilities.swap or not hasattr(kit.provider, "swap_on"):
            return
        trial = kit.ready("swap_on")
        outcome = trial.outcome("swap_on")
        refused = outcome.errors and all(isinstance(error, Unsupported) for error in outcome.errors)
        expect(refused, f"swap is not declared, and swap_on ended with {outcome.why() or 'success'}")

    def test_private_directories_are_made_or_refused(self, kit: Kit) -> None:
        """A provider that has none fails with ``Unsupported``; it never mounts without them and reports success."""
        trial = kit.ready("mount")
        try:
            trial.mount_private()
        except NotDeclared:
            return
        missing = [host for host in trial.hosts if not kit.scratch.is_mounted(host, trial.link)]
        expect(not missing, f"mount with private directories succeeded, and there is no {trial.link} on {', '.join(missing)}")
