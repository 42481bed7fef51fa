"""A job's timeline in words, as it really was."""

from __future__ import annotations

import json
from typing import Any

from .slurm import Slurm, refused, succeeded

SITE = {
    "provider": {"faults": [{"call": "mount", "host": "c2", "token": "702", "times": 0, "text": "no route to host c2"}]},
    "extra": {"retries": {"attempts": 2, "first_wait": 0.05}},
}


def why(slurm: Slurm, token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(succeeded(slurm.dacc("why", token, "--json")))
    return found


def texts(found: dict[str, Any]) -> list[str]:
    return [event["text"].partition(" in ")[0].partition(" after ")[0] for event in found["events"]]


def test_a_running_job_is_told_with_its_steps_and_hosts(slurm: Slurm) -> None:
    job = slurm.striped(mib=64).begin("c1", "c2")
    found = why(slurm, job.token)
    assert texts(found)[1:] == ["built the filesystem on dac[1-2]", "mounted it on c[1-2]"]
    assert (found["waits_for"], found["desired"]) == ("nothing", "a filesystem, the data copied in, mounted on c[1-2]")
    lines = succeeded(slurm.dacc("why", job.token)).splitlines()
    assert lines[0] == f"session {job.token} of nobody (uid 65534), job"
    assert lines[-1].endswith(" s")


def test_a_job_that_has_ended_is_told_from_history(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    job.end()
    found = why(slurm, job.token)
    assert found["outcome"] == "released"
    built, mounted, unmounted, deleted, released = texts(found)
    assert (mounted, unmounted, released) == ("mounted it on c1", "unmounted it on c1", "gave its bricks back")
    assert built.startswith("built the filesystem on dac")
    assert deleted.startswith("deleted the filesystem on dac")


def test_a_failed_mount_is_told_with_each_try_and_what_it_waits_for(slurm: Slurm) -> None:
    job = slurm.striped(token="702")
    succeeded(job.setup())
    refused(job.pre_run("c1", "c2"))
    found = why(slurm, "702")
    assert texts(found)[2:] == ["mounting it on c[1-2] failed", "mounting it on c2 failed"]
    assert all("no route to host c2" in event["error"] for event in found["events"][2:])
    assert found["waits_for"].startswith("the next call: pre_run failed: ")


def test_a_session_that_never_was_is_said(slurm: Slurm) -> None:
    assert refused(slurm.dacc("why", "99999")) == "dacc: no session is called 99999: see dacc status"
