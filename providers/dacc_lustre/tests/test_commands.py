"""``dacc lustre``: preparing drives, checking hosts, and plans, on a site in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from dacc_core.sdk import Context, Deadline, InvalidRequest, NotFound, PlanCreate, Provider, Unavailable
from lustre_site import Site

from dacc_lustre import LustreProvider, LustreSettings, fitness, narrate
from dacc_lustre.commands import lustre
from dacc_lustre.reports import FitnessReport


@dataclass
class Operator:
    """The site as ``current_site`` gives it."""

    site: Site

    def provider(self, name: str) -> Provider:
        assert name == "lustre"
        return self.site.provider

    def bricks(self, provider: str) -> Mapping[str, tuple[str, ...]]:
        return {name: tuple(host.disks) for name, host in self.site.hosts.items() if host.disks}

    def context(self, seconds: float) -> Context:
        return Context(hosts=self.site, deadline=Deadline.after(seconds))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def blank(site: Site) -> Site:
    """A site whose host b0 has drives without partitions."""
    site.hosts["b0"].slices.clear()
    return site


def dacc(site: Site, *words: str) -> Result:
    return CliRunner().invoke(lustre, list(words), obj=Operator(site))


def test_prepare_first_only_says_what_it_would_do(blank: Site) -> None:
    done = dacc(blank, "prepare", "b0")

    assert done.exit_code == 0
    assert (
        "  parted -s /dev/nvme0n1 mklabel gpt mkpart dacc-mgt 1MiB 1025MiB mkpart dacc-mdt 1025MiB 21505MiB mkpart dacc-ost 21505MiB 100%\n"
        in done.output
    )
    assert "  parted -s /dev/nvme1n1 mklabel gpt mkpart dacc-mdt 1MiB 20481MiB mkpart dacc-ost 20481MiB 100%\n" in done.output
    assert done.output.endswith("nothing was changed: call it with --yes to do this\n")
    assert not blank.commands("b0", "parted", "wipefs", "mkfs")


def test_prepare_partitions_every_drive_once_and_formats_the_mgt(blank: Site) -> None:
    host = blank.hosts["b0"]

    def parted(words: list[str]) -> tuple[int, str, str]:
        names = [words[at + 1] for at, word in enumerate(words) if word == "mkpart"]
        for number, name in enumerate(names, 1):
            uuid = f"{words[1]}-{name}"
            host.slices[f"{words[1]}p{number}"] = {"disk": words[1], "kind": name[5:], "uuid": uuid, "label": "", "type": "ext4"}
        return 0, "", ""

    def mkfs(words: list[str]) -> tuple[int, str, str]:
        host.slices[words[-1]]["label"] = "MGS"
        return 0, "", ""

    host._parted, host._mkfs_lustre, host._wipefs = parted, mkfs, lambda words: (0, "", "")  # type: ignore[method-assign, attr-defined]

    done, again = dacc(blank, "prepare", "b0", "--yes"), dacc(blank, "prepare", "b0", "--yes")

    assert (done.exit_code, again.exit_code) == (0, 0)
    assert done.output == again.output == "b0:/dev/nvme0n1: ready\nb0:/dev/nvme1n1: ready\n"
    assert len(blank.commands("b0", "parted")) == 2
    assert blank.commands("b0", "mkfs") == ["mkfs.lustre --mgs /dev/nvme0n1p1"]


def test_prepare_leaves_what_is_prepared_alone(site: Site) -> None:
    done = dacc(site, "prepare", "b0", "--yes")

    assert done.output == "b0:/dev/nvme0n1: ready\nb0:/dev/nvme1n1: ready\n"
    assert not site.commands("b0", "parted", "wipefs", "mkfs")


def test_prepare_refuses_a_drive_with_data_unless_it_is_named(blank: Site) -> None:
    blank.hosts["b0"].slices["/dev/nvme1n1p1"] = {"disk": "/dev/nvme1n1", "kind": "home", "uuid": "u", "label": "home", "type": "xfs"}

    done, named = dacc(blank, "prepare", "b0", "--yes"), dacc(blank, "prepare", "b0", "--wipe", "/dev/nvme1n1")

    assert isinstance(done.exception, Unavailable)
    assert "/dev/nvme1n1 has data (partitions): if nothing needs it, name it: --wipe /dev/nvme1n1; nothing was changed" in str(
        done.exception
    )
    assert not blank.commands("b0", "parted", "wipefs", "mkfs")
    assert "wipefs -a /dev/nvme1n1" in named.output


def test_prepare_refuses_a_drive_in_use_even_if_it_is_named(blank: Site) -> None:
    blank.hosts["b0"].pretend.add("/dev/nvme1n1")

    done = dacc(blank, "prepare", "b0", "--yes", "--wipe", "/dev/nvme1n1")

    assert "/dev/nvme1n1 is in use" in str(done.exception)
    assert not blank.commands("b0", "parted", "wipefs", "mkfs")


def test_prepare_knows_only_drives_of_the_configuration(site: Site) -> None:
    assert isinstance(dacc(site, "prepare", "b0", "--wipe", "/dev/sda").exception, InvalidRequest)
    assert isinstance(dacc(site, "prepare", "c0").exception, NotFound)


def test_check_says_that_hosts_are_fit(site: Site) -> None:
    done = dacc(site, "check")

    assert done.output == "b0: info: Lustre 2.15.8\nb1: info: Lustre 2.15.8\n2 hosts are fit to serve\n"


def test_on_zfs_the_check_wants_its_module_where_there_are_bricks(tmp_path: Path) -> None:
    site = Site(tmp_path, {"backend": "zfs"})
    site.hosts["b0"].answers["modprobe osd_zfs"] = [(1, "FATAL: Module osd_zfs not found")]

    done = dacc(site, "check", "b0", "b1", "c0")

    assert [line for line in done.output.splitlines() if "error" in line] == [
        "b0: error: modprobe osd_zfs failed: install OpenZFS and Lustre's osd-zfs for this kernel"
    ]


def test_on_zfs_the_mgt_is_a_pool_too(tmp_path: Path) -> None:
    site = Site(tmp_path, {"backend": "zfs"})
    site.hosts["b0"].slices["/dev/nvme0n1p1"].update(label="", type="")

    shown = dacc(site, "prepare", "b0").output

    assert "  mkfs.lustre --mgs --backfstype=zfs MGS/target /dev/nvme0n1p1\n" in shown


def test_check_says_what_each_host_lacks(site: Site) -> None:
    site.hosts["b0"].answers["modprobe"] = [(1, "FATAL: Module lustre not found")]
    site.hosts["b1"].slices["/dev/nvme0n1p1"]["label"] = ""
    site.unreachable.add("c0")

    done = dacc(site, "check", "b0", "b1", "c0")

    lines = done.output.splitlines()
    assert "b0: error: modprobe lustre failed (FATAL: Module lustre not found): install the Lustre modules for this kernel" in lines
    assert "b1: error: there is no formatted MGT: run dacc lustre prepare b1" in lines
    assert [line for line in lines if line.startswith("c0: error: host c0 cannot be reached")]
    assert str(done.exception) == "3 of 3 hosts are not fit to serve: b0, b1, c0"


FACTS: dict[str, Any] = {
    "missing": [],
    "slices": [],
    "running": [],
    "mgt": None,
    "nids": ["10.0.0.1@o2ib1"],
    "resolved": {},
    "health": "healthy",
    "boot": "",
    "errors": [],
    "version": "lustre: 2.15.8",
    "omni_path": True,
    "tuning": {"peer_credits": "32"},
}


def findings(**more: Any) -> Sequence[tuple[str, str]]:
    report = msgspec.convert({**FACTS, **more}, FitnessReport)
    return [(one.level, one.text) for one in fitness.judge("c1", report, (), LustreSettings())]


def test_tuning_below_lustres_own_for_omni_path_is_a_warning() -> None:
    assert findings() == [("info", "Lustre 2.15.8")]
    assert findings(tuning={"peer_credits": "8"})[1] == (
        "warning",
        "ko2iblnd peer_credits=8 is below 32, Lustre's choice for Omni-Path: see /etc/modprobe.d/ko2iblnd.conf",
    )
    assert "ko2iblnd is not loaded" in findings(tuning={})[1][1]


def test_tuning_does_not_matter_without_omni_path() -> None:
    assert findings(omni_path=False, tuning={"peer_credits": "8"}) == [("info", "Lustre 2.15.8")]


@pytest.mark.parametrize(("version", "level"), [("2.12.9", "warning"), ("2.15.0", "info"), ("2.17.52_12", "info"), ("", "warning")])
def test_versions_are_judged(version: str, level: str) -> None:
    assert findings(version=version)[0][0] == level


def test_the_helper_and_its_sudoers_can_be_printed(tmp_path: Path) -> None:
    site = Site(tmp_path, {"helper": "/usr/libexec/dacc/lustre-helper"})

    printed, lines = dacc(site, "helper").output, dacc(site, "sudoers", "dacc").output.splitlines()

    assert printed.startswith("#!/usr/bin/python3 -IS\n")
    assert "dacc ALL=(root) NOPASSWD: /usr/libexec/dacc/lustre-helper probe" in lines
    assert not [line for line in lines if "*" in line]


def plan(site: Site, *, look: bool) -> list[tuple[str, str, tuple[str, ...]]]:
    request = PlanCreate(context=site.context(), volume=site.volume, look=look)
    return [(step.phase, step.host, command) for step in narrate.create(request, site.provider.settings) for command in step.commands]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("backend", ["ldiskfs", "zfs"])
def test_a_plan_shows_the_commands_that_create_then_runs(tmp_path: Path, backend: str) -> None:
    site = Site(tmp_path, {"backend": backend})
    shown = {command for _, host, command in plan(site, look=True) if host == "b1" and command[0] != "mkdir"}

    site.create()

    run = {tuple(word.replace(f"{site.root}/b1/run", "/run/dacc/lustre") for word in argv) for argv in site.hosts["b1"].ran}
    assert shown <= run
    changing = {argv for argv in run if argv[0] in ("mkfs.lustre", "wipefs", "blkdiscard", "mount", "modprobe", "zpool")}
    assert {argv for argv in changing if argv[:2] != ("zpool", "list")} <= shown


def test_a_plan_for_zfs_leaves_an_mgt_on_ldiskfs_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path, {"backend": "zfs"})
    site.hosts["b0"].slices["/dev/nvme0n1p1"]["type"] = "ext4"

    mgt = [command for phase, _, command in plan(site, look=True) if phase == "MGT"]

    assert ("mount", "-t", "lustre", "/dev/nvme0n1p1", "/run/dacc/lustre/MGS") in mgt
    assert not [command for command in mgt if command[0] == "zpool"]


def test_a_plan_changes_nothing(site: Site) -> None:
    plan(site, look=True)

    assert {verb for verb, _ in site.calls} == {"probe"}


def test_a_plan_may_ask_no_host(site: Site) -> None:
    shown = plan(site, look=False)

    assert site.calls == []
    assert ("format", "b1", ("wipefs", "-a", "/dev/nvme1n1:dacc-ost")) in shown


def test_the_provider_has_the_settings_that_commands_use() -> None:
    settings = LustreSettings(mdts_per_host=3)

    assert LustreProvider(settings).settings is settings
