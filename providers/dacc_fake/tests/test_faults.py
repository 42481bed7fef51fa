"""Faults: what the settings say goes wrong does, as often as they say, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dacc_core.sdk import Busy, Cancelled, CancelToken, HostUnreachable, InvalidRequest, NoSpace, Unavailable
from dacc_core.sdk.node import swap

from dacc_fake.faults import PARTIAL, Fault, FaultPlan, parse_faults

if TYPE_CHECKING:
    from conftest import Site


def outcomes(site: Site, call: str, times: int, host: str = "c1", **more: Any) -> list[str]:
    """What a per-host call says on one host, several times."""
    return [type(getattr(site, call)(host, **more).hosts[host]).__name__ for _ in range(times)]


def test_mount_on_one_host_fails_twice_and_then_works(bare: Site) -> None:
    bare.configure(faults=[{"call": "mount", "host": "c2", "times": 2}])

    assert outcomes(bare, "mount", 3, "c2") == ["Unavailable", "Unavailable", "NoneType"]


def test_a_fault_hurts_its_host_only(bare: Site) -> None:
    bare.configure(faults=[{"call": "mount", "host": "c2"}])

    assert list(bare.mount("c1", "c2", "c3").failed) == ["c2"]


def test_hosts_are_counted_separately(bare: Site) -> None:
    bare.configure(faults=[{"call": "unmount", "host": "c[12]"}])

    assert set(bare.unmount("c1", "c2", "c3").failed) == {"c1", "c2"}
    assert not bare.unmount("c1", "c2", "c3").failed


def test_times_0_fails_always(bare: Site) -> None:
    bare.configure(faults=[{"call": "delete", "times": 0}])

    for _ in range(5):
        with pytest.raises(Unavailable):
            bare.delete()


def test_skip_lets_calls_pass_first(bare: Site) -> None:
    bare.configure(faults=[{"call": "mount", "skip": 1}])

    assert outcomes(bare, "mount", 3) == ["NoneType", "Unavailable", "NoneType"]


def test_the_next_fault_applies_when_the_first_is_used_up(bare: Site) -> None:
    bare.configure(faults=[{"call": "mount"}, {"call": "mount", "error": "Busy"}])

    assert outcomes(bare, "mount", 3) == ["Unavailable", "Busy", "NoneType"]


def test_a_fault_of_another_session_does_not_apply(bare: Site) -> None:
    bare.configure(faults=[{"call": "create", "token": "8"}])

    bare.create()


def test_error_and_text_are_the_settings(bare: Site) -> None:
    bare.configure(faults=[{"call": "create", "error": "NoSpace", "text": "the site is full"}])

    with pytest.raises(NoSpace, match=r"^the site is full$"):
        bare.create()


def test_the_default_text_names_call_host_and_cure(bare: Site) -> None:
    bare.configure(faults=[{"call": "mount", "error": "HostUnreachable"}])

    error = bare.mount("c1").hosts["c1"]

    assert isinstance(error, HostUnreachable)
    assert "mount on c1 failed because the fake provider's settings say so: remove the fault" in str(error)


def test_a_delay_alone_makes_the_call_slow(bare: Site) -> None:
    bare.configure(faults=[{"call": "create", "delay": 0.3}])
    started = time.monotonic()

    bare.create()

    assert time.monotonic() - started >= 0.3


def test_a_host_that_waits_delays_no_other(plain: Site) -> None:
    plain.create()
    plain.configure(faults=[{"call": "mount", "host": "c1", "hang": True}])

    outcome = plain.mount("c1", "c2", context=plain.context(seconds=1.5)).hosts

    assert isinstance(outcome["c1"], Unavailable)
    assert outcome["c2"] is None
    plain.unmount("c2")
    plain.delete()


def test_a_hang_ends_with_the_deadline(bare: Site) -> None:
    bare.configure(faults=[{"call": "create", "hang": True}])

    with pytest.raises(Unavailable, match="create did not end before its deadline"):
        bare.create(bare.context(seconds=0.2))


@pytest.mark.parametrize("call", ["create", "mount"])
def test_a_hang_ends_when_cancelled(bare: Site, call: str) -> None:
    bare.configure(faults=[{"call": call, "hang": True}])
    cancel = CancelToken()
    threading.Timer(0.1, cancel.cancel).start()
    started = time.monotonic()

    with pytest.raises(Cancelled):
        getattr(bare, call)(context=bare.context(cancel=cancel))

    assert time.monotonic() - started < 5


@pytest.mark.parametrize("call", ["create", "delete"])
def test_after_means_that_the_work_is_done(plain: Site, call: str) -> None:
    plain.create()
    if call == "create":
        plain.delete()
    plain.configure(faults=[{"call": call, "when": "after", "error": "Busy"}])

    with pytest.raises(Busy):
        getattr(plain, call)()

    assert bool(plain.left()) == (call == "create")
    plain.delete()


def test_after_on_one_host(plain: Site) -> None:
    plain.create()
    plain.configure(faults=[{"call": "mount", "host": "c2", "when": "after", "delay": 0.1, "error": "Busy"}])

    outcome = plain.mount("c1", "c2").hosts

    assert isinstance(outcome["c2"], Busy)
    assert Path(f"{plain.base}/hosts/c2{plain.path}").is_symlink()
    plain.unmount("c1", "c2")
    plain.delete()


def test_before_means_that_nothing_is_done(plain: Site) -> None:
    plain.configure(faults=[{"call": "create"}])

    with pytest.raises(Unavailable):
        plain.create()

    assert plain.left() == []


def test_partial_leaves_half_of_the_work(plain: Site) -> None:
    plain.configure(faults=[{"call": "create", "partial": "formatted", "error": "NoSpace"}])

    with pytest.raises(NoSpace):
        plain.create()

    assert "b1/vfake001.new" in plain.left()
    plain.delete()


@pytest.mark.parametrize("call", ["create", "delete", "usage", "restore", "check"])
def test_calls_on_the_volume_can_fail(bare: Site, call: str) -> None:
    bare.configure(faults=[{"call": "check_host" if call == "check" else call, "host": "b1"}])

    with pytest.raises(Unavailable):
        getattr(bare.provider, call)(bare.whole()) if call in ("usage", "restore") else getattr(bare, call)()


@pytest.mark.parametrize("call", ["swap_on", "swap_off"])
def test_swap_can_fail(bare: Site, call: str) -> None:
    bare.configure(faults=[{"call": call}])

    assert list(bare.swap(call).failed) == ["c1"]


def test_a_fault_on_the_second_brick_host_hurts_create(bare: Site) -> None:
    bare.spread = True
    bare.configure(faults=[{"call": "create", "host": "b2"}])

    with pytest.raises(Unavailable):
        bare.create()


def test_counts_start_anew_with_a_new_provider(bare: Site) -> None:
    bare.configure(faults=[{"call": "create"}])
    with pytest.raises(Unavailable):
        bare.create()
    bare.configure()

    with pytest.raises(Unavailable):
        bare.create()


def test_counts_in_files_survive_a_restart(bare: Site) -> None:
    bare.configure(faults=[{"call": "create"}], fault_dir=str(bare.base / "faults"))
    with pytest.raises(Unavailable):
        bare.create()
    bare.configure()

    bare.create()


def test_an_edited_fault_counts_anew(bare: Site) -> None:
    bare.configure(faults=[{"call": "create"}], fault_dir=str(bare.base / "faults"))
    with pytest.raises(Unavailable):
        bare.create()
    bare.configure(faults=[{"call": "create", "text": "again"}])

    with pytest.raises(Unavailable, match="again"):
        bare.create()


HITS = """
import sys
from dacc_fake.faults import Fault, FaultPlan

