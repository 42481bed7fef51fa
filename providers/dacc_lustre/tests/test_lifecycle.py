"""Whole lives of volumes on a site in memory: the provider and the node helper are real, the hosts' programs are played."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest
from dacc_core.sdk import (
    AlreadyExists,
    Busy,
    DaccError,
    HostUnreachable,
    InvalidRequest,
    NoSpace,
    NotFound,
    Unavailable,
    Unsupported,
)
from lustre_site import FSNAME, Played, Site

pytestmark = pytest.mark.usefixtures("as_root")

ALL = ["MDT0000", "MDT0001", "OST0000", "OST0001", "OST0002", "OST0003"]


@pytest.fixture(params=["ldiskfs", "zfs"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(tmp_path, {"backend": request.param})


@pytest.fixture
def made(site: Site) -> Site:
    site.create()
    return site


def mount_of(site: Site, name: str) -> str:
    """How a target's mount on the first disk of b0 begins."""
    number = {"MGS": 1, "dacc0001-MDT0000": 2}[name]
    return "mount -t lustre " + (f"{name}/target" if site.settings["backend"] == "zfs" else f"/dev/nvme0n1p{number}")


def assert_clean(site: Site) -> None:
    assert (site.labels(), site.running(), site.logs) == ([], [], {})


def test_create_starts_every_target_and_says_how_much_fits(site: Site) -> None:
    assert site.create() == site.room << 10
    assert sorted(site.running()) == ALL
    assert site.labels() == [f"{FSNAME}-{name}" for name in ALL]


def test_create_asks_each_host_once_for_each_phase(site: Site) -> None:
    site.create()

    assert site.calls == [
        ("probe", ("b0", "b1")),
        ("mgs-start", ("b0",)),
        ("format", ("b0", "b1")),
        ("start", ("b0",)),
        ("start", ("b1",)),
        ("start", ("b0", "b1")),
        ("tune", ("b0",)),
        ("settle", ("b0",)),
    ]


def test_the_commands_of_a_host_are_those_that_the_manual_gives(tmp_path: Path) -> None:
    made = Site(tmp_path)
    made.create()

    lines = [line.replace(f"{made.root}/b0/run", "RUN") for line in made.commands("b0", "mkfs", "mount", "modprobe", "lctl lcfg", "lfs s")]

    assert sorted(lines) == sorted(
        [
            "mount -t lustre /dev/nvme0n1p1 RUN/MGS",
            "lctl lcfg_erase dacc0001",
            "modprobe lustre",
            "mkfs.lustre --mdt --reformat --fsname=dacc0001 --index=0 --mgsnode=10.0.0.1@o2ib1 "
            "--mkfsoptions=-E nodiscard,lazy_itable_init=1 --param sys.timeout=100 /dev/nvme0n1p2",
            "mkfs.lustre --ost --reformat --fsname=dacc0001 --index=0 --mgsnode=10.0.0.1@o2ib1 "
            "--mkfsoptions=-m 0 -E nodiscard,lazy_itable_init=1 --param failover.mode=failout /dev/nvme0n1p3",
            "mkfs.lustre --ost --reformat --fsname=dacc0001 --index=1 --mgsnode=10.0.0.1@o2ib1 "
            "--mkfsoptions=-m 0 -E nodiscard,lazy_itable_init=1 --param failover.mode=failout /dev/nvme1n1p2",
            "mount -t lustre /dev/nvme0n1p2 RUN/dacc0001/MDT0000",
            "mount -t lustre /dev/nvme0n1p3 RUN/dacc0001/OST0000",
            "mount -t lustre /dev/nvme1n1p2 RUN/dacc0001/OST0001",
            "mount -t lustre -o flock,noatime,nodev,nosuid 10.0.0.1@o2ib1:/dacc0001 RUN/dacc0001/client",
            "lfs setstripe -E 64K -L mdt -E 16M -c 1 -S 16M -E 1G -c 2 -E -1 -c -1 RUN/dacc0001/client",
            "lfs setdirstripe -D -c 1 -i -1 --max-inherit-rr 3 RUN/dacc0001/client",
        ]
    )


