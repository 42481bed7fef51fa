"""What the commands of ``dacc`` print alike: tables, JSON, times."""

from __future__ import annotations

import json
import pwd
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON.")


def print_json(answer: Any) -> None:
    """An answer as JSON for people and programs."""
    click.echo(json.dumps(answer, indent=2))


def console() -> Console:
    """Where tables go: as wide as the terminal; in a pipe nothing is cut."""
    made = Console()
    return made if made.is_terminal else Console(width=PIPE_WIDTH)


def table(title: str, *columns: str) -> Table:
    """A table whose first column is never cut."""
    made = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        made.add_column(column, no_wrap=place == 0)  # a name that is cut cannot be given to another command
    return made


def user(uid: int) -> str:
    """A user by name and number, as far as this machine knows one."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OverflowError):
        return f"uid {uid}"


def moment(at: float) -> str:
    """A time of the store as the clock on the wall shows it here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
