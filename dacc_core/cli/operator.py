"""``dacc status``, ``show``, ``stage-out``, ``release``."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..sizes import format_size
from .client import ask

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON.")


@click.command()
@as_json
def status(json_output: bool) -> None:
    """Show pools, hosts and sessions."""
    found = ask("status")
    if json_output:
        click.echo(json.dumps(found, indent=2))
        return
    console = Console()
    console.print(_pools(found["pools"]), _hosts(found["hosts"]), _sessions(found["sessions"]), sep="\n")


@click.command()
@click.argument("session")
@as_json
def show(session: str, json_output: bool) -> None:
    """Show all that is known of SESSION (a token, an id, or a kept volume)."""
    found = ask("show", session)
    if json_output:
        click.echo(json.dumps(found, indent=2))
        return
    console = Console()
    console.print_json(json.dumps(found["session"]))
    console.print(_events(found["status"].get("events", [])))
    failure = found["status"].get("failure")
    if failure:
        console.print(f"failed: {failure['text']}", markup=False)


@click.command("stage-out")
@click.argument("session")
def stage_out(session: str) -> None:
    """Copy out what SESSION still owes its user, and free it if it was kept."""
    found = ask("stage-out", session)
    click.echo(f"session {found['token']}: staged out")


@click.command()
@click.argument("host")
@click.argument("device", default="")
def release(host: str, device: str) -> None:
    """Free the quarantined bricks of HOST (or the one on DEVICE) after you have made sure that they are clean."""
    found = ask("release", host, *([device] if device else []))
    for one in found["released"]:
        click.echo(f"released {host}:{one}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _pools(pools: list[dict[str, Any]]) -> Table:
    table = _table("pools", "pool", "provider", "granularity", "bricks", "free")
    for pool in pools:
        row = (pool["name"], pool["provider"], format_size(pool["granularity"]), str(pool["bricks"]), str(pool["free"]))
        table.add_row(*row)
    return table


def _hosts(hosts: list[dict[str, Any]]) -> Table:
    table = _table("hosts", "host", "state", "bricks", "taken", "quarantined")
    for host in hosts:
        state = "draining" if host["draining"] else "alive" if host["alive"] else "dead"
        table.add_row(host["name"], state, str(host["bricks"]), str(len(host["taken"])), str(len(host["quarantined"])))
    return table


def _sessions(sessions: list[dict[str, Any]]) -> Table:
    table = _table("sessions", "session", "kind", "owner", "capacity", "goal", "state", "mounts", "problem")
    for one in sessions:
        state = one["running"] or ("done" if one["met"] else "failed" if one["failure"] else "waiting")
        capacity = format_size(one["capacity"]) if one["capacity"] else "-"
        row = (one["token"], one["kind"], str(one["owner"]), capacity, one["goal"], state, one["mounts"], one["failure"])
        table.add_row(*row)
    return table


def _events(events: list[dict[str, Any]]) -> Table:
    table = _table("timeline", "step", "hosts", "seconds", "error")
    for event in events:
        table.add_row(event["what"], event.get("host", ""), f"{event.get('seconds', 0.0):.3f}", event.get("error", ""))
    return table
