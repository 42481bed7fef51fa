"""Observers of a provider's package in real daemons: they hear of a job, and the worst ones hurt no job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until

from .conftest import open_site
from .slurm import Slurm

PROVIDER = """
import json, os, sys, threading
from dacc_core.sdk import hookimpl
from dacc_fake import FakeProvider

class {name}(FakeProvider):
    name = "{name}"

@hookimpl
def dacc_register_provider():
    return {name}

{observers}
"""
NOTE = """
def note(kind, event):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(json.dumps([kind, event]) + "\\n")

@hookimpl
def dacc_session_changed(event): note("changed", event)

@hookimpl
def dacc_step_finished(event): note("finished", event)
"""
WORST = """
@hookimpl
def dacc_session_changed(event): sys.exit(3)

@hookimpl
def dacc_step_finished(event): threading.Event().wait()
"""


def install(place: Path, name: str, observers: str) -> None:
    """A package that offers the provider ``fake`` by another name, with observers."""
    info = place / f"dacc_provider_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dacc-provider-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dacc.providers]\n{name} = observing_{name}\n")
    (place / f"observing_{name}.py").write_text(PROVIDER.format(name=name, observers=observers))


@pytest.fixture(scope="module")
def serving() -> Iterator[Slurm]:
    """Two hosts with a pool of each provider; both serve volumes without a filesystem."""
    with open_site(start=False, backing="none") as slurm:
        site = slurm.site
        install(site.directory / "packages", "noting", NOTE)
        install(site.directory / "packages", "worst", WORST)
        pools = {"default": {"granularity": 64 << 20, "provider": "noting"}, "bad": {"granularity": 64 << 20, "provider": "worst"}}
        bricks = {host: [{"device": "/b/0"}, {"device": "/b/1", "pool": "bad"}] for host in site.brick_hosts}
        providers = {name: {"backing": "none"} for name in ("noting", "worst")}
        site.configure(pools=pools, bricks=bricks, providers=providers)
        site.start(PYTHONPATH=str(site.directory / "packages"), EVENTS=str(site.directory / "events"))
        yield slurm


def heard(slurm: Slurm, token: str) -> list[tuple[str, dict[str, Any]]]:
    """What the observers wrote down of a session."""
    path = slurm.site.directory / "events"
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(kind, event) for kind, event in events if event["session"] == token]


def test_observers_hear_of_a_jobs_life_and_each_step_is_told_once(slurm: Slurm) -> None:
    job = slurm.striped().begin("c1")
    job.end()
    until(lambda: any(event.get("state") == "bricks_deleted" for _, event in heard(slurm, job.token)), "the end is told")
    events = heard(slurm, job.token)
    assert [event["step"] for kind, event in events if kind == "finished"] == ["create", "mount", "unmount", "delete"]
    states = [event["state"] for kind, event in events if kind == "changed"]
    assert [state for state in dict.fromkeys(states) if state in ("bricks_provisioned", "mount_complete", "bricks_deleted")] == [
        "bricks_provisioned",
        "mount_complete",
        "bricks_deleted",
    ]
    assert states.count("bricks_deleted") == 1
    assert {event["provider"] for _, event in events} == {"noting"}


def test_observers_that_hang_or_end_the_program_hurt_no_job(slurm: Slurm) -> None:
    for _ in range(3):
        job = slurm.job("#DW jobdw pool=bad capacity=64MiB access_mode=striped type=scratch")
        job.capacity = f"bad:{64 << 20}"
        job.begin("c1").end()
    logs = {host: slurm.site.log(host) for host in slurm.site.brick_hosts}
    assert all(daemon.poll() is None for daemon in slurm.site.daemons.values())
    until(lambda: any("an observer hangs and is called no more" in slurm.site.log(host) for host in logs), "it is said which hangs", 60.0)
    (line, *_) = [line for host in logs for line in slurm.site.log(host).splitlines() if "an observer hangs" in line]
    assert "dacc-provider-worst" in line
