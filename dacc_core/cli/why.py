"""``dacc why``: a session's timeline in words."""

from __future__ import annotations

from typing import Any

import click

from .client import ask
from .output import as_json, moment, print_json, user


@click.command()
@click.argument("session")
@as_json
def why(session: str, json_output: bool) -> None:
    """Tell what happened to SESSION, step by step, what state is desired of it and what that waits for; also when it has ended."""
    account = ask("why", session)
    if json_output:
        print_json(account)
        return
    for line in _ended(account) if "outcome" in account else _living(account):
        click.echo(line)


def _living(account: dict[str, Any]) -> list[str]:
    lines = [f"session {account['token']} of {user(account['owner'])}, {account['kind']}"]
    if account["used_by"]:
        lines.append(f"used by:   {', '.join(account['used_by'])}")
    lines += [f"desired:   {account['desired']} ({account['goal']})", f"waits for: {account['waits_for']}", *_events(account)]
    return [*_ended(account["before"]), *lines] if account["before"] else lines


def _ended(account: dict[str, Any]) -> list[str]:
    reason = f": {account['reason']}" if account["reason"] else ""
    # A failed pre_run is remembered while its session still is there.
    lines = [f"session {account['token']} ended {moment(account['ended'])}, {account['outcome']}{reason}"] if account["outcome"] else []
    if account["kept"]:
        lines.append(f"its data: see dacc why {account['kept']}")
    if account["pre_run_failures"]:
        lines.append(f"pre_run failed {account['pre_run_failures']} times in a row (dacc retry {account['token']} forgets that)")
    return lines + _events(account)


def _events(account: dict[str, Any]) -> list[str]:
    return [f"{moment(event['at'])}  {event['text']}" for event in account["events"]]
