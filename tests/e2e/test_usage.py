"""How full volumes are, as a running site measures it, on filesystems of the fake provider."""

from __future__ import annotations

from typing import Any

from tests.support.waiting import until

from .slurm import MIB, Slurm, succeeded

SITE = {"extra": {"usage_interval": 0.2}}


def usage(slurm: Slurm, token: str) -> dict[str, Any] | None:
    (session,) = [session for session in slurm.site.ask("status")["sessions"] if session["token"] == token]
    measured: dict[str, Any] | None = session["usage"]
    return measured


def test_what_a_node_writes_shows_in_status_and_dwstat(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    empty = until(lambda: usage(slurm, job.token), "it is measured")
    assert empty is not None
    assert 0 < empty["used"] < empty["capacity"]
    job.does("c1", f"head -c {8 * MIB} /dev/zero > $DW_JOB_STRIPED/data; sync $DW_JOB_STRIPED/data")
    until(lambda: (usage(slurm, job.token) or empty)["used"] >= empty["used"] + 8 * MIB, "what was written is measured")
    assert " used" in succeeded(slurm.dwstat("instances"))


def test_a_measurement_ends_with_its_session(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    until(lambda: usage(slurm, job.token), "it is measured")
    job.end()
    assert slurm.site.ask("status")["sessions"] == []
