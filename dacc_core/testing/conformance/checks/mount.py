"""Mounting and unmounting."""

from __future__ import annotations

from ....sdk import PerHost
from ..kit import Kit, Trial
from ..outcomes import NotReached, expect
from ..runners import Tap, Unreachable
from .group import CheckGroup


def answers(trial: Trial, call: str) -> set[str]:
    """The hosts that a call's result names, having been asked for the first one."""
    result = trial.outcome(call, hosts=trial.hosts[:1]).result
    if not isinstance(result, PerHost):
        raise NotReached(f"not reached, since {call} returned {result!r}, not PerHost")
    return set(result.hosts)


def named(trial: Trial, call: str) -> None:
    """Expect a result that names every host."""
    outcome = trial.outcome(call)
    result = outcome.result
    expect(isinstance(result, PerHost), f"{call} returned {result!r}, not PerHost; {outcome.why()}")
    missing = [host for host in trial.hosts if host not in result.hosts]
    expect(not missing, f"the result says nothing about {', '.join(missing)}")


def bad_host(kit: Kit, call: str) -> None:
    """Expect that one host that cannot be reached does not hide the others."""
    kit.need_hosts(2)
    trial = kit.ready(call)
    good, bad = trial.hosts[0], trial.hosts[-1]
    cut_off = Unreachable(kit.scratch.runner, down=(bad,))
    outcome = trial.outcome(call, trial.context(cut_off))
    if bad not in cut_off.touched:
        return
    expect(outcome.error is None, f"{call} raised for all hosts: {outcome.why()}")
    result = outcome.result
    expect(isinstance(result, PerHost) and result.hosts.get(bad), f"{call} reports success for {bad}, which cannot be reached")
    expect(result.hosts.get(good) is None, f"{call} failed on {good} as well: {result.hosts.get(good)}")


class MountChecks(CheckGroup):
    """``mount``."""

    title = "mount"

    def test_the_volume_is_there_on_each_host(self, kit: Kit) -> None:
        """Where it reports success, ``path/global`` is a directory."""
        trial = kit.ready("mount")
        trial.must("mount")
        expect(not (missing := trial.not_there()), f"mount succeeded, and there is no {trial.path}/global on {', '.join(missing)}")

    def test_mount_answers_for_each_host(self, kit: Kit) -> None:
        """The result is a ``PerHost`` that names every host it was asked for."""
        named(kit.ready("mount"), "mount")

    def test_mount_answers_for_no_other_host(self, kit: Kit) -> None:
        """The result names no host that it was not asked for."""
        trial = kit.ready("mount")
        more = answers(trial, "mount") - set(trial.hosts[:1])
        expect(not more, f"mount was asked for {trial.hosts[0]} and answers for {', '.join(sorted(more))}")

    def test_other_hosts_are_not_touched(self, kit: Kit) -> None:
        """Commands run on the hosts that were asked for and on the brick hosts, nowhere else."""
        kit.need_hosts(2)
        trial, tap = kit.ready("mount"), Tap(kit.scratch.runner)
        trial.outcome("mount", trial.context(tap), hosts=trial.hosts[:1])
        more = set(tap.touched) - {trial.hosts[0], *trial.volume.hosts}
        expect(not more, f"mount on {trial.hosts[0]} ran commands on {', '.join(sorted(more))}")

    def test_mount_on_one_bad_host_does_not_hide_the_others(self, kit: Kit) -> None:
        """A host that cannot be reached has its error in the result; the others are mounted."""
        bad_host(kit, "mount")

    def test_mounting_what_is_mounted_succeeds_ten_times(self, kit: Kit) -> None:
        """And is one mount: a single unmount undoes it."""
        trial = kit.ready("unmount")
        for _ in range(kit.repeat - 1):
            trial.must("mount")
        trial.do("unmount")
        expect(not (still := trial.still_there()), f"after one unmount something is still mounted on {', '.join(still)}")

    def test_a_volume_that_does_not_exist_cannot_be_mounted(self, kit: Kit) -> None:
        """It is an error on each host, so that no job runs without its buffer."""
        trial = kit.ready("mount")
        trial.do("delete")
        outcome = trial.outcome("mount")
        wrong = [host for host, error in outcome.result.hosts.items() if error is None] if isinstance(outcome.result, PerHost) else []
        expect(outcome.errors and not wrong, f"mount of a deleted volume reports success on {', '.join(wrong) or 'all hosts'}")

    def test_a_path_that_another_volume_has_stays_its_own(self, kit: Kit) -> None:
        """Nothing is mounted over, or instead of, another session's volume: it is an error."""
        kit.need_bricks(2)
        first, *rest = kit.scratch.bricks
        other = kit.ready("unmount", [first])
        other.put()
        trial = kit.ready("mount", rest)
        outcome = trial.outcome("mount", path=other.path, hosts=other.hosts[:1])
        expect(not outcome.ok, f"mount reports success at {other.path}, where another volume is mounted")
        expect(other.content() is not None, f"{other.path} no longer leads to the volume that was mounted there")

    def test_mounts_are_nodev_and_nosuid(self, kit: Kit) -> None:
        """The mount table shows these options (where ``path`` is a mount, not a symbolic link)."""
        trial = kit.ready("unmount")
        trial.need_mount()
        options = kit.scratch.mount_options(trial.hosts[0], trial.path)
        expect({"nodev", "nosuid"} <= options, f"{trial.path} is mounted with {','.join(sorted(options)) or 'nothing'}")

    def test_a_read_only_mount_refuses_to_be_written(self, kit: Kit) -> None:
        """``read_only`` is what data is copied out from (where ``path`` is a mount, not a symbolic link)."""
        trial = kit.ready("mount")
        trial.do("mount", read_only=True)
        trial.need_mount()
        expect(not kit.scratch.write(trial.hosts[0], trial.file(), b"x"), "a file can be written on a read-only mount")

    def test_a_mover_has_a_mount_of_its_own(self, kit: Kit) -> None:
        """Role ``mover`` mounts on one host at a path of its own, and an unmount takes that away."""
        trial = kit.ready("mount")
        where = {"hosts": trial.hosts[:1], "path": trial.mover_path, "role": "mover"}
        trial.must("mount", **where)
        expect(not trial.not_there(trial.mover_path, trial.hosts[:1]), f"there is no {trial.mover_path}/global")
        trial.must("unmount", **where)
        expect(not trial.still_there(trial.mover_path, trial.hosts[:1]), f"something is still mounted at {trial.mover_path}")