def test_on_zfs_each_target_has_a_pool_that_is_renamed_when_it_starts(tmp_path: Path) -> None:
    made = Site(tmp_path, {"backend": "zfs", "zfs_mkfs_options": "-o recordsize=1M"})
    made.create()

    lines = [
        line.replace(f"{made.root}/b0/run", "RUN") for line in made.commands("b0", "") if "MDT0000" in line and "zpool list" not in line
    ]
    assert lines == [
        "mkfs.lustre --mdt --reformat --fsname=dacc0001 --index=0 --mgsnode=10.0.0.1@o2ib1 --backfstype=zfs "
        "--mkfsoptions=-o recordsize=1M --param sys.timeout=100 dacc0001:MDT0000/target /dev/nvme0n1p2",
        "zpool export dacc0001:MDT0000",
        "zpool import -N -o cachefile=none -d /dev/nvme0n1p2 dacc0001:MDT0000 dacc0001-MDT0000",
        "mount -t lustre dacc0001-MDT0000/target RUN/dacc0001/MDT0000",
    ]


def test_no_pool_of_a_deleted_volume_is_left_imported(site: Site) -> None:
    site.create()
    site.delete()

    assert {name for host in site.hosts.values() for name in host.pools} <= {"MGS"}


def test_creating_twice_formats_once(made: Site) -> None:
    formatted = len(made.commands("b0", "mkfs"))

    made.create()

    assert len(made.commands("b0", "mkfs")) == formatted == 3


def test_delete_leaves_clean_bricks_and_no_logs_and_the_mgt_runs_on(made: Site) -> None:
    made.delete()

    assert_clean(made)
    assert made.mgs_runs()
    assert f"lctl lcfg_erase {FSNAME}" in made.commands("b0", "lctl lcfg_erase")[1:]
    (unset,) = made.commands("b0", "lctl set_param -P -d")
    assert len(unset.split()) == 4 + len(made.provider.settings.parameters)


def test_delete_needs_no_state_and_may_come_twice(made: Site) -> None:
    made.state = {}

    made.delete()
    made.delete()

    assert_clean(made)


def test_delete_of_what_was_never_created_changes_nothing(site: Site) -> None:
    site.delete()

    assert {verb for verb, _ in site.calls} == {"probe"}


@pytest.mark.parametrize("host", ["b0", "b1"])
def test_a_storage_host_may_crash_at_any_command_of_create(tmp_path: Path, host: str) -> None:
    whole = Site(tmp_path / "whole")
    whole.create()
    for number in range(1, len(whole.hosts[host].ran) + 1):
        site = Site(tmp_path / str(number))
        site.hosts[host].crash_at = number
        with pytest.raises(Unavailable):
            site.create()
        site.hosts[host].power_on()
        site.create()
        assert sorted(site.running()) == ALL, number
        site.delete()
        assert_clean(site)


@pytest.mark.parametrize("host", ["b0", "b1"])
def test_a_storage_host_may_crash_at_any_command_of_delete(tmp_path: Path, host: str) -> None:
    whole = Site(tmp_path / "whole")
    whole.create()
    before = len(whole.hosts[host].ran)
    whole.delete()
    for number in range(1, len(whole.hosts[host].ran) - before + 1):
        site = Site(tmp_path / str(number))
        site.create()
        site.hosts[host].crash_at = number
        with pytest.raises(Unavailable):
            site.delete()
        site.hosts[host].power_on()
        site.delete()
        assert_clean(site)


