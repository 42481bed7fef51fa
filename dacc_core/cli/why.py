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
    """Tell what happened to SESSION, step by step, what is wished of it and what that waits for; also when it has ended."""
    found = ask("why", session)
    if json_output:
        print_json(found)
        return
    for line in _ended(found) if "outcome" in found else _living(found):
        click.echo(line)


def _living(found: dict[str, Any]) -> list[str]:
    lines = [f"session {found['token']} of {user(found['owner'])}, {found['kind']}"]
    if found["used_by"]:
        lines.append(f"used by:   {', '.join(found['used_by'])}")
    lines += [f"wished:    {found['wished']} ({found['goal']})", f"waits for: {found['waits_for']}", *_events(found)]
    return [*_ended(found["before"]), *lines] if found["before"] else lines


def _ended(found: dict[str, Any]) -> list[str]:
    reason = f": {found['reason']}" if found["reason"] else ""
    # A failed pre_run is remembered while its session still is there.
    lines = [f"session {found['token']} ended {moment(found['ended'])}, {found['outcome']}{reason}"] if found["outcome"] else []
    if found["kept"]:
        lines.append(f"its data: see dacc why {found['kept']}")
    if found["pre_run_failures"]:
        lines.append(f"pre_run failed {found['pre_run_failures']} times in a row (dacc retry {found['token']} forgets that)")
    return lines + _events(found)


def _events(found: dict[str, Any]) -> list[str]:
    return [f"{moment(event['at'])}  {event['text']}" for event in found["events"]]
