"""``dacc status``, ``show``, ``stage-out``, ``discard``, ``release``, ``retry``."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from ..sizes import format_size
from .client import ask
from .output import as_json, console, print_json, table


@click.command()
@as_json
def status(json_output: bool) -> None:
    """Show pools, hosts and sessions."""
    found = ask("status")
    if json_output:
        print_json(found)
        return
    console().print(_pools(found["pools"]), _hosts(found["hosts"]), _sessions(found["sessions"]), sep="\n")
    for host in found["hosts"]:
        for device, why in host["quarantined"].items():
            click.echo(f"in quarantine: {host['name']}:{device}: {why}")


@click.command()
@click.argument("session")
@as_json
def show(session: str, json_output: bool) -> None:
    """Show all that is known of SESSION (a token, an id, or a kept volume)."""
    found = ask("show", session)
    if json_output:
        print_json(found)
        return
    for name, value in _facts(found):
        click.echo(f"{name:<12} {value}")
    console().print(_events(found["events"]))


@click.command("stage-out")
@click.argument("session")
def stage_out(session: str) -> None:
    """Copy out what SESSION still owes its user, and free it if it was kept."""
    found = ask("stage-out", session)
    click.echo(f"session {found['token']}: staged out")


@click.command()
@click.argument("session")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(session: str, yes: bool) -> None:
    """Delete what the kept SESSION holds, without copying it out."""
    if not yes:
        click.confirm(f"The data of {session} exists nowhere else. Delete it?", abort=True)
    found = ask("discard", session)
    click.echo(f"session {found['token']}: discarded")


@click.command()
@click.argument("host")
@click.argument("device", default="")
def release(host: str, device: str) -> None:
    """Free the quarantined bricks of HOST (or the one on DEVICE) after you have made sure that they are clean."""
    found = ask("release", host, *([device] if device else []))
    for one in found["released"]:
        click.echo(f"released {host}:{one}")


@click.command()
@click.argument("job")
def retry(job: str) -> None:
    """Let JOB try again whose pre_run failed too often, and whose setup is refused since."""
    found = ask("retry", job)
    click.echo(f"job {job}: {found['forgotten']} failures forgotten")


def _pools(pools: list[dict[str, Any]]) -> Table:
    made = table("pools", "pool", "provider", "granularity", "bricks", "free")
    for pool in pools:
        row = (pool["name"], pool["provider"], format_size(pool["granularity"]), str(pool["bricks"]), str(pool["free"]))
        made.add_row(*row)
    return made


def _hosts(hosts: list[dict[str, Any]]) -> Table:
    made = table("hosts", "host", "state", "bricks", "taken", "quarantined")
    for host in hosts:
        made.add_row(host["name"], host["state"], str(host["bricks"]), str(len(host["taken"])), str(len(host["quarantined"])))
    return made


def _sessions(sessions: list[dict[str, Any]]) -> Table:
    made = table("sessions", "session", "kind", "owner", "capacity", "goal", "state", "mounts", "problem")
    for one in sessions:
        state = one["running"] or _state(one)
        capacity = format_size(one["capacity"]) if one["capacity"] else "-"
        row = (one["token"], one["kind"], str(one["owner"]), capacity, one["goal"], state, one["mounts"], one["failure"])
        made.add_row(*row)
    return made


def _state(one: dict[str, Any]) -> str:
    if one["kind"] == "kept":
        return "stage-out owed"
    if one["waits_for"]:
        return f"waits for {one['waits_for']}"
    return "done" if one["met"] else "failed" if one["failure"] else "waiting"


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of ``dacc show``, those that say nothing left out."""
    session, status = found["session"], found["status"]
    volume, failure = session.get("volume") or {}, status.get("failure") or {}
    bricks = ", ".join(f"{brick['host']}:{brick['device']}" for brick in volume.get("bricks", []))
    lines = [
        ("session", found["token"]),
        ("ended", found["outcome"]),
        ("owner", str(session.get("request", {}).get("owner", ""))),
        ("goal", session.get("goal", {}).get("verb", "setup") if session else ""),
        ("state", found["state"]),
        ("volume", volume.get("name", "")),
        ("bricks", bricks),
        ("filesystem", status.get("filesystem", "")),
        ("stage in", status.get("stage_in", "")),
        ("stage out", status.get("stage_out", "")),
        ("mounted on", status.get("mounts", "")),
        ("dirty nodes", status.get("dirty", "")),
        ("coordinator", status.get("coordinator", "")),
        ("used by", ", ".join(found["used_by"])),
        ("problem", failure.get("text", "")),
    ]
    return [(name, value) for name, value in lines if value]


def _events(events: list[dict[str, Any]]) -> Table:
    made = table("timeline", "step", "hosts", "seconds", "error")
    for event in events:
        made.add_row(event["what"], event.get("host", ""), f"{event.get('seconds', 0.0):.3f}", event.get("error", ""))
    return made