plan = FaultPlan((Fault(call="mount", times=10),), sys.argv[1])
print(sum(plan.take("mount", "7", ("c1",), "c1") is not None for _ in range(20)))
"""


def test_counts_in_files_are_exact_between_processes(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HITS, str(tmp_path)]
    counting = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(4)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in counting) == 10


def test_counts_are_exact_between_threads() -> None:
    plan = FaultPlan((Fault(call="mount", times=10),))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: plan.take("mount", "7", ("c1",)), range(200)))

    assert sum(fault is not None for fault in found) == 10


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"host": "c2"}, "names no call"),
        ("mount", "names no call"),
        ({"call": "format"}, "choose one of create"),
        ({"call": "mount", "count": 2}, "count is not known"),
        ({"call": "mount", "times": -1}, "whole number"),
        ({"call": "mount", "times": True}, "whole number"),
        ({"call": "mount", "times": "2"}, "whole number"),
        ({"call": "mount", "skip": 1.5}, "whole number"),
        ({"call": "mount", "delay": -1}, "write seconds"),
        ({"call": "mount", "delay": float("nan")}, "write seconds"),
        ({"call": "mount", "hang": "yes"}, "true or false"),
        ({"call": "mount", "error": "Nonsense"}, "choose one of AlreadyExists"),
        ({"call": "mount", "error": "DaccError"}, "choose one of AlreadyExists"),
        ({"call": "mount", "when": "later"}, "before or after"),
        ({"call": "mount", "host": 2}, "write a string"),
        ({"call": "mount", "token": 7}, "write a string"),
        ({"call": "mount", "partial": "formatted"}, "mount has mounted, populated"),
        ({"call": "usage", "partial": "x"}, "usage has no such places"),
        ({"call": "mount", "partial": "mounted", "when": "after"}, "drop one"),
    ],
)
def test_nonsense_is_refused_and_the_entry_named(entry: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"faults\[1\] of the fake provider: .*{says}"):
        parse_faults([{"call": "mount"}, entry])


@pytest.mark.parametrize("faults", ["mount", {"call": "mount"}, 3])
def test_faults_that_are_no_list_are_refused(faults: Any) -> None:
    with pytest.raises(InvalidRequest, match="write a list"):
        parse_faults(faults)


def test_every_place_that_a_fault_may_name_exists() -> None:
    node = Path(__file__).parents[1] / "src/dacc_fake/node"
    texts = "".join(path.read_text() for path in (*node.glob("*.py"), Path(swap.__file__)))

    assert [place for places in PARTIAL.values() for place in places if f'crash_point(job, "{place}")' not in texts] == []
