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
    state = ask("status")
    if json_output:
        print_json(state)
        return
    console().print(_pools(state["pools"]), _hosts(state["hosts"]), _sessions(state["sessions"]), sep="\n")
    for host in state["hosts"]:
        for device, why in host["quarantined"].items():
            click.echo(f"in quarantine: {host['name']}:{device}: {why}")


@click.command()
@click.argument("session")
@as_json
def show(session: str, json_output: bool) -> None:
    """Show all that is known of SESSION (a token, an id, or a kept volume)."""
    account = ask("show", session)
    if json_output:
        print_json(account)
        return
    for name, value in _facts(account):
        click.echo(f"{name:<12} {value}")
    console().print(_events(account["events"]))


@click.command("stage-out")
@click.argument("session")
def stage_out(session: str) -> None:
    """Copy out what SESSION still owes its user, and free it if it was kept."""
    answer = ask("stage-out", session)
    click.echo(f"session {answer['token']}: staged out")


@click.command()
@click.argument("session")
@click.option("--yes", is_flag=True, help="Do not ask.")
def discard(session: str, yes: bool) -> None:
    """Delete what the kept SESSION holds, without copying it out."""
    if not yes:
        click.confirm(f"The data of {session} exists nowhere else. Delete it?", abort=True)
    answer = ask("discard", session)
    click.echo(f"session {answer['token']}: discarded")


@click.command()
@click.argument("host")
@click.argument("device", default="")
def release(host: str, device: str) -> None:
    """Free the quarantined bricks of HOST (or the one on DEVICE) after you have made sure that they are clean."""
    answer = ask("release", host, *([device] if device else []))
    for freed in answer["released"]:
        click.echo(f"released {host}:{freed}")


@click.command()
@click.argument("job")
def retry(job: str) -> None:
    """Let JOB try again whose pre_run failed too often, and whose setup is refused since."""
    answer = ask("retry", job)
    click.echo(f"job {job}: {answer['forgotten']} failures forgotten")


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
    made = table("sessions", "session", "kind", "owner", "capacity", "used", "goal", "state", "mounts", "problem")
    for session in sessions:
        state = session["running"] or _state(session)
        capacity = format_size(session["capacity"]) if session["capacity"] else "-"
        who = (session["token"], session["kind"], str(session["owner"]))
        used = format_size(session["usage"]["used"]) if session["usage"] else "unknown" if session["capacity"] else "-"
        made.add_row(*who, capacity, used, session["goal"], state, session["mounts"], session["failure"])
    return made


def _state(session: dict[str, Any]) -> str:
    if session["kind"] == "kept":
        return "stage-out owed"
    if session["waits_for"]:
        return f"waits for {session['waits_for']}"
    return "done" if session["met"] else "failed" if session["failure"] else "waiting"


def _facts(account: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of ``dacc show``, those that say nothing left out."""
    session, status = account["session"], account["status"]
    volume, failure = session.get("volume") or {}, status.get("failure") or {}
    bricks = ", ".join(f"{brick['host']}:{brick['device']}" for brick in volume.get("bricks", []))
    lines = [
        ("session", account["token"]),
        ("ended", account["outcome"]),
        ("owner", str(session.get("request", {}).get("owner", ""))),
        ("goal", session.get("goal", {}).get("verb", "setup") if session else ""),
        ("state", account["state"]),
        ("volume", volume.get("name", "")),
        ("bricks", bricks),
        ("filesystem", status.get("filesystem", "")),
        ("stage in", status.get("stage_in", "")),
        ("stage out", status.get("stage_out", "")),
        ("mounted on", status.get("mounts", "")),
        ("dirty nodes", status.get("dirty", "")),
        ("coordinator", status.get("coordinator", "")),
        ("used by", ", ".join(account["used_by"])),
        ("problem", failure.get("text", "")),
    ]
    return [(name, value) for name, value in lines if value]


def _events(events: list[dict[str, Any]]) -> Table:
    made = table("timeline", "step", "hosts", "seconds", "error")
    for event in events:
        made.add_row(event["what"], event.get("host", ""), f"{event.get('seconds', 0.0):.3f}", event.get("error", ""))
    return made