class UnmountChecks(CheckGroup):
    """``unmount``."""

    title = "unmount"

    def test_nothing_is_left_at_the_path(self, kit: Kit) -> None:
        """Where it reports success, nothing is mounted or linked at ``path``."""
        trial = kit.ready("unmount")
        trial.must("unmount")
        expect(not (still := trial.still_there()), f"unmount succeeded, and something is still mounted on {', '.join(still)}")

    def test_unmount_answers_for_each_host(self, kit: Kit) -> None:
        """The result is a ``PerHost`` that names every host it was asked for."""
        named(kit.ready("unmount"), "unmount")

    def test_unmount_answers_for_no_other_host(self, kit: Kit) -> None:
        """The result names no host that it was not asked for."""
        trial = kit.ready("unmount")
        more = answers(trial, "unmount") - set(trial.hosts[:1])
        expect(not more, f"unmount was asked for {trial.hosts[0]} and answers for {', '.join(sorted(more))}")

    def test_other_hosts_keep_their_mounts(self, kit: Kit) -> None:
        """Only the hosts that it was asked for lose theirs."""
        kit.need_hosts(2)
        trial = kit.ready("unmount")
        trial.do("unmount", hosts=trial.hosts[:1])
        expect(not (lost := trial.not_there(hosts=trial.hosts[1:])), f"{', '.join(lost)} lost the mount as well")

    def test_unmount_on_one_bad_host_does_not_hide_the_others(self, kit: Kit) -> None:
        """A host that cannot be reached has its error in the result; the others are unmounted."""
        bad_host(kit, "unmount")

    def test_unmounting_what_is_unmounted_succeeds_ten_times(self, kit: Kit) -> None:
        """What is not mounted is unmounted already."""
        trial = kit.ready("unmount")
        trial.do("unmount")
        for _ in range(kit.repeat - 1):
            trial.must("unmount")

    def test_unmounting_what_was_never_mounted_succeeds(self, kit: Kit) -> None:
        """dacc unmounts wherever it began to mount."""
        kit.ready("mount").must("unmount")

    def test_a_mount_in_use_is_not_reported_as_gone(self, kit: Kit) -> None:
        """While a process uses it, unmount fails, or really unmounts (where ``path`` is a mount, not a symbolic link)."""
        trial = kit.ready("unmount")
        trial.need_mount()
        host = trial.hosts[0]
        with kit.scratch.hold(host, f"{trial.path}/global"):
            outcome = trial.outcome("unmount", hosts=(host,))
            still = trial.still_there(hosts=(host,))
        expect(not (outcome.ok and still), "unmount reports success while the volume is still mounted")
