"""Links that compute nodes and users plant where dacc works as root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ....sdk import ProviderBug, Unsupported
from ..kit import CallOutcome, Kit, Trial, is_error_of_sdk
from ..outcomes import NotPossible, expect, given
from ..scratch import Scratch
from .group import CheckGroup

TARGETS = ("directory", "nothing")
"""Where planted links lead, in the canary: to what is there, and to what could be made there."""

PRIVATE = ("private", "private/{host}")
TOP = ("global", "private", "swap")
"""What providers make at the root of a volume."""

ON_BRICK_HOSTS = ("create", "restore", "usage")


@dataclass(frozen=True)
class PlantedLink:
    """A link that somebody puts at a path, in the place of what is there."""

    host: str
    path: str
    target: str
    as_owner: bool = False

    def __str__(self) -> str:
        return f"a link to {self.target} was at {self.path}"


@contextmanager
def planted(trial: Trial, *links: PlantedLink) -> Iterator[bool]:
    """The links are there meanwhile, and afterwards what was there before. Whether they could be made."""
    made: list[PlantedLink] = []
    try:
        with given("planting links"):
            made += [link for link in links if trial.scratch.plant(link.host, link.path, link.target, as_owner=link.as_owner)]
        yield bool(made)
    finally:
        with given("taking planted links away"):
            for link in reversed(made):
                trial.scratch.uproot(link.host, link.path, link.target)


class Canary:
    """A directory outside of every volume that is seen to stay as it is."""

    def __init__(self, kit: Kit) -> None:
        self.scratch = kit.scratch
        self.renew()

    def renew(self) -> None:
        """What was done up to now is for other checks."""
        with given("looking at the canary"):
            self.before = self.scratch.look_at_canary()

    def expect_untouched(self, call: str, where: object) -> None:
        """Raise AssertionError unless everything about it is as before."""
        with given("looking at the canary"):
            after = self.scratch.look_at_canary()
        for host, seen in self.before.items():
            changed = [path for path in sorted({*seen, *after[host]}) if seen.get(path) != after[host].get(path)]
            expect(not changed, f"{call} changed {', '.join(changed[:4])} on {host}, while {where}")

    def expect_safe(self, call: str, outcome: CallOutcome, where: object) -> None:
        """Expect besides that a call which failed says why as the SDK has it."""
        self.expect_untouched(call, where)
        wrong = [error for error in outcome.errors if isinstance(error, ProviderBug) or not is_error_of_sdk(error)]
        expect(not wrong, f"{call} ended with {outcome.why()}, while {where}")


@contextmanager
def laid_canary(kit: Kit, trial: Trial) -> Iterator[Canary]:
    """The canary is there meanwhile. It has directories of those names that providers make: hosts, and the volume's mount points."""
    name = trial.volume.name
    try:
        with given("making the canary"):
            kit.scratch.lay_canary([*kit.scratch.hosts, f"{name}_job", f"{name}_private"])
        yield Canary(kit)
    finally:
        with given("taking the canary away"):
            kit.scratch.remove_canary()


def links_in_volume(trial: Trial, *places: str, targets: Sequence[str] = TARGETS, by_user: bool = False) -> Iterator[PlantedLink]:
    """What root on the first host, and perhaps a user there, can plant in a volume for the last one."""
    attacker, victim = trial.hosts[0], trial.hosts[-1]
    for place in places:
        path = f"{trial.path}/{place.format(host=victim)}"
        yield from (PlantedLink(attacker, path, f"{trial.scratch.outside}/{target}") for target in targets)
        if by_user:
            yield PlantedLink(attacker, path, f"{trial.scratch.outside}/directory", as_owner=True)


def swap_links(trial: Trial) -> Iterator[PlantedLink]:
    """Those in the place of swap files, or of their directory."""
    yield from links_in_volume(trial, "swap", targets=("files", "empty"))
    yield from links_in_volume(trial, "swap/{host}", targets=("secret", "nothing"))


def mount_fully(trial: Trial, **more: Any) -> CallOutcome:
    """Mount with private directories, or without where the provider has none."""
    outcome = trial.outcome("mount", **{"link": trial.link, **more, "private": True})
    if outcome.errors and all(isinstance(error, Unsupported) for error in outcome.errors):
        return trial.outcome("mount", **{name: value for name, value in more.items() if name != "link"})
    return outcome


def mounted_by_attacker(kit: Kit) -> Trial:
    """A volume that the first host has mounted."""
    kit.need_hosts(2)
    trial = kit.ready("mount")
    trial.do("mount", hosts=trial.hosts[:1])
    return trial


def expect_private(trial: Trial, link: PlantedLink, outcome: CallOutcome) -> None:
    """Expect that a mount which reports success has made the private directory, in the volume."""
    victim, scratch = trial.hosts[-1], trial.scratch
    path = f"{trial.path}/private/{victim}"
    if not outcome.ok or not path.startswith(link.path):
        return
    try:
        owner = scratch.ownership(victim, path)[:2]
    except OSError as error:
        raise AssertionError(f"mount succeeded while {link}, and there is no {path}: {error}") from None
    expect(owner == (scratch.owner, scratch.group), f"mount succeeded while {link}, and {path} belongs to {owner[0]}:{owner[1]}")


