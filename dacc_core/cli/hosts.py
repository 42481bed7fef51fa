"""``dacc hosts``, ``drain``, ``undrain`` and ``forget``."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from .client import ask
from .output import as_json, console, print_json, table, user


@click.command()
@click.argument("hosts", default="")
@as_json
def hosts(hosts: str, json_output: bool) -> None:
    """Show every brick host, or HOSTS (such as dac[1-4]): its state, its bricks and what it does."""
    rows = ask("hosts", *([hosts] if hosts else []))
    if json_output:
        print_json(rows)
        return
    console().print(_hosts(rows))
    for host in rows:
        for brick in host["bricks"]:
            if brick["reason"]:
                click.echo(f"in quarantine: {host['name']}:{brick['device']}: {brick['reason']}")


@click.command()
@click.argument("hosts")
def drain(hosts: str) -> None:
    """Give HOSTS (such as dac[1-4]) no new sessions; those that run there go on."""
    for host in ask("drain", hosts):
        state = "draining" if host["changed"] else "was draining already"
        click.echo(f"{host['host']}: {state}, {_going_on(host['sessions'])}")


@click.command()
@click.argument("hosts")
def undrain(hosts: str) -> None:
    """Give HOSTS (such as dac[1-4]) new sessions again."""
    for host in ask("undrain", hosts):
        click.echo(f"{host['host']}: {'takes' if host['changed'] else 'took'} new sessions{' again' if host['changed'] else ' already'}")


@click.command()
@click.argument("host")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(host: str, yes: bool) -> None:
    """Forget HOST, which is dead and will not come back. The data of sessions that have bricks there is lost; says whose, and asks."""
    lost = ask("losses", host)
    for line in _losses(lost):
        click.echo(line)
    if not yes:
        click.confirm(f"Forget {host}?", abort=True)
    forgotten = ask("forget", host, *(session["token"] for session in lost["sessions"]))
    tokens = ", ".join(session["token"] for session in forgotten["sessions"])
    click.echo(f"{host} is forgotten" + (f"; sessions that end now: {tokens} (dacc why tells how)" if tokens else ""))


def _losses(lost: dict[str, Any]) -> list[str]:
    lines = [f"{lost['host']} is dead: {lost['bricks']} bricks, {len(lost['quarantined'])} of them in quarantine"]
    if not lost["sessions"]:
        return [*lines, "no session has bricks there: no data is lost"]
    lines.append("the data of these sessions is lost, all of it, also what is on other hosts:")
    lines += [f"  {_loss(session)}" for session in lost["sessions"]]
    if any(session["mounts"] or session["used_by"] for session in lost["sessions"]):
        lines.append("their jobs lose it while they run: end them with scancel")
    return lines


def _loss(session: dict[str, Any]) -> str:
    """One session, with what its owner will ask about."""
    parts = [f"{session['token']}: {session['kind']} of {user(session['owner'])}", f"{len(session['bricks'])} bricks here"]
    if session["elsewhere"]:
        parts.append(f"{session['elsewhere']} elsewhere")
    parts.append(f"stage-out {session['stage_out'].upper() if session['stage_out'] == 'owed' else session['stage_out']}")
    if session["mounts"]:
        parts.append(f"mounted on {session['mounts']}")
    if session["used_by"]:
        parts.append(f"used by {', '.join(session['used_by'])}")
    return ", ".join(parts)


def _going_on(sessions: list[str]) -> str:
    return f"sessions that have bricks there go on: {', '.join(sessions)}" if sessions else "no session has bricks there"


def _hosts(rows: list[dict[str, Any]]) -> Table:
    made = table("hosts", "host", "state", "providers", "bricks", "free", "taken", "quarantined", "coordinates")
    for host in rows:
        providers = ", ".join(f"{name} {version}" for name, version in host["providers"].items())
        numbers = (len(host["bricks"]), host["free"], host["taken"], host["quarantined"], len(host["coordinates"]))
        made.add_row(host["name"], host["state"], providers, *map(str, numbers))
    return made