@pytest.mark.parametrize("hosts", [("b0",), ("b1",), ("b0", "b1")])
def test_restore_after_a_reboot_starts_all_and_formats_nothing(made: Site, hosts: tuple[str, ...]) -> None:
    formatted = sum(len(made.commands(host, "mkfs")) for host in ("b0", "b1"))
    for host in hosts:
        made.hosts[host].power_off()
        made.hosts[host].power_on()

    made.provider.restore(made.whole())

    assert sorted(made.running()) == ALL
    assert sum(len(made.commands(host, "mkfs")) for host in ("b0", "b1")) == formatted


def test_a_brick_with_another_filesystem_is_never_formatted(site: Site) -> None:
    site.hosts["b1"].slices["/dev/nvme1n1p2"]["label"] = "home-OST0001"

    with pytest.raises(AlreadyExists, match=r"b1: /dev/nvme1n1p2 holds home-OST0001"):
        site.create()

    assert not site.commands("b0", "mkfs")
    assert not site.commands("b1", "mkfs", "wipefs", "blkdiscard")


def test_a_brick_that_gets_another_filesystem_between_look_and_format_is_spared(site: Site) -> None:
    b1 = site.hosts["b1"]
    b1.answers["modprobe"] = [(-1, "")]
    play = b1.run

    def run(*argv: str, **options: Any) -> object:
        if argv[0] == "modprobe":
            b1.slices["/dev/nvme1n1p2"]["label"] = "home-OST0001"
        return play(*argv, **options)

    b1.run = run  # type: ignore[method-assign]

    with pytest.raises(AlreadyExists, match="home-OST0001"):
        site.create()

    assert not site.commands("b1", "wipefs -a /dev/nvme1n1p2", "blkdiscard /dev/nvme1n1p2")


def test_a_device_in_use_is_never_formatted(site: Site) -> None:
    site.hosts["b1"].pretend.add("/dev/nvme1n1p2")

    with pytest.raises(Busy, match="nvme1n1p2 is in use though it has no filesystem of dacc0001"):
        site.create()

    assert not site.commands("b1", "mkfs.lustre --ost --reformat --fsname=dacc0001 --index=3")


