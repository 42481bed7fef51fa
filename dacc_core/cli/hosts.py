"""``dacc hosts``, ``drain`` and ``undrain``."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from .client import ask
from .output import as_json, console, print_json, table


@click.command()
@click.argument("hosts", default="")
@as_json
def hosts(hosts: str, json_output: bool) -> None:
    """Show every brick host, or HOSTS (such as dac[1-4]): its state, its bricks and what it does."""
    found = ask("hosts", *([hosts] if hosts else []))
    if json_output:
        print_json(found)
        return
    console().print(_hosts(found))
    for host in found:
        for brick in host["bricks"]:
            if brick["reason"]:
                click.echo(f"in quarantine: {host['name']}:{brick['device']}: {brick['reason']}")


@click.command()
@click.argument("hosts")
def drain(hosts: str) -> None:
    """Give HOSTS (such as dac[1-4]) no new sessions; those that run there go on."""
    for one in ask("drain", hosts):
        state = "draining" if one["changed"] else "was draining already"
        click.echo(f"{one['host']}: {state}, {_going_on(one['sessions'])}")


@click.command()
@click.argument("hosts")
def undrain(hosts: str) -> None:
    """Give HOSTS (such as dac[1-4]) new sessions again."""
    for one in ask("undrain", hosts):
        click.echo(f"{one['host']}: {'takes' if one['changed'] else 'took'} new sessions{' again' if one['changed'] else ' already'}")


def _going_on(sessions: list[str]) -> str:
    return f"sessions that have bricks there go on: {', '.join(sessions)}" if sessions else "no session has bricks there"


def _hosts(found: list[dict[str, Any]]) -> Table:
    addresses = ["addresses"] if any(host["addresses"] for host in found) else []
    made = table("hosts", "host", "state", "providers", "bricks", "free", "taken", "quarantined", "coordinates", *addresses)
    for host in found:
        providers = ", ".join(f"{name} {version}" for name, version in host["providers"].items())
        numbers = (len(host["bricks"]), host["free"], host["taken"], host["quarantined"], len(host["coordinates"]))
        made.add_row(host["name"], host["state"], providers, *map(str, numbers), *([", ".join(host["addresses"])] if addresses else []))
    return made