class PlantedChecks(CheckGroup):
    """Root on a compute node puts symbolic links into a mounted volume, a user puts them where he may write.

    Hosts follow none: what a link leads to stays as it is, and nothing is made there. The call fails with an error of the SDK, or does
    its work in the right place.
    """

    title = "planted links"

    def test_mount_follows_no_link_of_another_node(self, kit: Kit) -> None:
        """At ``global``, ``private`` and ``private/<host>``; nor of a user, should he be able to put one there."""
        trial = mounted_by_attacker(kit)
        victim = trial.hosts[-1:]
        with laid_canary(kit, trial) as canary:
            for link in links_in_volume(trial, "global", *PRIVATE, by_user=True):
                with planted(trial, link) as there:
                    if not there:
                        continue
                    outcome = mount_fully(trial, hosts=victim)
                    canary.expect_safe("mount", outcome, link)
                    expect_private(trial, link, outcome)
                trial.do("unmount", hosts=victim, link=trial.link)

    def test_mounting_again_follows_no_link_of_another_node(self, kit: Kit) -> None:
        """At ``private`` and ``private/<host>``, in the place of directories that the first mount has made."""
        trial = mounted_by_attacker(kit)
        victim = trial.hosts[-1:]
        with laid_canary(kit, trial) as canary:
            for link in links_in_volume(trial, *PRIVATE, targets=TARGETS[:1]):
                expect_done("mount", mount_fully(trial, hosts=victim))
                with planted(trial, link):
                    outcome = mount_fully(trial, hosts=victim)
                    canary.expect_safe("mount", outcome, link)
                    expect_private(trial, link, outcome)
                trial.do("unmount", hosts=victim, link=trial.link)

    def test_unmount_follows_no_link_of_another_node(self, kit: Kit) -> None:
        """At ``global``, ``private`` and ``private/<host>``."""
        trial = mounted_by_attacker(kit)
        victim = trial.hosts[-1:]
        with laid_canary(kit, trial) as canary:
            for link in links_in_volume(trial, "global", *PRIVATE, targets=TARGETS[:1]):
                expect_done("mount", mount_fully(trial, hosts=victim))
                with planted(trial, link):
                    outcome = trial.outcome("unmount", hosts=victim, link=trial.link)
                    canary.expect_safe("unmount", outcome, link)
                    still = outcome.ok and trial.still_there(hosts=victim)
                    expect(not still, f"unmount succeeded while {link}, and something is still mounted")
                trial.do("unmount", hosts=victim, link=trial.link)

    def test_swap_on_follows_no_link_of_another_node(self, kit: Kit) -> None:
        """At ``swap`` and ``swap/<host>`` (where ``swap`` is declared)."""
        kit.need("swap")
        trial = mounted_by_attacker(kit)
        victim = trial.hosts[-1:]
        trial.do("mount", hosts=victim)
        with laid_canary(kit, trial) as canary:
            for link in swap_links(trial):
                with planted(trial, link):
                    canary.expect_safe("swap_on", trial.outcome("swap_on", hosts=victim), link)
                trial.do("swap_off", hosts=victim)

    def test_swap_off_follows_no_link_of_another_node(self, kit: Kit) -> None:
        """In the place of what ``swap_on`` has made (where ``swap`` is declared)."""
        kit.need("swap")
        trial = mounted_by_attacker(kit)
        victim = trial.hosts[-1:]
        trial.do("mount", hosts=victim)
        with laid_canary(kit, trial) as canary:
            for link in swap_links(trial):
                trial.do("swap_on", hosts=victim)
                with planted(trial, link):
                    canary.expect_safe("swap_off", trial.outcome("swap_off", hosts=victim), link)
                trial.do("swap_off", hosts=victim)

    def test_brick_hosts_follow_no_link_of_a_node(self, kit: Kit) -> None:
        """``create`` that is repeated, ``restore`` and ``usage``, with links at ``global``, ``private`` and ``swap``."""
        trial = mounted_by_attacker(kit)
        with laid_canary(kit, trial) as canary:
            for target in TARGETS:
                links = list(links_in_volume(trial, *TOP, targets=[target]))
                with planted(trial, *links):
                    trial.do("unmount", hosts=trial.hosts[:1])
                    canary.renew()
                    for call in [call for call in kit.calls() if call in ON_BRICK_HOSTS]:
                        canary.expect_safe(call, trial.outcome(call), links[0])
                    trial.do("mount", hosts=trial.hosts[:1])

    def test_delete_follows_no_link_of_a_node(self, kit: Kit) -> None:
        """At ``global``, ``private`` and ``swap``; the volume goes, what they lead to stays."""
        trial = mounted_by_attacker(kit)
        with laid_canary(kit, trial) as canary:
            with given("planting links"):
                for link in links_in_volume(trial, *TOP, targets=TARGETS[:1]):
                    kit.scratch.plant(link.host, link.path, link.target)
            trial.do("unmount", hosts=trial.hosts[:1])
            canary.renew()
            outcome = trial.outcome("delete")
            canary.expect_safe("delete", outcome, f"links were at {', '.join(TOP)}")
            expect(outcome.ok, f"delete failed with links at {', '.join(TOP)}: {outcome.why()}")

    def test_mount_follows_no_link_of_a_user(self, kit: Kit) -> None:
        """At the mount point, at the link and above them, in a directory of the user's and in one that is like ``/tmp``."""
        trial = kit.ready("mount")
        with laid_canary(kit, trial) as canary:
            for spot in spots_of_user(trial):
                with planted_by_user(trial, spot) as link:
                    outcome = mount_fully(trial, hosts=trial.hosts[:1], **spot.fields)
                    canary.expect_safe("mount", outcome, link)
                    missing = outcome.ok and trial.not_there(spot.fields["path"], trial.hosts[:1])
                    expect(not missing, f"mount succeeded while {link}, and the volume is not there")

    def test_unmount_follows_no_link_of_a_user(self, kit: Kit) -> None:
        """dacc unmounts wherever it began to mount."""
        trial = kit.ready("mount")
        with laid_canary(kit, trial) as canary:
            for spot in spots_of_user(trial):
                with planted_by_user(trial, spot) as link:
                    outcome = trial.outcome("unmount", None, hosts=trial.hosts[:1], **spot.fields)
                    canary.expect_safe("unmount", outcome, link)

    def test_a_volume_can_be_taken_away_when_the_links_are_gone(self, kit: Kit) -> None:
        """What failed because of them is unmounted and deleted as if they had never been there."""
        kit.remember()
        trial = mounted_by_attacker(kit)
        victim = trial.hosts[-1:]
        with laid_canary(kit, trial):
            for link in links_in_volume(trial, "global", *PRIVATE, targets=TARGETS[:1]):
                with planted(trial, link):
                    mount_fully(trial, hosts=victim)
                    trial.outcome("unmount", hosts=victim, link=trial.link)
        trial.must("unmount", link=trial.link)
        still = [*trial.still_there(), *trial.still_there(trial.link)]
        expect(not still, f"unmount succeeded, and something is still there on {', '.join(still)}")
        trial.must("delete")
        kit.expect_nothing_left()