def test_only_a_call_that_has_the_lock_of_a_slice_claims_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses wipefs and mkfs while another program has the device for itself, be it for a moment."""
    free, helper = [], Played.helper

    def watched(host: Played) -> dict[str, Any]:
        names = helper(host)
        ask = names["in_use"]
        names["in_use"] = lambda path: (is_locked(host, path) or free.append(path), ask(path))[1]
        return names

    monkeypatch.setattr(Played, "helper", watched)
    site.create()
    site.delete()

    assert free == []


def is_locked(host: Played, path: str) -> bool:
    one = host.slices[path]
    (host.root / "run" / "lock").mkdir(parents=True, exist_ok=True)
    name = "lustre-mgs" if one["kind"] == "mgt" else f"lustre-{one['disk']}.{one['kind']}".replace("/", "_")
    with (host.root / "run" / "lock" / name).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_failed_mkfs_says_so_and_the_rest_can_be_deleted(site: Site) -> None:
    site.hosts["b1"].answers["mkfs.lustre --ost"] = [(1, "mkfs.lustre FATAL: Unable to build fs")]

    with pytest.raises(Unsupported, match=r"host b1: mkfs.lustre of /dev/nvme.* failed with status 1 .*Unable to build fs"):
        site.create()

    site.delete()
    assert_clean(site)


def test_a_start_that_is_busy_for_a_moment_is_tried_again(site: Site) -> None:
    site.hosts["b0"].answers[mount_of(site, "dacc0001-MDT0000")] = [(16, "busy"), (16, "busy")]

    site.create()

    assert len(site.commands("b0", mount_of(site, "dacc0001-MDT0000"))) == 3


def test_a_start_that_stays_busy_ends_after_the_tries_that_are_set(site: Site) -> None:
    site.hosts["b0"].answers[mount_of(site, "dacc0001-MDT0000")] = [(16, "busy")] * 9

    with pytest.raises(Unavailable, match=r"mount\.lustre of dacc0001-MDT0000 failed with status 16"):
        site.create()

    assert len(site.commands("b0", mount_of(site, "dacc0001-MDT0000"))) == 3


def test_a_start_with_bad_options_is_not_tried_again(site: Site) -> None:
    site.hosts["b0"].answers[mount_of(site, "dacc0001-MDT0000")] = [(22, "Invalid argument")] * 9

    with pytest.raises(InvalidRequest, match="status 22"):
        site.create()

    assert len(site.commands("b0", mount_of(site, "dacc0001-MDT0000"))) == 1


def test_logs_of_a_crashed_create_do_not_stand_in_the_way(site: Site) -> None:
    # The MGS registered a target whose host crashed before the label said so: "index already in use".
    site.logs[FSNAME] = {"MDT0000"}

    site.create()

    assert sorted(site.running()) == ALL


def test_a_filesystem_that_is_too_small_says_what_to_change(tmp_path: Path) -> None:
    site = Site(tmp_path, room=1 << 10)

    with pytest.raises(NoSpace, match="lower the granularity of pool default"):
        site.create()


def test_a_failed_wipe_is_an_error_that_puts_bricks_into_quarantine(made: Site) -> None:
    made.hosts["b1"].answers["wipefs"] = [(1, "probing initialization failed")]

    with pytest.raises(DaccError, match=r"host b1: wipefs of /dev/nvme.* failed with status 1") as caught:
        made.delete()

    assert not caught.value.retryable


def test_hosts_that_are_gone_hold_nothing_up(made: Site) -> None:
    made.hosts["b0"].power_off()

    made.delete(gone=("b0",))

    assert made.hosts["b1"].labels() == []


def test_an_unreachable_host_is_an_error_after_the_others_are_clean(made: Site) -> None:
    made.unreachable.add("b1")

    with pytest.raises(HostUnreachable, match="b1"):
        made.delete()
    assert {host for host in ("b0", "b1") if made.hosts[host].labels()} == {"b1"}

    made.unreachable.clear()
    made.delete()
    assert_clean(made)


def test_the_mgs_may_be_another_host(tmp_path: Path) -> None:
    # data-acc's DAC_MGS_HOST passed a device in place of a NID, and clients mounted from the first brick host anyway.
    site = Site(tmp_path, {"mgs_host": "b1"})

    site.create()

    assert not site.commands("b0", "lctl lcfg_erase", "lctl set_param")
    assert all("--mgsnode=10.0.0.2@o2ib1" in line for line in site.commands("b0", "mkfs"))
    assert site.state["mgs"] == [["10.0.0.2@o2ib1"]]
    site.mount("c0")
    assert "10.0.0.2@o2ib1:/dacc0001" in site.commands("c0", "mount -t lustre")[0]
    site.delete()
    assert_clean(site)


def test_settings_that_change_do_not_move_the_targets_of_what_exists(made: Site) -> None:
    made.settings = {"mdts_per_host": 2}
    state = made.state
    again = Site(made.root, made.settings)
    again.hosts, again.logs, again.state = made.hosts, made.logs, state

    again.provider.restore(again.whole())

    assert sorted(made.running()) == ALL


def test_two_sessions_share_an_mgt(made: Site) -> None:
    assert len(made.commands("b0", mount_of(made, "MGS"))) == 1

    made.create()

    assert len(made.commands("b0", mount_of(made, "MGS"))) == 1


def test_without_an_mgt_the_error_says_what_to_run(site: Site) -> None:
    site.hosts["b0"].slices["/dev/nvme0n1p1"]["label"] = ""

    with pytest.raises(Unavailable, match="run dacc lustre prepare for it"):
        site.create()


def test_usage_is_that_of_all_osts(made: Site) -> None:
    assert made.provider.usage(made.whole()) == {"capacity": made.room << 10, "used": 1 << 20}


def test_a_volume_without_state_cannot_be_mounted(site: Site) -> None:
    with pytest.raises(NotFound, match="never created"):
        site.mount("c0")