@dataclass(frozen=True)
class UserSpot:
    """A place at which a user plants a link, and what the call is asked for that meets it."""

    folder: str
    mode: int
    of_owner: bool
    """Whether the folder, in which the user may write, is his."""

    path: str
    target: str
    fields: dict[str, str]


def spots_of_user(trial: Trial) -> Iterator[UserSpot]:
    """The mount point, the link, and the directory above each."""
    name, folder = trial.volume.name, f"{trial.scratch.mount_root}/open"
    plain = {"path": f"{folder}/{name}_job", "link": f"{folder}/{name}_private"}
    above = f"{folder}/above"
    spots = [
        (plain["path"], plain),
        (plain["link"], plain),
        (above, {**plain, "path": f"{above}/{name}_job"}),
        (above, {**plain, "link": f"{above}/{name}_private"}),
    ]
    for mode, of_owner, target in ((0o755, True, "directory"), (0o1777, False, "directory"), (0o755, True, "nothing")):
        yield from (UserSpot(folder, mode, of_owner, path, f"{trial.scratch.outside}/{target}", fields) for path, fields in spots)


@contextmanager
def planted_by_user(trial: Trial, spot: UserSpot) -> Iterator[PlantedLink]:
    """A user has put a link there, on the first host; when it is gone, what was mounted is unmounted.

    Raises NotPossible where the checks cannot act as a user.
    """
    host = trial.hosts[0]
    link = PlantedLink(host, spot.path, spot.target, as_owner=True)
    with _opened_folder(trial.scratch, host, spot):
        with planted(trial, link) as there:
            if not there:
                raise NotPossible("a mount root that users can enter")
            yield link
        trial.do("unmount", hosts=(host,), **spot.fields)


@contextmanager
def _opened_folder(scratch: Scratch, host: str, spot: UserSpot) -> Iterator[None]:
    with given("making a directory for users"):
        if not scratch.open_folder(host, spot.folder, spot.mode, of_owner=spot.of_owner):
            raise NotPossible("root on the hosts, to act as a user")
    try:
        yield
    finally:
        with given("taking a directory of users away"):
            scratch.remove_folder(host, spot.folder)


def expect_done(call: str, outcome: CallOutcome) -> None:
    """Raise NotReached unless a call that a check needs went well."""
    with given(call):
        expect(outcome.ok, outcome.why())
